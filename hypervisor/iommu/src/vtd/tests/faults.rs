//! Recorded faults.

extern crate std;

use super::super::registers;
use super::fixture::*;
use crate::{Error, Fault, FaultKind};
use address::{ApicId, RequesterId, Spa, Vector};

/// Puts a record into the register block, as the unit does.
fn record(mock: &Mock, index: usize, requester: u16, high: u64, low: u64) {
    let at = RECORDS + 16 * index;
    mock.set64(at, low);
    mock.set64(at + 8, 1 << 63 | high | u64::from(requester));
    let status = mock.get(registers::FAULT_STATUS) & 0xff;
    mock.set(registers::FAULT_STATUS, status | 2 | (index as u32) << 8);
}

const READ: u64 = 1 << 62 | 6 << 32;
const CONTEXTS: Spa = Spa::new(0x100_3000);

#[test]
fn rob_05_a_blocked_requester_is_told_once_and_then_suppressed() {
    let (mut unit, mut frames) = enabled(CAPABILITY, EXTENDED);
    record(&unit.hardware, 0, 0x0318, READ, 0x5000);
    let fault = Fault {
        requester: REQUESTER,
        kind: FaultKind::Read(0x5000),
        reason: 6,
    };
    assert_eq!(unit.take_fault(), Ok(Some(fault)));
    assert_eq!(unit.take_fault(), Ok(None));
    assert_eq!(unit.hardware.word(CONTEXTS, 0x30), 2);
    // Attaching ends the suppression; so does blocking again.
    let domain = table(&unit, &mut frames);
    unit.attach(REQUESTER, NAME, &domain).unwrap();
    assert_eq!(unit.hardware.word(CONTEXTS, 0x30) & 3, 1);
    unit.block(REQUESTER).unwrap();
    assert_eq!(unit.hardware.word(CONTEXTS, 0x30), 0);
}

#[test]
fn an_attached_requester_is_told_every_time() {
    let (mut unit, mut frames) = enabled(CAPABILITY, EXTENDED);
    let domain = table(&unit, &mut frames);
    unit.attach(REQUESTER, NAME, &domain).unwrap();
    for page in 1..5 {
        record(&unit.hardware, 1, 0x0318, 5 << 32, page << 12);
        let fault = unit.take_fault().unwrap().unwrap();
        assert_eq!(fault.kind, FaultKind::Write(page << 12));
    }
    assert_eq!(unit.hardware.word(CONTEXTS, 0x30) & 3, 1);
}

#[test]
fn rob_05_an_overflow_is_counted_and_recording_goes_on() {
    let (mut unit, _) = enabled(CAPABILITY, EXTENDED);
    record(&unit.hardware, 0, 0x0400, READ, 0x1000);
    record(&unit.hardware, 1, 0x0318, READ, 0x2000);
    let status = unit.hardware.get(registers::FAULT_STATUS);
    unit.hardware.set(registers::FAULT_STATUS, status | 1);
    // From the oldest, which is the second.
    let requester = |fault: Option<Fault>| fault.map(|fault| fault.requester);
    let first = unit.take_fault().unwrap();
    assert_eq!(requester(first), Some(REQUESTER));
    let second = unit.take_fault().unwrap();
    assert_eq!(requester(second), Some(RequesterId(0x0400)));
    assert_eq!(unit.take_fault(), Ok(None));
    assert_eq!(unit.fault_overflows(), 1);
    assert_eq!(unit.hardware.get(registers::FAULT_STATUS) & 0xff, 0);
    record(&unit.hardware, 0, 0x0400, READ, 0x1000);
    assert!(unit.take_fault().unwrap().is_some());
}

#[test]
fn a_refused_interrupt_names_its_entry_and_suppresses_no_requester() {
    let (mut unit, _) = enabled(CAPABILITY, EXTENDED);
    record(&unit.hardware, 0, 0x0318, 0x26 << 32, 0x77 << 48);
    let fault = unit.take_fault().unwrap().unwrap();
    assert_eq!(fault.kind, FaultKind::Interrupt(0x77));
    assert_eq!(unit.hardware.word(CONTEXTS, 0x30), 0);
}

#[test]
fn a_pending_bit_without_a_record_ends() {
    let (mut unit, _) = enabled(CAPABILITY, EXTENDED);
    unit.hardware.set(registers::FAULT_STATUS, 0xff02);
    assert_eq!(unit.take_fault(), Ok(None));
}

#[test]
fn rob_01_a_broken_queue_shows_in_a_poll() {
    for bit in 4..7 {
        let (mut unit, _) = enabled(CAPABILITY, EXTENDED);
        unit.hardware.set(registers::FAULT_STATUS, 1 << bit);
        assert_eq!(unit.take_fault(), Err(Error::UnitFailed));
        assert!(unit.has_failed());
    }
}

#[test]
fn the_fault_interrupt_is_unmasked_last() {
    let (mut unit, _) = enabled(CAPABILITY, EXTENDED);
    let low = unit.set_fault_interrupt(ApicId(0), Vector(31));
    assert_eq!(low, Err(Error::Target));
    unit.set_fault_interrupt(ApicId(0x1234), Vector(0xf0))
        .unwrap();
    assert_eq!(
        unit.hardware.take_events(),
        [
            Event::Register(registers::FAULT_CONTROL, 1 << 31),
            Event::Register(registers::FAULT_DATA, 0xf0),
            Event::Register(registers::FAULT_ADDRESS, 0xfee3_4000),
            Event::Register(registers::FAULT_UPPER_ADDRESS, 0x1200),
            Event::Register(registers::FAULT_CONTROL, 0),
        ]
    );
}
