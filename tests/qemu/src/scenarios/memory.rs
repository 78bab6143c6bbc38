//! What is left in memory that changes hands.

use anyhow::{Result, ensure};

use super::full;
use crate::child::Child;
use crate::machine::Machine;
use crate::scenario::Scenario;

const PATTERN: &str = "pattern=0x5ca1ab1e5ca1ab1e";

pub fn scenarios() -> Vec<Scenario> {
    let probe = |name, run| {
        Scenario::new(name, full(), run)
            .payload("probe.elf")
            .anywhere()
    };
    vec![
        probe("mem_06_frames_are_clean", clean),
        probe("mem_06_control_the_scan_finds_it", found).control_of("mem_06_frames_are_clean"),
    ]
}

/// A child fills its memory and is deleted; the next one on the same frames finds zeroes.
fn clean(machine: &mut Machine) -> Result<()> {
    let first = Child::interactive(machine, "probe.elf", &[])?;
    let place = first.place(0x40_0000)?;
    first.ask_good(&format!("mem-fill {PATTERN}"))?;
    first.delete()?;
    let second = Child::interactive(machine, "probe.elf", &[])?;
    ensure!(
        second.place(0x40_0000)? == place,
        "the second child has other frames"
    );
    second.ask_good(&format!("mem-scan {PATTERN}")).map(|_| ())
}

/// The same scan by who left the pattern finds it everywhere.
fn found(machine: &mut Machine) -> Result<()> {
    let child = Child::interactive(machine, "probe.elf", &[])?;
    let filled = child.ask_good(&format!("mem-fill {PATTERN}"))?;
    let answer = child.ask(&format!("mem-scan {PATTERN}"))?;
    ensure!(!answer.good, "the scan found nothing: {}", answer.line);
    let pages = answer.number("pattern")?;
    ensure!(pages > 1000, "{} and {}", filled.line, answer.line);
    Ok(())
}
