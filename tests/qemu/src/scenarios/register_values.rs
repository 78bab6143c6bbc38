//! CPU-02 to CPU-06, CPU-20, CPU-23: what a guest may put into registers, and whose what is in them is.

use anyhow::{Result, ensure};

use super::processor::{PAYLOAD, beside_a_heart, probe};
use crate::bochs::Processor;
use crate::child::Child;
use crate::machine::Machine;
use crate::scenario::Scenario;

pub fn scenarios() -> Vec<Scenario> {
    vec![
        probe("cpu_02_x2apic_range", |m| beside_a_heart(m, "x2apic")),
        probe("cpu_02_control_own_registers", |m| {
            beside_a_heart(m, "own-apic")
        })
        .control_of("cpu_02_x2apic_range"),
        probe("cpu_04_impossible_register_values", impossible),
        probe("cpu_04_control_possible_values", |m| {
            beside_a_heart(m, "own-registers")
        })
        .control_of("cpu_04_impossible_register_values"),
        probe("cpu_05_filtered_registers", |m| {
            beside_a_heart(m, "filtered")
        }),
        probe("cpu_05_control_values_that_pass", |m| {
            beside_a_heart(m, "unfiltered")
        })
        .control_of("cpu_05_filtered_registers"),
        probe("cpu_20_addresses_not_canonical", nowhere),
        probe("cpu_20_control_canonical_addresses", |m| {
            beside_a_heart(m, "own-addresses")
        })
        .control_of("cpu_20_addresses_not_canonical"),
        probe("cpu_23_new_vp_finds_nothing", nothing_left).smoke(),
        probe("cpu_23_control_what_is_left_is_found", |m| {
            beside_a_heart(m, "found seed=5")
        })
        .control_of("cpu_23_new_vp_finds_nothing"),
        probe("cpu_23_registers_of_siblings", siblings),
        probe("hc_24_registers_over_exits", |m| {
            beside_a_heart(m, "kept seed=9")
        }),
    ]
}

/// What the processor looks after itself, QEMU's translation mostly does not, and Bochs gives up over it in SVM guests. The
/// registers whose writes leave the guest everywhere.
fn impossible(machine: &mut Machine) -> Result<()> {
    let words = match machine.bochs() {
        Some(Processor::Vmx | Processor::OldVmx) => "registers all",
        Some(Processor::Svm) | None => "registers",
    };
    beside_a_heart(machine, words)
}

/// Bochs does not load CR2 at VMRUN.
fn but(machine: &Machine) -> &'static str {
    match machine.bochs() {
        Some(Processor::Svm) => " but-cr2",
        _ => "",
    }
}

/// QEMU's translation takes any value in the MSRs that never leave the guest.
fn nowhere(machine: &mut Machine) -> Result<()> {
    let words = if machine.bochs().is_some() {
        "addresses all"
    } else {
        "addresses"
    };
    beside_a_heart(machine, words)
}

/// One VP leaves a pattern and goes, another leaves one and stays; a new one on the same LP finds neither.
fn nothing_left(machine: &mut Machine) -> Result<()> {
    let fresh = format!("fresh{}", but(machine));
    let gone = Child::interactive(machine, PAYLOAD, &[])?;
    gone.ask_good("leave seed=7")?;
    gone.delete()?;
    let stays = Child::interactive(machine, PAYLOAD, &[])?;
    stays.ask_good(&fresh)?;
    stays.ask_good("leave seed=8")?;
    let new = Child::interactive(machine, PAYLOAD, &[])?;
    new.ask_good(&fresh).map(|_| ())
}

/// Three VPs by turns on one LP, each with its own pattern.
fn siblings(machine: &mut Machine) -> Result<()> {
    let but = but(machine);
    let mut children = Vec::new();
    for _ in 0..3 {
        children.push(Child::interactive(machine, PAYLOAD, &[])?);
    }
    for (seed, child) in (11..).zip(&children) {
        child.tell(&format!("keep seed={seed} ms=600{but}"))?;
    }
    for child in &children {
        let line = child.line(|line| line.starts_with("probe: keep "))?;
        ensure!(line.contains("keep ok"), "{} said: {line}", child.name());
    }
    Ok(())
}
