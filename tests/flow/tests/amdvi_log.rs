//! The event log of this dialect, by interrupt and by poll.

use address::{ApicId, Vector};
use device::Reason;
use flow::*;
use model::Unit;

type Machine = World<AmdviArm>;

/// All that the log holds, as a poll finds it.
fn taken(world: &mut Machine) -> usize {
    std::iter::from_fn(|| world.devices.take_fault()).count()
}

fn fault(world: &Machine, page: u64) {
    assert!(world.units[0].dma(A.requester.0, page << 12, true).is_err());
}

/// A machine whose units raise their interrupt at a processor with a wide id.
fn with_interrupt() -> Machine {
    let mut world = Machine::new(Traits::default());
    world.give(A, P).unwrap();
    let set = world
        .devices
        .set_fault_interrupt(ApicId(0x0102_0304), Vector(0xf1));
    assert_eq!(set, Ok(()));
    world
}

#[test]
fn rob_06_an_event_raises_the_interrupt_that_was_asked_for_once_until_it_is_taken() {
    let mut world = with_interrupt();
    for unit in &world.units {
        assert_eq!(unit.own_interrupt(), Some((0x0102_0304, 0xf1)));
    }
    fault(&world, 1);
    fault(&world, 2);
    assert_eq!(world.units[0].raised(), 1, "the second found it raised");
    assert_eq!(taken(&mut world), 2);
    fault(&world, 3);
    assert_eq!(world.units[0].raised(), 2, "taken back, it comes again");
    assert_eq!(taken(&mut world), 1);
}

#[test]
fn rob_06_an_overflow_raises_it_too_and_the_next_event_again() {
    let mut world = with_interrupt();
    (0..300).for_each(|page| fault(&world, page));
    assert_eq!(world.units[0].raised(), 2, "the first event, the overflow");
    assert_eq!(taken(&mut world), 255);
    fault(&world, 1);
    assert_eq!(world.units[0].raised(), 3);
    assert_eq!(taken(&mut world), 1);
    // Round and round: the log's end is no end.
    for round in 0..40 {
        // A period of its own for each, so that the budget holds.
        world.clock.pass(2_000_000);
        (0..10).for_each(|page| fault(&world, page));
        assert_eq!(taken(&mut world), 10, "{round}");
    }
}

#[test]
fn rob_07_without_an_interrupt_of_its_own_the_log_is_found_by_looking() {
    let mut world = Machine::new(Traits {
        interrupts: false,
        ..Traits::default()
    });
    let set = world.devices.set_fault_interrupt(ApicId(1), Vector(0xf1));
    assert!(set.is_err(), "said, so that somebody looks");
    assert_eq!(world.units[0].own_interrupt(), None);
    fault(&world, 1);
    assert_eq!(world.units[0].raised(), 0);
    assert_eq!(taken(&mut world), 1);
    (0..300).for_each(|page| fault(&world, page));
    // What nobody owns is told once, and then suppressed.
    assert!(taken(&mut world) <= 255);
    assert_eq!(world.units[0].read32(0x2020) & 9, 8, "it runs");
}

#[test]
fn rob_08_what_the_unit_itself_cannot_read_fails_it_and_contains_what_is_behind() {
    // Device table, page table, illegal command, command buffer.
    for code in [3, 4, 5, 6] {
        let mut world = Machine::new(Traits::default());
        world.give(A, P).unwrap();
        world.give(FAR, Q).unwrap();
        world.units[0].complain(code, A.requester.0);
        assert_eq!(world.devices.take_fault(), None);
        assert_eq!(world.devices.why_not(A), Some(Reason::UnitFailed));
        assert!(!world.config.bus_master(A));
        assert_eq!(world.devices.take_partition_to_stop(), Some(P));
        assert_eq!(world.devices.take_partition_to_stop(), None, "Q goes on");
    }
}

#[test]
fn rob_04_commands_that_have_stopped_are_found_by_looking() {
    let mut world = Machine::new(Traits::default());
    world.give(A, P).unwrap();
    assert_eq!(world.devices.take_fault(), None);
    assert_eq!(world.devices.why_not(A), None);
    let unit = &world.units[0];
    unit.write64(0x18, unit.read64(0x18) & !(1 << 12));
    assert_eq!(world.devices.take_fault(), None);
    assert_eq!(world.devices.why_not(A), Some(Reason::UnitFailed));
    assert!(!world.config.bus_master(A));
    assert_eq!(world.devices.take_partition_to_stop(), Some(P));
}

#[test]
fn rob_08_what_a_device_did_is_told_and_no_more() {
    // Illegal entry, invalidation time-out, invalid request, and what later editions may define.
    for code in [1, 7, 8, 12] {
        let mut world = Machine::new(Traits::default());
        world.give(A, P).unwrap();
        world.units[0].complain(code, A.requester.0);
        let told = world.devices.take_fault().unwrap();
        assert_eq!(
            (told.device, told.partition, told.reason),
            (A, Some(P), code)
        );
        assert_eq!(world.devices.why_not(A), None);
        assert!(world.config.bus_master(A));
    }
}

#[test]
fn rob_06_a_log_that_has_overflowed_is_read_and_goes_on() {
    let mut world = Machine::new(Traits::default());
    world.give(A, P).unwrap();
    for page in 0..300 {
        assert!(world.units[0].dma(A.requester.0, page << 12, true).is_err());
    }
    assert_eq!(world.units[0].read32(0x2020) & 1, 1, "overflow");
    let mut taken = 0;
    while world.devices.take_fault().is_some() {
        taken += 1;
    }
    assert_eq!(taken, 255, "all that the log had room for");
    assert_eq!(world.units[0].read32(0x2020) & 9, 8, "it runs again");
    assert!(
        world.units[0]
            .dma(OTHER.requester.0, 0x5000, false)
            .is_err()
    );
    assert!(world.devices.take_fault().is_some());
}
