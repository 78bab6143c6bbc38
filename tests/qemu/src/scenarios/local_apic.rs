//! A guest whose local APIC is in memory: 32-bit code that never heard of x2APIC. Hostile ones beside a sibling whose heart
//! goes on.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::bare;
use super::processor::{beats, heartbeat};
use crate::child::{Child, Order};
use crate::machine::Machine;
use crate::scenario::Scenario;

const PAYLOAD: &str = "xapic.elf";
/// It starts a VP, talks to it, waits for timers, and on slow emulators executes what it rewrites.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn scenarios() -> Vec<Scenario> {
    let on = |name, run| Scenario::new(name, bare(), run).payload(PAYLOAD).anywhere();
    vec![
        on("xapic_two_vps_talk_and_keep_time", |m| {
            good(m, "pair alone forms")
        }),
        on("cpu_12_an_instruction_that_another_vp_rewrites", |m| {
            good(m, "race")
        }),
        on("cpu_12_control_an_instruction_that_stays", |m| {
            good(m, "race still")
        })
        .control_of("cpu_12_an_instruction_that_another_vp_rewrites"),
        on("cpu_13_accesses_of_other_sizes_and_places", |m| {
            good(m, "odd")
        }),
        on("cpu_13_control_each_form_of_mov", |m| good(m, "forms"))
            .control_of("cpu_13_accesses_of_other_sizes_and_places"),
        on("cpu_13_an_instruction_that_is_no_mov", no_mov),
        on("cpu_13_control_an_instruction_that_is_one", |m| {
            good(m, "alone")
        })
        .control_of("cpu_13_an_instruction_that_is_no_mov"),
        on("cpu_17_lvt_icr_and_timer_abused_in_memory", |m| {
            good(m, "abuse")
        }),
        on("cpu_17_control_interrupts_in_memory", |m| good(m, "pair"))
            .control_of("cpu_17_lvt_icr_and_timer_abused_in_memory"),
    ]
}

/// Two VPs, on two LPs where there are as many.
fn start<'m>(machine: &'m Machine, words: &str) -> Result<Child<'m>> {
    Child::start(
        machine,
        &Order {
            payload: PAYLOAD,
            options: &format!("memory=16M vps=2 lps=0,{}", machine.lp(1)),
            words,
            devices: &[],
        },
    )
}

/// Each probe was good, and so was the sibling's heart.
fn good(machine: &mut Machine, words: &str) -> Result<()> {
    let sibling = heartbeat(machine, 0, 40)?;
    let child = start(machine, words)?;
    let outcome = child.ended(PATIENCE)?;
    let said = |name: &str| outcome.lines.contains(&format!("xapic: {name} ok"));
    let probes = words.split(' ').filter(|word| *word != "still");
    let missing: Vec<&str> = ["mode", "identity"]
        .into_iter()
        .chain(probes)
        .filter(|name| !said(name))
        .collect();
    ensure!(
        missing.is_empty() && outcome.code == 1,
        "not good: {missing:?}; {} {} {:?}",
        outcome.reason,
        outcome.code,
        outcome.lines
    );
    beats(&sibling)
}

/// It ends where it is, with its reason told; its sibling does not.
fn no_mov(machine: &mut Machine) -> Result<()> {
    let sibling = heartbeat(machine, 0, 40)?;
    let child = start(machine, "other")?;
    let outcome = child.ended(PATIENCE)?;
    ensure!(
        outcome.reason == "fault" && outcome.detail.contains("not emulated"),
        "it ended by {} {} {}: {:?}",
        outcome.reason,
        outcome.code,
        outcome.detail,
        outcome.lines
    );
    beats(&sibling)
}
