//! CPU-06, CPU-11, CPU-15, CPU-21, INT-20, INT-22: VPs of one guest that start, stop, wake and interrupt one another.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::processor::{PAYLOAD, beats, beside_a_heart, heartbeat, probe, stops};
use crate::child::{Child, Order};
use crate::machine::Machine;
use crate::scenario::Scenario;

pub fn scenarios() -> Vec<Scenario> {
    vec![
        probe("cpu_06_every_vp_is_told_the_same", |m| {
            two_vps(m, "cpuid-everywhere")
        }),
        probe("cpu_11_init_to_a_running_vp", |m| {
            two_vps(m, "init-running")
        }),
        probe("cpu_11_start_up_to_a_running_vp", |m| {
            two_vps(m, "start-up-running")
        }),
        probe("cpu_11_jump_to_nowhere", |m| stops(m, "nowhere", "fault")),
        probe("cpu_15_interrupts_in_real_mode", |m| {
            two_vps(m, "real-interrupts")
        })
        .smoke(),
        probe("cpu_15_task_switch", task_switch),
        probe("cpu_21_nmis_without_end", |m| two_vps(m, "nmi-storm")),
        probe("cpu_21_control_one_nmi", |m| beside_a_heart(m, "nmi"))
            .control_of("cpu_21_nmis_without_end"),
        probe("int_20_interrupts_wake_a_halted_vp", |m| two_vps(m, "wake")).smoke(),
        probe("int_22_every_interrupt_command", |m| two_vps(m, "commands")),
        probe("interrupt_windows_and_priorities", |m| {
            beside_a_heart(m, "windows")
        })
        .smoke(),
    ]
}

/// A child with two VPs, on two LPs where there are two.
fn pair(machine: &Machine) -> Result<Child<'_>> {
    let child = Child::start(
        machine,
        &Order {
            payload: PAYLOAD,
            options: &format!("memory=16M vps=2 lps=0,{}", machine.lp(1)),
            words: "interactive",
            devices: &[],
        },
    )?;
    child.ready()?;
    Ok(child)
}

/// A probe with two VPs that must be content, beside a heartbeat that must not notice.
fn two_vps(machine: &mut Machine, words: &str) -> Result<()> {
    let sibling = heartbeat(machine, 0, 40)?;
    pair(machine)?.ask_good(words)?;
    beats(&sibling)
}

/// A task switch either happens, where the processor does it itself, or ends the guest that tries it, and nobody else.
fn task_switch(machine: &mut Machine) -> Result<()> {
    let sibling = heartbeat(machine, 0, 40)?;
    let child = pair(machine)?;
    child.tell("task-switch")?;
    child.line(|line| line == "probe: task-switch begins")?;
    let done = child.line(|line| line.starts_with("probe: task-switch ok"));
    if done.is_err() {
        let outcome = child.ended(Duration::from_secs(5))?;
        ensure!(
            outcome.reason == "fault" && outcome.detail.contains("VP 1"),
            "it ended by {} {} {}",
            outcome.reason,
            outcome.code,
            outcome.detail
        );
    }
    beats(&sibling)
}
