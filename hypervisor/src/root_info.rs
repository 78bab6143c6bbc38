//! Tells the root agent what there is, in the page that the loader kept for it.

use abi::root_info::{MAGIC, Module, Range, RootInfo, range_kind};
use address::{Gpa, Spa};
use alloc::boxed::Box;
use alloc::vec::Vec;
use firmware::madt::Madt;
use handoff::{Extent, Kind};
use zerocopy::IntoBytes;

use crate::acpi_tables::Tables;
use crate::cpu::{clock, per_lp};
use crate::facts::Facts;
use crate::platform::Platform;
use crate::{io_apic, memory};

const NO_PIN: u16 = 0xffff;
/// ISA interrupts of COM1 and COM2.
const COM1: (u16, u8) = (0x3f8, 4);
const COM2_INTERRUPT: u8 = 3;

/// Writes the page; returns its address, which the root agent is entered with.
pub fn write(facts: &Facts, tables: &Tables, platform: &Platform) -> Gpa {
    let page = facts.handoff.root_agent.info;
    let info = build(facts, tables, platform);
    if !memory::copy_out(Spa::new(page), info.as_bytes()) {
        log::error!("the root agent's facts could not be written");
    }
    // The root's memory is mapped to itself.
    Gpa::new(page)
}

fn build(facts: &Facts, tables: &Tables, platform: &Platform) -> Box<RootInfo> {
    let mut info: Box<RootInfo> = Box::default();
    let (io_apic, pin) = console_pin(facts, tables).unwrap_or((0, NO_PIN));
    info.magic = MAGIC;
    info.size = size_of::<RootInfo>() as u32;
    info.lps = per_lp::count();
    info.rsdp = facts.handoff.rsdp;
    info.tsc_hz = clock::tsc_hz();
    info.apic_hz = clock::apic_timer_hz();
    info.console_port = facts.handoff.serial_port;
    info.console_pin = pin;
    info.console_ioapic = u32::from(io_apic);
    info.cr3 = facts.handoff.root_agent.page_table;
    info.entry_tsc = facts.entry_tsc;
    let ranges = ranges(facts, platform, info.ranges.len());
    info.range_count = ranges.len() as u32;
    info.ranges
        .iter_mut()
        .zip(ranges)
        .for_each(|(place, range)| *place = range);
    if facts.modules.len() > info.modules.len() {
        log::warn!(
            "only the first {} boot modules reach the root agent",
            info.modules.len()
        );
    }
    for (place, module) in info.modules.iter_mut().zip(facts.modules) {
        *place = Module {
            start: module.content.start,
            length: module.content.len,
            name: module.name,
        };
    }
    info.module_count = facts.modules.len().min(info.modules.len()) as u32;
    info
}

/// I/O APIC and pin of the console's serial port.
fn console_pin(facts: &Facts, tables: &Tables) -> Option<(u8, u16)> {
    let interrupt = match facts.handoff.serial_port {
        0 => return None,
        port if port == COM1.0 => COM1.1,
        _ => COM2_INTERRUPT,
    };
    let madt = Madt::parse(tables.find(b"APIC")?).ok()?;
    let moved = madt
        .source_overrides()
        .filter_map(Result::ok)
        .find(|it| it.source == interrupt);
    let gsi = moved.map_or(u32::from(interrupt), |it| it.gsi);
    io_apic::pin_of(gsi).map(|(id, pin)| (id, u16::from(pin)))
}

/// What the root may use, sorted. Where there are more ranges than places, what is merely reserved goes first, then the
/// smallest.
fn ranges(facts: &Facts, platform: &Platform, most: usize) -> Vec<Range> {
    let memory = facts
        .ranges
        .iter()
        .filter_map(|range| Some(entry(range.extent(), kind(range.kind())?)));
    let windows = platform
        .windows
        .iter()
        .map(|window| entry(*window, range_kind::MMIO));
    let ecam = platform
        .ecam
        .iter()
        .map(|window| entry(*window, range_kind::ECAM));
    let mut all: Vec<Range> = memory.chain(windows).chain(ecam).collect();
    if all.len() > most {
        log::warn!(
            "the memory map has {} ranges; the root agent sees {most}",
            all.len()
        );
        all.sort_unstable_by_key(|range| {
            (
                range.kind == range_kind::RESERVED,
                core::cmp::Reverse(range.length),
            )
        });
        all.truncate(most);
    }
    all.sort_unstable_by_key(|range| range.start);
    all
}

fn entry(extent: Extent, kind: u64) -> Range {
    Range {
        start: extent.start,
        length: extent.len,
        kind,
    }
}

/// How the root sees a kind of the memory map; `None`: not at all.
fn kind(kind: Kind) -> Option<u64> {
    match kind {
        Kind::Usable => Some(range_kind::FREE),
        Kind::Root => Some(range_kind::LOADED),
        Kind::AcpiReclaimable | Kind::AcpiNvs => Some(range_kind::ACPI),
        Kind::Reserved => Some(range_kind::RESERVED),
        _ => None,
    }
}
