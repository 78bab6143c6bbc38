//! Units that do not answer (ROB-01, ROB-02, ROB-03, ROB-10).

extern crate std;

use super::super::{Vtd, registers};
use super::fixture::*;
use crate::wait::DEADLINE_US;
use crate::{Error, FlushRange, Source, Target, Trigger};
use address::{ApicId, Vector};

const TARGET: Target = Target {
    apic: ApicId(1),
    vector: Vector(0x40),
    trigger: Trigger::Edge,
};

/// Every verb says that the unit has failed, without asking it.
fn assert_failed(unit: &mut Vtd<Mock>, frames: &mut Frames) {
    let domain = table(unit, frames);
    unit.hardware.take_events();
    let ticks = unit.hardware.ticks.get();
    let failed = Err(Error::UnitFailed);
    assert!(unit.has_failed());
    assert_eq!(unit.flush_domain(NAME, FlushRange::All), failed);
    assert_eq!(unit.attach(REQUESTER, NAME, &domain), failed);
    assert_eq!(unit.block(REQUESTER), failed);
    let exact = Source::Exact(REQUESTER);
    assert_eq!(unit.set_interrupt(1, exact, TARGET), failed);
    assert_eq!(unit.clear_interrupt(1), failed);
    assert_eq!(unit.mask_interrupt(1, true), failed);
    assert_eq!(unit.take_fault(), Err(Error::UnitFailed));
    assert_eq!(unit.add_bus(9, frames), failed);
    assert_eq!(enable(unit, frames), failed);
    assert!(unit.hardware.take_events().is_empty());
    assert_eq!(unit.hardware.ticks.get(), ticks);
}

#[test]
fn rob_03_a_wait_that_is_never_answered_ends_and_the_unit_is_failed() {
    let (mut unit, mut frames) = enabled(CAPABILITY, EXTENDED);
    unit.flush_domain(NAME, FlushRange::All).unwrap();
    unit.hardware.trouble.set(Trouble::QueueStuck);
    let start = unit.hardware.ticks.get();
    let failed = unit.flush_domain(NAME, FlushRange::All);
    assert_eq!(failed, Err(Error::UnitFailed));
    let waited = unit.hardware.ticks.get() - start;
    assert!((DEADLINE_US..DEADLINE_US + 10).contains(&waited));
    assert_failed(&mut unit, &mut frames);
}

#[test]
fn rob_01_rob_02_errors_of_the_queue_fail_the_unit_at_once() {
    for bit in 4..7 {
        let (mut unit, mut frames) = enabled(CAPABILITY, EXTENDED);
        unit.hardware.trouble.set(Trouble::QueueError(1 << bit));
        let start = unit.hardware.ticks.get();
        assert_eq!(unit.block(REQUESTER), Err(Error::UnitFailed));
        assert!(unit.hardware.ticks.get() - start < 10);
        assert_failed(&mut unit, &mut frames);
    }
}

#[test]
fn a_command_that_is_ignored_fails_the_unit() {
    let mut frames = Frames::new();
    let mut unit = Vtd::probe(46, Mock::new(CAPABILITY, EXTENDED)).unwrap();
    unit.hardware.trouble.set(Trouble::Deaf);
    let failed = enable(&mut unit, &mut frames);
    assert_eq!(failed, Err(Error::UnitFailed));
    assert_failed(&mut unit, &mut frames);
}

#[test]
fn a_queue_that_firmware_left_stuck_is_taken_over_all_the_same() {
    let mock = Mock::new(CAPABILITY, EXTENDED);
    mock.set(registers::GLOBAL_STATUS, 1 << 26);
    mock.set64(registers::QUEUE_HEAD, 0x20);
    mock.set64(registers::QUEUE_TAIL, 0x40);
    let mut unit = Vtd::probe(46, mock).unwrap();
    assert_eq!(enable(&mut unit, &mut Frames::new()), Ok(()));
    assert!(unit.hardware.ticks.get() >= DEADLINE_US);
}

#[test]
fn rob_10_a_unit_that_vanishes_at_any_read_is_failed_in_bounded_time() {
    let mut completed = false;
    for reads in 6..200 {
        let mut frames = Frames::new();
        let mock = Mock::new(CAPABILITY | PROTECTED | WRITE_BUFFERS, EXTENDED);
        mock.set(registers::GLOBAL_STATUS, 1 << 31 | 1 << 26 | 1 << 25);
        mock.set(registers::PROTECTED_MEMORY, 1 << 31 | 1);
        let mut unit = Vtd::probe(46, mock).unwrap();
        unit.hardware.trouble.set(Trouble::GoneAfter(reads));
        let result = enable(&mut unit, &mut frames)
            .and_then(|()| unit.add_bus(3, &mut frames))
            .and_then(|()| unit.flush_domain(NAME, FlushRange::All));
        assert!(unit.hardware.ticks.get() < 3 * DEADLINE_US);
        match result {
            Ok(()) => completed = true,
            Err(error) => {
                assert_eq!(error, Error::UnitFailed, "gone after {reads}");
                assert_failed(&mut unit, &mut frames);
            }
        }
    }
    assert!(completed, "the positive control");
}

#[test]
fn before_it_is_enabled_a_unit_does_nothing() {
    let mut unit = Vtd::probe(46, Mock::new(CAPABILITY, EXTENDED)).unwrap();
    let state = Err(Error::State);
    assert_eq!(unit.flush_domain(NAME, FlushRange::All), state);
    assert_eq!(unit.block(REQUESTER), state);
    assert_eq!(unit.take_fault(), Err(Error::State));
    assert_eq!(unit.add_bus(3, &mut Frames::new()), state);
    assert!(unit.hardware.take_events().is_empty());
}
