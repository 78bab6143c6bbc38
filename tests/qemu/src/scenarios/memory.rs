//! What is left in memory that changes hands.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::full;
use crate::child::{Child, Order};
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
        probe("tlb_10_page_taken_from_a_vp_that_runs", taken),
        probe("tlb_10_control_page_shared_with_a_vp_that_runs", shared)
            .control_of("tlb_10_page_taken_from_a_vp_that_runs"),
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

/// What the root writes.
const CANARY: u64 = 0x7ca4_a417_7ca4_a417;

/// A VP of another LP reads a page without a break; the root writes to it, after taking it away or not. What the VP reads.
fn last_read(machine: &Machine, unmap: bool) -> Result<u64> {
    let order = Order {
        payload: "probe.elf",
        options: &format!("memory=16M lps={}", machine.lp(1)),
        words: "lent",
        devices: &[],
    };
    let child = Child::start(machine, &order)?;
    let line = child.line(|line| line.starts_with("probe: lent 0x"))?;
    let address = line.rsplit(' ').next().context("an address")?;
    let unmap = u32::from(unmap);
    child.command(&format!(
        "overwrite {{}} {address} {CANARY:#x} unmap={unmap}"
    ))?;
    let outcome = child.ended(Duration::from_secs(60))?;
    let report = outcome.lines.iter().find(|line| line.contains("lent ok"));
    report
        .and_then(|line| line.split("reads 0x").nth(1))
        .and_then(|text| text.split(' ').next())
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .with_context(|| format!("{:?}", outcome.lines))
}

/// No VP, however busy, reads what is written once the page has left its partition. In QEMU it may have left the guest by itself
/// meanwhile, which hides a translation that was kept; not every time.
fn taken(machine: &mut Machine) -> Result<()> {
    let rounds = if machine.bochs().is_some() { 5 } else { 40 };
    for round in 0..rounds {
        let seen = last_read(machine, true)?;
        ensure!(
            seen == u64::MAX,
            "round {round}: the VP read {seen:#x} from a page that it no longer has"
        );
    }
    Ok(())
}

/// A page that it has it reads as it is.
fn shared(machine: &mut Machine) -> Result<()> {
    let seen = last_read(machine, false)?;
    ensure!(seen == CANARY, "the VP read {seen:#x}");
    Ok(())
}
