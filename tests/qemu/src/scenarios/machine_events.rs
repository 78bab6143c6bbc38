//! CPU-21, CPU-22: what the machine itself reports while guests run. In QEMU alone, by whose monitor it is brought about.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::bare;
use super::processor::{PAYLOAD, beats, heartbeat};
use crate::child::Child;
use crate::config::Config;
use crate::machine::Machine;
use crate::scenario::Scenario;

/// NMIs to every LP.
const NMIS: u64 = 2000;

pub fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new("cpu_21_nmis_of_the_machine", bare(), nmis).payload(PAYLOAD),
        Scenario::new(
            "cpu_22_machine_check_in_the_hypervisor",
            machine_checks_off(),
            machine_check,
        )
        .alone()
        .stops(),
        Scenario::new("cpu_22_control_corrected_error", bare(), corrected)
            .alone()
            .control_of("cpu_22_machine_check_in_the_hypervisor"),
    ]
}

/// Firmware need not have turned machine checks on; with them off, one is the end without a word.
fn machine_checks_off() -> Config {
    Config {
        stage: Some("no-machine-check.efi".into()),
        ..bare()
    }
}

/// NMIs that each LP has taken.
fn taken(machine: &Machine) -> Result<Vec<u64>> {
    let rows = machine.command("lps")?.data;
    let counts = rows.iter().map(|row| row.number("nmis"));
    counts.collect::<Option<_>>().context("no count of NMIs")
}

/// NMIs at moments without a pattern, in guests and in the hypervisor: it counts them and goes on, and no guest loses a register
/// or gets one of them.
fn nmis(machine: &mut Machine) -> Result<()> {
    let before = taken(machine)?;
    let siblings = [heartbeat(machine, 0, 60)?, heartbeat(machine, 1, 60)?];
    let mut children = Vec::new();
    for words in ["kept seed=21", "keep seed=22 ms=1500"] {
        let child = Child::interactive(machine, PAYLOAD, &[])?;
        child.tell(words)?;
        children.push(child);
    }
    let mut monitor = machine.monitor()?;
    for number in 0..NMIS {
        monitor.call("inject-nmi", serde_json::json!({}))?;
        // At most 2 ms, in no order.
        let micros = number.wrapping_mul(0x9e37_79b9) % 2048;
        thread::sleep(Duration::from_micros(micros));
    }
    for child in &children {
        let line = child.line(|line| line.contains(" ok ") || line.contains(" FAIL "))?;
        ensure!(line.contains(" ok "), "{} said: {line}", child.name());
    }
    siblings.iter().try_for_each(beats)?;
    let after = taken(machine)?;
    for (lp, (before, after)) in before.iter().zip(&after).enumerate() {
        let count = after - before;
        // One that comes while another waits is the same.
        ensure!(
            count > NMIS / 4 && count <= NMIS,
            "LP {lp} took {count} of {NMIS}"
        );
    }
    Ok(())
}

/// AMD64 APM volume 2, chapter 9, MCi_STATUS: valid, uncorrected, enabled, the processor's context corrupt.
const UNCORRECTED: u64 = 0xb200_0000_0000_0000;
/// Valid, enabled, corrected.
const CORRECTED: u64 = 0x9000_0000_0000_0000;
/// MCG_STATUS: a machine check in progress; what was interrupted cannot go on.
const IN_PROGRESS: u64 = 1 << 2;

/// An error of a bank of LP 1, which rests: no VP is bound to it. In a guest the translation would show nothing: it asks no
/// intercept, but delivers by the guest's own IDT, and resets the machine where the guest's CR4.MCE is clear. What the
/// hypervisor does there is shown on the model (`cpu_22_a_machine_check_stops_the_guest_that_ran_and_nobody_else`).
fn report_error(machine: &Machine, status: u64, global: u64) -> Result<()> {
    let line = format!("mce 1 1 {status:#x} {global:#x} 0 0");
    let answer = machine.monitor()?.human(&line)?;
    ensure!(answer.is_empty(), "{line}: {answer}");
    Ok(())
}

/// An error that cannot be corrected, in the hypervisor itself: it says what it was and on which LP, and nothing runs any more.
fn machine_check(machine: &mut Machine) -> Result<()> {
    machine.command("lps")?;
    report_error(machine, UNCORRECTED, IN_PROGRESS)?;
    let end = Instant::now() + Duration::from_secs(10);
    while !machine.serial_log().contains("exception 18,") && Instant::now() < end {
        thread::sleep(Duration::from_millis(50));
    }
    let words = machine.serial_log();
    let words = words.split("PORTCULLIS PANIC on ").nth(1);
    let words = words.context("the machine went on")?;
    ensure!(
        words.starts_with("LP 1:") && words.contains("exception 18,"),
        "the last words were: {words}"
    );
    // The words come first; then the other LP is told.
    let mut standing = halted(machine)?;
    while standing < 2 && Instant::now() < end {
        thread::sleep(Duration::from_millis(50));
        standing = halted(machine)?;
    }
    ensure!(standing == 2, "{standing} of 2 LPs stand");
    let answer = machine.client().command("lps", Duration::from_secs(2));
    ensure!(answer.is_err(), "the root agent still answers");
    Ok(())
}

/// LPs that wait in HLT.
fn halted(machine: &Machine) -> Result<usize> {
    let registers = machine.monitor()?.human("info registers -a")?;
    Ok(registers.matches("HLT=1").count())
}

/// One that was corrected is no event.
fn corrected(machine: &mut Machine) -> Result<()> {
    report_error(machine, CORRECTED, 0)?;
    beats(&heartbeat(machine, 1, 20)?)
}
