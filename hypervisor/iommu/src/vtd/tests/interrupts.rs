//! Interrupt entries.

extern crate std;

use super::fixture::*;
use crate::{Error, Posting, Source, Target, Trigger};
use address::{ApicId, RequesterId, Spa, Vector};

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

const POSTING: Posting = Posting {
    descriptor: Spa::new(0x5_1234_5640),
    vector: Vector(0x1f),
};
const POSTED: (u64, u64) = (0x1234_5640_001f_8001, 0x5_0004_0318);
/// The unit can post.
const POSTS: u64 = CAPABILITY | 1 << 59;

#[test]
fn int_03_an_entry_admits_one_requester_and_is_one_store() {
    let (mut unit, _) = enabled(CAPABILITY, EXTENDED);
    unit.set_interrupt(INDEX, EXACT, TARGET).unwrap();
    let events = unit.hardware.take_events();
    let low = 0x0001_0002_0041_0001;
    assert_eq!(events[0], Event::Wide(FRAME, WORD, low, 0x4_0318));
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
    assert_eq!(events[0], Event::Wide(FRAME, WORD, low, 0x4_0318));
    unit.hardware.events.replace(events);
    assert_eq!(unit.hardware.take_descriptors(), [FORGET]);
}

#[test]
fn tlb_15_a_new_source_comes_with_its_target() {
    let (mut unit, _) = enabled(CAPABILITY, EXTENDED);
    unit.set_interrupt(INDEX, EXACT, TARGET).unwrap();
    unit.hardware.take_events();
    let other = Source::Exact(RequesterId(0x0319));
    unit.set_interrupt(INDEX, other, TARGET).unwrap();
    let events = unit.hardware.take_events();
    let low = 0x0001_0002_0041_0001;
    assert_eq!(events[0], Event::Wide(FRAME, WORD, low, 0x4_0319));
    unit.hardware.events.replace(events);
    assert_eq!(unit.hardware.take_descriptors(), [FORGET]);
}

#[test]
fn tlb_09_an_entry_is_posted_and_remapped_again_by_one_store_each() {
    let (mut unit, _) = enabled(POSTS, EXTENDED);
    unit.set_interrupt(INDEX, EXACT, TARGET).unwrap();
    let remapped = interrupt_words(&unit, INDEX);
    unit.hardware.take_events();
    for _ in 0..2 {
        unit.post_interrupt(INDEX, EXACT, POSTING).unwrap();
        let events = unit.hardware.take_events();
        assert_eq!(events[0], Event::Wide(FRAME, WORD, POSTED.0, POSTED.1));
        unit.hardware.events.replace(events);
        assert_eq!(unit.hardware.take_descriptors(), [FORGET]);
        unit.set_interrupt(INDEX, EXACT, TARGET).unwrap();
        let events = unit.hardware.take_events();
        assert_eq!(events[0], Event::Wide(FRAME, WORD, remapped.0, remapped.1));
        unit.hardware.events.replace(events);
        assert_eq!(unit.hardware.take_descriptors(), [FORGET]);
    }
}

#[test]
fn a_posted_entry_is_masked_as_any_other_and_stays_so() {
    let (mut unit, _) = enabled(POSTS, EXTENDED);
    unit.post_interrupt(INDEX, EXACT, POSTING).unwrap();
    unit.mask_interrupt(INDEX, true).unwrap();
    assert_eq!(interrupt_words(&unit, INDEX), (POSTED.0 ^ 3, POSTED.1));
    unit.set_interrupt(INDEX, EXACT, TARGET).unwrap();
    assert_eq!(interrupt_words(&unit, INDEX).0 & 3, 2);
    unit.post_interrupt(INDEX, EXACT, POSTING).unwrap();
    assert_eq!(interrupt_words(&unit, INDEX), (POSTED.0 ^ 3, POSTED.1));
    unit.mask_interrupt(INDEX, false).unwrap();
    assert_eq!(interrupt_words(&unit, INDEX), POSTED);
    unit.clear_interrupt(INDEX).unwrap();
    assert_eq!(interrupt_words(&unit, INDEX), (0, 0));
}

#[test]
fn int_08_nothing_is_posted_that_a_guest_could_not_take() {
    let (mut unit, _) = enabled(POSTS, EXTENDED);
    let crooked = Posting {
        descriptor: Spa::new(0x5_1234_5660),
        ..POSTING
    };
    let exception = Posting {
        vector: Vector(15),
        ..POSTING
    };
    for wrong in [crooked, exception] {
        let refused = unit.post_interrupt(INDEX, EXACT, wrong);
        assert_eq!(refused, Err(Error::Target));
    }
    assert!(unit.post_interrupt(INDEX, EXACT, POSTING).is_ok());
    // A unit that cannot post, or that cannot name every processor.
    for (capability, extended) in [(CAPABILITY, EXTENDED), (POSTS, EXTENDED & !(1 << 4))] {
        let (mut unit, _) = enabled(capability, extended);
        assert!(!unit.posts_interrupts());
        let refused = unit.post_interrupt(INDEX, EXACT, POSTING);
        assert_eq!(refused, Err(Error::Target));
    }
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
