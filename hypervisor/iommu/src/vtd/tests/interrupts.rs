//! Interrupt entries.

extern crate std;

use super::fixture::*;
use crate::{Error, Source, Target, Trigger};
use address::{ApicId, RequesterId, Vector};

const TARGET: Target = Target {
    apic: ApicId(0x1_0002),
    vector: Vector(0x41),
    trigger: Trigger::Edge,
};
const EXACT: Source = Source::Exact(REQUESTER);
const FORGET: (u64, u64) = (0x0000_0105_0000_0014, 0);
const INDEX: u16 = 0x105;
/// Frame and word of the entry.
const FRAME: u64 = 0x201;
const WORD: usize = 10;

#[test]
fn int_03_an_entry_admits_one_requester_and_its_source_comes_first() {
    let (mut unit, _) = enabled(CAPABILITY, EXTENDED);
    unit.set_interrupt(INDEX, EXACT, TARGET).unwrap();
    let events = unit.hardware.take_events();
    assert_eq!(events[0], Event::Store(FRAME, WORD + 1, 0x4_0318));
    let low = 0x0001_0002_0041_0001;
    assert_eq!(events[1], Event::Store(FRAME, WORD, low));
    unit.hardware.events.replace(events);
    assert_eq!(unit.hardware.take_descriptors(), [FORGET]);
    assert_eq!(interrupt_words(&unit, INDEX), (low, 0x4_0318));
}

#[test]
fn tlb_09_a_new_target_is_one_store() {
    let (mut unit, _) = enabled(CAPABILITY, EXTENDED);
    unit.set_interrupt(INDEX, EXACT, TARGET).unwrap();
    unit.hardware.take_events();
    let moved = Target {
        apic: ApicId(3),
        vector: Vector(0x42),
        ..TARGET
    };
    unit.set_interrupt(INDEX, EXACT, moved).unwrap();
    let events = unit.hardware.take_events();
    let low = 0x0000_0003_0042_0001;
    assert_eq!(events[0], Event::Store(FRAME, WORD, low));
    unit.hardware.events.replace(events);
    assert_eq!(unit.hardware.take_descriptors(), [FORGET]);
}

#[test]
fn tlb_15_a_new_source_passes_through_nothing() {
    let (mut unit, _) = enabled(CAPABILITY, EXTENDED);
    unit.set_interrupt(INDEX, EXACT, TARGET).unwrap();
    unit.hardware.take_events();
    let other = Source::Exact(RequesterId(0x0319));
    unit.set_interrupt(INDEX, other, TARGET).unwrap();
    let events = unit.hardware.take_events();
    let stores: std::vec::Vec<_> = events
        .iter()
        .filter(|event| matches!(event, Event::Store(FRAME, ..) | Event::Descriptor(..)))
        .collect();
    assert_eq!(*stores[0], Event::Store(FRAME, WORD, 0));
    assert_eq!(*stores[1], Event::Descriptor(FORGET.0, FORGET.1));
    // Then the wait; then the new source, and the present half last.
    assert_eq!(*stores[3], Event::Store(FRAME, WORD + 1, 0x4_0319));
    assert!(matches!(stores[4], Event::Store(FRAME, WORD, low) if low & 1 == 1));
    assert_eq!(*stores[5], Event::Descriptor(FORGET.0, FORGET.1));
}

#[test]
fn clearing_leaves_nothing() {
    let (mut unit, _) = enabled(CAPABILITY, EXTENDED);
    unit.set_interrupt(INDEX, EXACT, TARGET).unwrap();
    unit.hardware.take_events();
    unit.clear_interrupt(INDEX).unwrap();
    assert_eq!(unit.hardware.take_descriptors(), [FORGET]);
    assert_eq!(interrupt_words(&unit, INDEX), (0, 0));
}

#[test]
fn masking_keeps_the_entry_but_not_its_presence() {
    let (mut unit, _) = enabled(CAPABILITY, EXTENDED);
    assert_eq!(unit.mask_interrupt(INDEX, true), Err(Error::Index));
    unit.set_interrupt(INDEX, EXACT, TARGET).unwrap();
    let before = interrupt_words(&unit, INDEX);
    unit.mask_interrupt(INDEX, true).unwrap();
    assert_eq!(interrupt_words(&unit, INDEX), (before.0 ^ 3, before.1));
    unit.mask_interrupt(INDEX, false).unwrap();
    assert_eq!(interrupt_words(&unit, INDEX), before);
}

#[test]
fn what_is_out_of_bounds_is_refused() {
    let (mut unit, _) = enabled(CAPABILITY, EXTENDED);
    for index in [512, 0xffff] {
        let refused = unit.set_interrupt(index, EXACT, TARGET);
        assert_eq!(refused, Err(Error::Index));
        assert_eq!(unit.clear_interrupt(index), Err(Error::Index));
        assert_eq!(unit.mask_interrupt(index, true), Err(Error::Index));
    }
    let exception = Target {
        vector: Vector(31),
        ..TARGET
    };
    let refused = unit.set_interrupt(0, EXACT, exception);
    assert_eq!(refused, Err(Error::Target));
    let backwards = Source::Buses { first: 3, last: 2 };
    let refused = unit.set_interrupt(0, backwards, TARGET);
    assert_eq!(refused, Err(Error::Target));
    assert!(unit.hardware.take_events().is_empty());
}
