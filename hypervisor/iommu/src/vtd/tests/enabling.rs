//! Taking a unit over.

extern crate std;
use std::vec::Vec;

use super::super::{Vtd, register_bytes, registers};
use super::fixture::*;
use crate::{Error, Feature, ProbeError, UnitMemory};
use address::Spa;

const TRANSLATION: u32 = 1 << 31;
const ROOT: u32 = 1 << 30;
const QUEUE: u32 = 1 << 26;
const REMAPPING: u32 = 1 << 25;
const TABLE: u32 = 1 << 24;

fn commands(events: &[Event]) -> Vec<u32> {
    let commands = events.iter().filter_map(|event| match event {
        Event::Command(bits) => Some(*bits),
        _ => None,
    });
    commands.collect()
}

#[test]
fn the_order_is_tables_queue_interrupts_translation() {
    let mut unit = Vtd::probe(46, Mock::new(CAPABILITY, EXTENDED)).unwrap();
    enable(&mut unit, &mut Frames::new()).unwrap();
    let events = unit.hardware.take_events();
    assert_eq!(
        commands(&events),
        [
            ROOT,
            QUEUE,
            QUEUE | TABLE,
            QUEUE | REMAPPING,
            QUEUE | REMAPPING | TRANSLATION
        ]
    );
    let descriptors: Vec<u64> = events
        .iter()
        .filter_map(|event| match event {
            Event::Descriptor(low, _) if low & 0xf != 5 => Some(*low),
            _ => None,
        })
        .collect();
    assert_eq!(descriptors, [0x11, 0xd2, 0x4]);
    assert_eq!(unit.hardware.get64(registers::ROOT_TABLE), 0x100_0000);
    assert_eq!(unit.hardware.get64(registers::QUEUE_ADDRESS), 0x100_1000);
    // 512 entries (2^(8 + 1)), 32-bit destinations.
    assert_eq!(unit.hardware.get64(registers::INTERRUPT_TABLE), 0x20_0808);
    assert_eq!(unit.interrupt_entries(), 512);
    let root = Spa::new(0x100_0000);
    assert!((0..512).all(|word| unit.hardware.word(root, word) == 0));
    let interrupts = Spa::new(0x20_1000);
    assert!((0..512).all(|word| unit.hardware.word(interrupts, word) == 0));
}

#[test]
fn fw_10_translation_stays_on_while_the_tables_are_switched() {
    let mock = Mock::new(CAPABILITY, EXTENDED);
    let firmware = TRANSLATION | ROOT | QUEUE | REMAPPING | TABLE | 1 << 23;
    mock.set(registers::GLOBAL_STATUS, firmware);
    mock.set64(registers::ROOT_TABLE, 0x8_0000);
    mock.set(registers::FAULT_STATUS, 0x11);
    let mut unit = Vtd::probe(46, mock).unwrap();
    enable(&mut unit, &mut Frames::new()).unwrap();
    let events = unit.hardware.take_events();
    let commands = commands(&events);
    assert!(commands.iter().all(|bits| bits & TRANSLATION != 0));
    // Interrupt remapping needs the queue: it goes first, and comes last.
    assert_eq!(commands[0] & (REMAPPING | QUEUE), QUEUE);
    assert_eq!(commands[1] & (REMAPPING | QUEUE), 0);
    assert_eq!(
        commands.last().unwrap() & 1 << 23,
        0,
        "no compatibility format"
    );
    let status = unit.hardware.get(registers::GLOBAL_STATUS);
    assert_eq!(status & !(ROOT | TABLE), TRANSLATION | QUEUE | REMAPPING);
    assert_eq!(unit.hardware.get(registers::FAULT_STATUS), 0);
}

#[test]
fn fw_10_tables_of_another_kind_are_switched_with_translation_off() {
    let mock = Mock::new(CAPABILITY, EXTENDED);
    mock.set(registers::GLOBAL_STATUS, TRANSLATION | ROOT);
    mock.set64(registers::ROOT_TABLE, 0x8_0400);
    let mut unit = Vtd::probe(46, mock).unwrap();
    enable(&mut unit, &mut Frames::new()).unwrap();
    let commands = commands(&unit.hardware.take_events());
    assert_eq!((commands[0], commands[1]), (0, ROOT));
}

