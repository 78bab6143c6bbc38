//! Boot facts: the loader's hand-over, checked once and then read only.

use core::slice;

use handoff::{DIRECT_MAP_BASE, Handoff, Kind, Module, Range};
use spin::Once;

use crate::cpu;

/// The hand-over with its arrays.
#[derive(Debug)]
pub struct Facts {
    /// The structure itself.
    pub handoff: &'static Handoff,
    /// The memory map: sorted, not overlapping.
    pub ranges: &'static [Range],
    /// The boot modules.
    pub modules: &'static [Module],
    /// TSC when the hypervisor was entered.
    pub entry_tsc: u64,
}

static FACTS: Once<Facts> = Once::new();

/// Checks the hand-over and keeps it. Nothing can be said yet where it is wrong, so the processor stops.
pub fn read(handoff: *const Handoff) -> &'static Facts {
    let entry_tsc = cpu::clock::now();
    // SAFETY: the loader passes the structure's address in the direct map; it lies in memory that stays the hypervisor's
    // and that nobody writes any more.
    let handoff = unsafe { &*handoff };
    if handoff.check().is_err() {
        cpu::halt();
    }
    FACTS.call_once(|| Facts {
        handoff,
        ranges: array(handoff.ranges, handoff.range_count),
        modules: array(handoff.modules, handoff.module_count),
        entry_tsc,
    })
}

/// An array beside the hand-over.
fn array<T>(address: u64, count: u32) -> &'static [T] {
    let start = (DIRECT_MAP_BASE + address) as *const T;
    // SAFETY: the loader of the same build wrote `count` elements there, in pages that stay the hypervisor's.
    unsafe { slice::from_raw_parts(start, count as usize) }
}

impl Facts {
    /// Bytes of RAM, whoever has it.
    pub fn ram_bytes(&self) -> u64 {
        self.sum(Kind::is_ram)
    }

    /// Bytes that the hypervisor keeps.
    pub fn kept_bytes(&self) -> u64 {
        self.sum(Kind::is_hypervisor)
    }

    /// Address bits that RAM needs.
    pub fn memory_bits(&self) -> u8 {
        let ram = self.ranges.iter().filter(|range| range.kind().is_ram());
        let end = ram.map(|range| range.end()).max().unwrap_or(1);
        (64 - end.saturating_sub(1).leading_zeros()) as u8
    }

    fn sum(&self, which: impl Fn(Kind) -> bool) -> u64 {
        let ranges = self.ranges.iter().filter(|range| which(range.kind()));
        ranges.map(|range| range.len).sum()
    }
}
