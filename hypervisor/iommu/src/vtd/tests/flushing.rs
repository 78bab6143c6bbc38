//! Flushes: what they cover, and what the unit can see when it is asked.

extern crate std;

use super::fixture::*;
use crate::{DomainName, Error, FlushRange, Source, Target, Trigger};
use address::{ApicId, Vector};

const fn pages(first: u64, count: u64, tables: bool) -> FlushRange {
    FlushRange::Pages {
        first,
        count,
        tables,
    }
}

const DOMAIN: (u64, u64) = (0x0005_00e2, 0);
const PAGES: u64 = 0x0005_00f2;

#[test]
fn tlb_05_a_range_is_rounded_up_never_down() {
    let (mut unit, _) = enabled(CAPABILITY, EXTENDED);
    for (range, high) in [
        (pages(0x100, 1, false), 0x10_0040),
        (pages(0x100, 16, false), 0x10_0044),
        (pages(0x100, 9, false), 0x10_0044),
        (pages(0x100, 16, true), 0x10_0004),
    ] {
        unit.flush_domain(NAME, range).unwrap();
        assert_eq!(unit.hardware.take_descriptors(), [(PAGES, high)]);
    }
    unit.flush_domain(NAME, pages(0x1ff, 2, false)).unwrap();
    let two = [(PAGES, 0x1f_f040), (PAGES, 0x20_0040)];
    assert_eq!(unit.hardware.take_descriptors(), two);
}

#[test]
fn what_pages_cannot_say_the_domain_says() {
    let (mut unit, _) = enabled(CAPABILITY, EXTENDED);
    for range in [
        FlushRange::All,
        pages(0, (1 << 18) + 1, false),
        pages(0, 0, true),
        pages(u64::MAX, 2, false),
    ] {
        unit.flush_domain(NAME, range).unwrap();
        assert_eq!(unit.hardware.take_descriptors(), [DOMAIN]);
    }
    unit.flush_domain(NAME, pages(0, 1 << 18, false)).unwrap();
    assert_eq!(unit.hardware.take_descriptors(), [(PAGES, 0x52)]);
    let (mut unit, _) = enabled(CAPABILITY & !PAGE_SELECTIVE, EXTENDED);
    unit.flush_domain(NAME, pages(0, 1, false)).unwrap();
    assert_eq!(unit.hardware.take_descriptors(), [DOMAIN]);
}

#[test]
fn nothing_owed_is_nothing_done() {
    let (mut unit, _) = enabled(CAPABILITY, EXTENDED);
    unit.flush_domain(NAME, pages(7, 0, false)).unwrap();
    assert!(unit.hardware.take_events().is_empty());
    let refused = unit.flush_domain(DomainName(0), FlushRange::All);
    assert_eq!(refused, Err(Error::DomainName));
}

#[test]
fn tlb_13_where_absence_is_cached_pointers_always_go() {
    let (mut unit, _) = enabled(CAPABILITY | CACHING, EXTENDED);
    unit.flush_domain(NAME, pages(1, 1, false)).unwrap();
    assert_eq!(unit.hardware.take_descriptors(), [(PAGES, 0x1000)]);
    assert!(unit.geometry().caches_absent);
}

#[test]
fn draining_is_asked_for_only_where_there_is_some() {
    let (mut unit, _) = enabled(CAPABILITY & !(3 << 54), EXTENDED);
    unit.flush_domain(NAME, FlushRange::All).unwrap();
    assert_eq!(unit.hardware.take_descriptors(), [(0x0005_0022, 0)]);
}

/// One of each verb.
fn everything(capability: u64, extended: u64) -> usize {
    let (mut unit, mut frames) = enabled(capability, extended);
    let domain = table(&unit, &mut frames);
    let target = Target {
        apic: ApicId(1),
        vector: Vector(0x40),
        trigger: Trigger::Edge,
    };
    unit.attach(REQUESTER, NAME, &domain).unwrap();
    let exact = Source::Exact(REQUESTER);
    unit.set_interrupt(300, exact, target).unwrap();
    let buses = Source::Buses { first: 1, last: 2 };
    unit.set_interrupt(300, buses, target).unwrap();
    unit.mask_interrupt(300, true).unwrap();
    unit.clear_interrupt(300).unwrap();
    unit.flush_domain(NAME, pages(0, 3, true)).unwrap();
    unit.block(REQUESTER).unwrap();
    unit.hardware.unseen.get()
}

#[test]
fn tlb_08_a_walker_that_does_not_snoop_sees_every_store() {
    assert_eq!(everything(CAPABILITY, EXTENDED & !COHERENT), 0);
}

#[test]
fn tlb_17_write_buffers_are_flushed_before_the_unit_looks() {
    assert_eq!(everything(CAPABILITY | WRITE_BUFFERS, EXTENDED), 0);
    let (mut unit, _) = enabled(CAPABILITY | WRITE_BUFFERS, EXTENDED);
    unit.flush_domain(NAME, FlushRange::All).unwrap();
    let first = unit.hardware.take_events()[0];
    assert_eq!(first, Event::Command(0x8e00_0000), "WBF, the rest as it is");
}

#[test]
fn the_queue_wraps() {
    let (mut unit, _) = enabled(CAPABILITY, EXTENDED);
    for round in 0..1000 {
        // Two or three descriptors, so that batches straddle the end.
        let count = 1 + round % 2;
        unit.flush_domain(NAME, pages(0x1ff, count, false)).unwrap();
        let done = unit.hardware.take_descriptors();
        assert_eq!(done.len() as u64, count);
    }
}
