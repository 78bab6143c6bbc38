//! Hypercalls of a guest that has no rights.

use anyhow::{Result, ensure};

use super::full;
use crate::child::Child;
use crate::machine::Machine;
use crate::scenario::Scenario;

pub fn scenarios() -> Vec<Scenario> {
    let probe = |name, run| {
        Scenario::new(name, full(), run)
            .payload("probe.elf")
            .anywhere()
    };
    let control = |name, of| probe(name, allowed).control_of(of);
    vec![
        probe("hc_01_random_calls", |m| harmless(m, "calls count=100000")),
        control("hc_01_control_allowed_call", "hc_01_random_calls"),
        probe("hc_03_parameter_addresses", |m| harmless(m, "pages")),
        control("hc_03_control_good_addresses", "hc_03_parameter_addresses"),
        probe("hypercall_page", |m| harmless(m, "hypercall-page")).smoke(),
        probe("hc_05_control_words", |m| harmless(m, "control-words")),
        control("hc_05_control_good_word", "hc_05_control_words"),
        probe("hc_16_calls_without_privilege", |m| {
            harmless(m, "privileges")
        }),
        Scenario::new("hc_16_control_the_root_may", full(), the_root_may)
            .payload("probe.elf")
            .anywhere()
            .control_of("hc_16_calls_without_privilege"),
    ]
}

/// What of the machine a guest's calls must not change.
fn state(machine: &Machine) -> Result<String> {
    let mut text = String::new();
    for command in ["devices", "domains", "interrupts", "partitions"] {
        for row in machine.command(command)?.data {
            let kept = row
                .iter()
                .filter(|(key, _)| *key != "count" && *key != "faults");
            let words: Vec<String> = kept.map(|(key, value)| format!("{key}={value}")).collect();
            text.push_str(&words.join(" "));
            text.push('\n');
        }
    }
    Ok(text)
}

/// The probe is content, and nothing but its own counters changed.
fn harmless(machine: &mut Machine, words: &str) -> Result<()> {
    let child = Child::interactive(machine, "probe.elf", &[])?;
    let before = state(machine)?;
    child.ask_good(words)?;
    let after = state(machine)?;
    ensure!(before == after, "before:\n{before}after:\n{after}");
    Ok(())
}

/// The one call that a guest may make works.
fn allowed(machine: &mut Machine) -> Result<()> {
    let child = Child::interactive(machine, "probe.elf", &[])?;
    child.ask_good("allowed").map(|_| ())
}

/// A call that is denied to the child is carried out for the root.
fn the_root_may(machine: &mut Machine) -> Result<()> {
    let child = Child::interactive(machine, "probe.elf", &[])?;
    child.ask_good("privileges")?;
    // GetPartitionId.
    let made = machine.command("hypercall 0x0046 results=1")?;
    ensure!(
        made.result.get("status") == Some("SUCCESS"),
        "GetPartitionId of the root gave {}",
        made.result
    );
    let id = made.data.first().and_then(|row| row.number("word"));
    ensure!(id == Some(1), "the root is partition {id:?}");
    Ok(())
}
