//! CPU-14, CPU-17, CPU-28, CPU-30, CFG-12, HC-06, HC-19, MEM-02, MEM-03, ROB-12: exits, calls and lives as many as there can be.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::lifecycle::balance;
use super::processor::{PAYLOAD, beats, beside_a_heart, heartbeat, probe};
use crate::child::Child;
use crate::machine::Machine;
use crate::scenario::Scenario;

/// Lives in a row.
const LIVES: u32 = 10;

pub fn scenarios() -> Vec<Scenario> {
    vec![
        probe("cpu_14_strings_of_a_port", |m| beside_a_heart(m, "strings")),
        probe("cpu_14_control_line_by_one_instruction", |m| {
            beside_a_heart(m, "string-line")
        })
        .control_of("cpu_14_strings_of_a_port"),
        probe("cpu_17_errors_and_shortest_timers", |m| {
            beside_a_heart(m, "apic-errors")
        }),
        probe("cpu_17_control_timer", |m| beside_a_heart(m, "timer"))
            .control_of("cpu_17_errors_and_shortest_timers"),
        probe("cpu_28_instructions_that_wait", |m| {
            beside_a_heart(m, "waits")
        }),
        probe("cpu_30_memory_that_is_not_there", |m| {
            beside_a_heart(m, "unmapped")
        }),
        probe("cpu_30_control_memory_that_is_there", |m| {
            beside_a_heart(m, "mapped")
        })
        .control_of("cpu_30_memory_that_is_not_there"),
        probe("cfg_12_ports_that_are_not_given", |m| {
            beside_a_heart(m, "ports step=7")
        }),
        probe("hc_06_repetitions", |m| beside_a_heart(m, "repetitions")),
        probe("hc_19_synthetic_registers", |m| {
            beside_a_heart(m, "synthetic")
        }),
        probe("hc_19_control_own_registers", |m| {
            beside_a_heart(m, "own-synthetic")
        })
        .control_of("hc_19_synthetic_registers"),
        probe("mem_02_partitions_until_memory_ends", until_memory_ends),
        probe("mem_03_lives_leave_nothing", lives),
        probe("rob_12_guests_that_crash", crashes),
    ]
}

/// Partitions until there is no memory for another: the others live, and everything comes back.
fn until_memory_ends(machine: &mut Machine) -> Result<()> {
    let witness = Child::interactive(machine, PAYLOAD, &[])?;
    // The first time may make tables grow.
    let _ = greedy(machine)?;
    let before = balance(machine)?;
    let made = greedy(machine)?;
    witness.ask_good("allowed")?;
    ensure!(made > 2, "only {made} were made");
    let after = balance(machine)?;
    ensure!(before == after, "{after}\nand not\n{before}");
    Ok(())
}

/// As many partitions as there can be, and then none of them any more.
fn greedy(machine: &Machine) -> Result<usize> {
    let mut names = Vec::new();
    let refused = loop {
        ensure!(names.len() < 64, "64 partitions of 128 MiB were made");
        let name = machine.name("greedy");
        match machine.command(&format!("create {name} memory=128M")) {
            Ok(_) => names.push(name),
            Err(error) => break format!("{error:#}"),
        }
    };
    ensure!(refused.contains("refused with"), "{refused}");
    for name in &names {
        machine.command(&format!("delete {name}"))?;
    }
    Ok(names.len())
}

fn live(machine: &Machine) -> Result<()> {
    let child = Child::interactive(machine, PAYLOAD, &[])?;
    child.ask_good("allowed")?;
    child.delete()
}

/// Many lives leave nothing behind.
fn lives(machine: &mut Machine) -> Result<()> {
    // The first one may make the agent's own tables grow.
    live(machine)?;
    let before = balance(machine)?;
    for number in 1..=LIVES {
        live(machine)?;
        let after = balance(machine)?;
        ensure!(
            before == after,
            "after {number} lives\n{after}\nand not\n{before}"
        );
    }
    Ok(())
}

/// Guests that end by triple faults, one after the other, beside one that does not.
fn crashes(machine: &mut Machine) -> Result<()> {
    let sibling = heartbeat(machine, 0, 60)?;
    for _ in 0..LIVES {
        let child = Child::interactive(machine, PAYLOAD, &[])?;
        child.tell("triple")?;
        let outcome = child.ended(Duration::from_secs(20))?;
        ensure!(outcome.reason == "fault", "it ended by {}", outcome.reason);
        child.delete()?;
    }
    beats(&sibling)
}
