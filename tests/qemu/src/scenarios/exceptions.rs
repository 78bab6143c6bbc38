//! CPU-07 to CPU-10, HC-15: exceptions that a guest brings about, one or without end.

use anyhow::{Context, Result};

use super::processor::{PAYLOAD, beats, beside_a_heart, heartbeat, probe};
use crate::bochs::Processor;
use crate::child::Child;
use crate::machine::Machine;
use crate::scenario::Scenario;

pub fn scenarios() -> Vec<Scenario> {
    vec![
        probe("cpu_07_returns_to_nowhere", |m| {
            beside_a_heart(m, "returns")
        }),
        probe("cpu_07_control_returns_to_a_program", |m| {
            beside_a_heart(m, "good-returns")
        })
        .control_of("cpu_07_returns_to_nowhere"),
        // QEMU's translation makes every access of any alignment, whatever CR0.AM and EFLAGS.AC say: there is no #AC.
        probe("cpu_08_alignment_checks_for_ever", |m| {
            storm(m, "alignment-storm")
        })
        .in_bochs_alone(),
        probe("cpu_08_control_one_alignment_check", |m| {
            beside_a_heart(m, "alignment")
        })
        .in_bochs_alone()
        .control_of("cpu_08_alignment_checks_for_ever"),
        probe("cpu_09_debug_exceptions_for_ever", |m| {
            storm(m, "debug-storm")
        }),
        probe("cpu_09_control_single_steps", |m| {
            beside_a_heart(m, "steps")
        })
        .control_of("cpu_09_debug_exceptions_for_ever"),
        probe("cpu_10_debug_exceptions_in_shadows", |m| {
            counted(m, "shadows")
        }),
        probe("cpu_10_control_steps_without_shadows", |m| {
            counted(m, "steps")
        })
        .control_of("cpu_10_debug_exceptions_in_shadows"),
        probe("hc_15_calls_from_ring_3", ring_3),
        probe("hc_15_control_what_ring_3_may", |m| {
            beside_a_heart(m, "ring-3-allowed")
        })
        .control_of("hc_15_calls_from_ring_3"),
    ]
}

/// QEMU's translation leaves the guest for WBINVD without a look at the privilege level; a processor refuses it first.
fn ring_3(machine: &mut Machine) -> Result<()> {
    let words = if machine.bochs().is_some() {
        "ring-3"
    } else {
        "ring-3 but-wbinvd"
    };
    beside_a_heart(machine, words)
}

/// The same exception without end: it is preempted, and the sibling on its LP ticks. A processor that ends it by itself, as one
/// may that does not look for breakpoints while it delivers, lets the guest say so.
fn storm(machine: &mut Machine, words: &str) -> Result<()> {
    let child = Child::interactive(machine, PAYLOAD, &[])?;
    child.tell(words)?;
    child.line(|line| line == format!("probe: {words} begins"))?;
    let preempted = |child: &Child| -> Result<u64> {
        let counters = child.command("counters {}")?.result;
        Ok(counters.number("preemptions").unwrap_or(0))
    };
    let before = preempted(&child)?;
    beats(&heartbeat(machine, 0, 40)?)?;
    let after = preempted(&child)?;
    if after <= before + 5 {
        child
            .line(|line| line.starts_with(&format!("probe: {words} ok")))
            .with_context(|| format!("{before} preemptions, and then {after}"))?;
    }
    Ok(())
}

/// Single steps, counted by the guest. In Bochs a step of an SVM guest whose #DB is intercepted stays pending and comes again
/// without end: there it is a storm.
fn counted(machine: &mut Machine, words: &str) -> Result<()> {
    if machine.bochs() == Some(Processor::Svm) {
        return storm(machine, words);
    }
    beside_a_heart(machine, words)
}
