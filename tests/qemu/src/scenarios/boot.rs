//! From power-on to a root agent that answers.

use anyhow::{Result, ensure};

use std::time::{Duration, Instant};

use super::bare;
use crate::config::{Config, Watched};
use crate::machine::Machine;
use crate::scenario::Scenario;
use crate::trace;

/// Lines that are typed at most.
const TYPED: usize = 40;

pub fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new("boot_one_lp", traced(), |machine| answers(machine, 1))
            .anywhere()
            .counted()
            .smoke(),
        Scenario::new("console_of_the_agent", traced(), console)
            .anywhere()
            .counted(),
        Scenario::new(
            "serial_interrupt_through_a_remapped_pin",
            traced(),
            serial_interrupt,
        ),
        Scenario::new("boot_two_lps", Config::with_lps(2), |machine| {
            answers(machine, 2)
        })
        .anywhere()
        .counted()
        .smoke(),
        Scenario::new("boot_four_lps", Config::with_lps(4), |machine| {
            answers(machine, 4)
        })
        .anywhere()
        .counted()
        .smoke(),
        Scenario::new("boot_without_iommu", bare(), |machine| answers(machine, 2))
            .anywhere()
            .counted(),
    ]
}

/// The agent lists as many logical processors as the machine has.
fn answers(machine: &mut Machine, lps: usize) -> Result<()> {
    let listed = machine.command("lps")?.data.len();
    ensure!(
        listed == lps,
        "the agent lists {listed} logical processors, the machine has {lps}"
    );
    Ok(())
}

/// One LP, and what the unit did to interrupts.
fn traced() -> Config {
    Config::with_lps(1).watch(&[Watched::Interrupts])
}

/// Types a line on the first serial line and waits for `wanted` behind it.
pub fn console_says(machine: &mut Machine, typed: &str, wanted: &str) -> Result<()> {
    let before = machine.serial_log().len();
    machine.type_on_console(typed)?;
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let log = machine.serial_log();
        let said = log.get(before..).unwrap_or_default();
        if said.contains(wanted) {
            return Ok(());
        }
        ensure!(
            Instant::now() < end,
            "\"{wanted}\" was not said after \"{typed}\"; it said: {said}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A person types: a command, a wrong one, one completed with the tab key, and an earlier one brought back.
fn console(machine: &mut Machine) -> Result<()> {
    console_says(machine, "lps\r", "apic")?;
    console_says(
        machine,
        "frobnicate\r",
        "a command was expected, found \"frobnicate\"",
    )?;
    // A mistake taken back, then completed.
    console_says(machine, "partix\x7f\t\r", "count: 0")?;
    console_says(machine, "whynot 00:00.0\r", "host bridge")?;
    // The arrow up, twice: the completed line again.
    console_says(machine, "\x1b[A\r", "host bridge")?;
    answers(machine, 1)
}

/// What is typed comes in by the UART's pin, through a remapping entry, and not by a look now and then.
fn serial_interrupt(machine: &mut Machine) -> Result<()> {
    let pin = |machine: &Machine| -> Result<(u64, u64)> {
        let listed = machine.command("interrupts")?.data;
        let pin = listed.iter().find(|row| row.get("kind") == Some("pin"));
        let pin = pin.ok_or_else(|| anyhow::anyhow!("the root has no pin: {listed:?}"))?;
        let number = |key| pin.number(key).unwrap_or(u64::MAX);
        Ok((number("index"), number("count")))
    };
    let (index, before) = pin(machine)?;
    let remapped = |machine: &Machine| trace::pins(machine.dialect(), &machine.trace(), index);
    let traced = remapped(machine);
    // The emulator writes its trace when a buffer is full: a few lines more than one may have to be typed.
    for _ in 0..TYPED {
        console_says(machine, "lps\r", "apic")?;
        let (_, after) = pin(machine)?;
        ensure!(
            after > before,
            "{before} interrupts of the pin before, {after} after"
        );
        if remapped(machine) > traced {
            return Ok(());
        }
    }
    anyhow::bail!("no interrupt went through entry {index}")
}