#[test]
fn fw_11_protected_memory_opens_only_behind_translation() {
    let mock = Mock::new(CAPABILITY | PROTECTED, EXTENDED);
    mock.set(registers::PROTECTED_MEMORY, 1 << 31 | 1);
    let mut unit = Vtd::probe(46, mock).unwrap();
    enable(&mut unit, &mut Frames::new()).unwrap();
    let events = unit.hardware.take_events();
    assert_eq!(
        events.last(),
        Some(&Event::Register(registers::PROTECTED_MEMORY, 0))
    );
    assert_eq!(unit.hardware.get(registers::PROTECTED_MEMORY), 0);
}

#[test]
fn without_x2apic_destinations_no_interrupt_is_remapped() {
    for lacking in [1 << 3, 1 << 4] {
        let mut unit = Vtd::probe(46, Mock::new(CAPABILITY, EXTENDED & !lacking)).unwrap();
        assert!(!unit.remaps_interrupts());
        enable(&mut unit, &mut Frames::new()).unwrap();
        let commands = commands(&unit.hardware.take_events());
        assert!(commands.iter().all(|bits| bits & REMAPPING == 0));
        assert_eq!(unit.interrupt_entries(), 0);
        assert_eq!(unit.clear_interrupt(0), Err(Error::NoInterrupts));
    }
}

#[test]
fn a_unit_that_lacks_what_is_needed_is_refused() {
    let probe = |capability, extended| Vtd::probe(46, Mock::new(capability, extended)).err();
    assert_eq!(probe(u64::MAX, EXTENDED), Some(ProbeError::Absent));
    assert_eq!(probe(0, EXTENDED), Some(ProbeError::Absent));
    assert_eq!(
        probe(CAPABILITY, EXTENDED & !2),
        Some(ProbeError::Lacks(Feature::InvalidationQueue))
    );
    assert_eq!(
        probe(CAPABILITY & !(0x1f << 8), EXTENDED),
        Some(ProbeError::Lacks(Feature::TableDepth))
    );
    assert_eq!(
        probe(CAPABILITY & !(0x3ff << 24), EXTENDED),
        Some(ProbeError::Registers)
    );
    assert_eq!(probe(CAPABILITY, EXTENDED), None);
}

#[test]
fn the_register_block_is_as_long_as_it_says() {
    let bytes = |capability, extended| register_bytes(&Mock::new(capability, extended));
    assert_eq!(bytes(CAPABILITY, EXTENDED), Ok(4096));
    assert_eq!(bytes(CAPABILITY, EXTENDED | 0x3ff << 8), Ok(16384));
    let most = 0xff << 40 | 0x3ff << 24;
    assert_eq!(bytes(CAPABILITY | most, EXTENDED), Ok(20480));
}

#[test]
fn frames_are_taken_all_or_none() {
    for count in 0..3 {
        let mut frames = Frames(0, count);
        let mut unit = Vtd::probe(46, Mock::new(CAPABILITY, EXTENDED)).unwrap();
        assert_eq!(enable(&mut unit, &mut frames), Err(Error::OutOfFrames));
        assert_eq!(frames.1 - frames.0, count);
        assert!(unit.hardware.take_events().is_empty());
        assert_eq!(enable(&mut unit, &mut Frames::new()), Ok(()));
        assert_eq!(enable(&mut unit, &mut Frames::new()), Err(Error::State));
    }
}

#[test]
fn memory_for_interrupts_must_be_as_hardware_wants_it() {
    for (base, count) in [
        (0x20_0000, 0),
        (0x20_0000, 3),
        (0x20_1000, 2),
        (0x20_0000, 512),
    ] {
        let mut unit = Vtd::probe(46, Mock::new(CAPABILITY, EXTENDED)).unwrap();
        let table = UnitMemory {
            base: Spa::new(base),
            frames: count,
        };
        let result = unit.enable(&mut Frames::new(), table);
        assert_eq!(result, Err(Error::Target));
    }
}

#[test]
fn a_bus_is_added_once() {
    let (mut unit, mut frames) = enabled(CAPABILITY, EXTENDED);
    let before = frames.0;
    unit.add_bus(3, &mut frames).unwrap();
    assert_eq!(frames.0, before);
    assert_eq!(unit.add_bus(4, &mut Frames(0, 0)), Err(Error::OutOfFrames));
    unit.add_bus(4, &mut frames).unwrap();
    assert_eq!(unit.hardware.take_descriptors(), [(0x11, 0), (0xd2, 0)]);
}

#[test]
fn names_are_as_many_as_the_unit_tags() {
    for (bits, names) in [(0, 15), (2, 255), (4, 4095), (6, 65535), (7, 15)] {
        let unit = Vtd::probe(46, Mock::new(CAPABILITY & !7 | bits, EXTENDED)).unwrap();
        assert_eq!(unit.domain_names(), names);
    }
}
