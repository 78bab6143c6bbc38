//! What is left in memory that changes hands.

use anyhow::{Result, ensure};

use super::full;
use crate::child::Child;
use crate::machine::Machine;
use crate::scenario::Scenario;

const PATTERN: &str = "pattern=0x5ca1ab1e5ca1ab1e";
/// The same as it lies in memory.
const BYTES: [u8; 8] = 0x5ca1_ab1e_5ca1_ab1e_u64.to_le_bytes();
/// Bytes of a child's memory that the emulator shows.
const SHOWN: usize = 1 << 20;

pub fn scenarios() -> Vec<Scenario> {
    let probe = |name, run| {
        Scenario::new(name, full(), run)
            .payload("probe.elf")
            .anywhere()
    };
    vec![
        probe("mem_06_frames_are_clean", clean),
        probe("mem_06_control_the_scan_finds_it", found).control_of("mem_06_frames_are_clean"),
        // Whoever gets frames clears them, too: only a look from outside tells who did.
        Scenario::new("mem_06_frames_are_clean_at_once", full(), clean_at_once)
            .payload("probe.elf"),
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

/// What a child wrote is gone when it is deleted, and not only when somebody takes the frames; it was there before.
fn clean_at_once(machine: &mut Machine) -> Result<()> {
    let child = Child::interactive(machine, "probe.elf", &[])?;
    let place = child.place(0x80_0000)?;
    child.ask_good(&format!("mem-fill {PATTERN}"))?;
    let before = patterns(machine, place)?;
    ensure!(before > SHOWN / 16, "only {before} words were written");
    child.delete()?;
    let after = patterns(machine, place)?;
    ensure!(after == 0, "{after} words are left of {before}");
    Ok(())
}

/// Words of the pattern in physical memory from an address.
fn patterns(machine: &Machine, place: u64) -> Result<usize> {
    let bytes = machine.physical(place, SHOWN)?;
    Ok(bytes.chunks(8).filter(|&word| word == BYTES).count())
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
