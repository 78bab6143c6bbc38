//! What the tables of this dialect hold, and which commands a change gives, as a walker and the unit see them.

use flow::*;
use model::amdvi::Event;
use model::{Behaviour, Unit};

type Machine = World<AmdviArm>;

const FORWARDING: [u64; 4] = [0; 4];
const BLOCKED: [u64; 4] = [3, 0, 1, 0];

#[test]
fn dma_04_every_id_has_an_explicit_blocking_entry() {
    let mut world = Machine::new(Traits::default());
    for unit in &world.units {
        let io_apic = (0..=u16::MAX).filter(|&id| unit.entry(id) != BLOCKED);
        for id in io_apic {
            let entry = unit.entry(id);
            assert_ne!(entry, FORWARDING);
            assert_eq!(
                (entry[0], entry[1], entry[3]),
                (3, 0, 0),
                "{id:#x}: no memory"
            );
            assert_eq!(id, IO_APIC.0, "only pins have a table from the beginning");
        }
        assert_eq!(unit.exclusion(), [0, 0]);
    }
    world.give(A, P).unwrap();
    world.take(A, P).unwrap();
    assert_eq!(world.units[0].entry(A.requester.0), BLOCKED);
}

#[test]
fn dma_13_dma_14_an_attached_entry_and_its_depth() {
    let mut world = Machine::new(Traits::default());
    world.give(A, P).unwrap();
    let before = world.units[0].entry(A.requester.0);
    assert_eq!(before[0] >> 52, 0x600, "read, write, no guest translation");
    assert_eq!(before[0] >> 9 & 7, 4, "levels");
    assert_eq!(
        before[1] >> 16,
        0,
        "no device cache, ports, exclusion, management"
    );
    assert_ne!(before[1], 0, "domain 0 is that of what is blocked");
    world.map(P, 5, &[0x77], RW).unwrap();
    world.map(P, (1 << 35) + 5, &[0x78], RW).unwrap();
    assert_eq!(world.units[0].entry(A.requester.0), before, "never deeper");
}

#[test]
fn int_05_int_07_a_table_of_its_own_as_long_as_needed_and_nothing_passes() {
    let mut world = Machine::new(Traits::default());
    world.give(A, P).unwrap();
    world.give(B, Q).ok();
    let mut lengths = Vec::new();
    for vector in 0x41..0x46 {
        world.message(A, P, target(0, 1, vector)).unwrap();
        let word = world.units[0].entry(A.requester.0)[2];
        assert_eq!(word & 1, 1);
        assert_eq!(word >> 60 & 3, 2, "remapped");
        assert_eq!(word >> 56 & 0xcf, 0, "no message passes");
        lengths.push(word >> 1 & 0xf);
    }
    assert_eq!(lengths, [0, 1, 2, 2, 3]);
    let unit = &world.units[0];
    assert!(unit.interrupt(A.requester.0, 0xfee0_0000, 4).is_ok());
    for outside in [5, 8, 0x1ff, 0x7ff] {
        assert!(unit.interrupt(A.requester.0, 0xfee0_0000, outside).is_err());
    }
    for mode in 2..8 {
        let data = mode << 8;
        assert!(unit.interrupt(A.requester.0, 0xfee0_0000, data).is_err());
    }
}

#[test]
fn int_05_a_table_goes_back_with_its_device() {
    let mut world = Machine::new(Traits::default());
    let taken = world.pool.taken();
    world.give(A, P).unwrap();
    world.message(A, P, target(0, 1, 0x41)).unwrap();
    assert_eq!(world.pool.taken(), taken + 1);
    world.take(A, P).unwrap();
    assert_eq!(world.pool.taken(), taken);
    assert_eq!(world.units[0].entry(A.requester.0), BLOCKED);
}

#[test]
fn tlb_02_every_change_of_an_entry_forgets_entry_pages_and_interrupts_in_order() {
    let mut world = Machine::new(Traits::default());
    world.units[0].events();
    world.give(A, P).unwrap();
    let name = world.units[0].entry(A.requester.0)[1] as u16;
    let id = A.requester.0;
    let change = [
        Event::DeviceEntry(id),
        Event::Pages(name, 0, u64::MAX, true),
        Event::InterruptTable(id),
        Event::Wait,
    ];
    let given = world.units[0].events();
    assert!(given.windows(4).any(|it| it == change), "{given:?}");
    world.take(A, P).unwrap();
    let taken = world.units[0].events();
    assert!(taken.windows(4).any(|it| it == change), "{taken:?}");
}

#[test]
fn tlb_15_every_change_of_an_interrupt_entry_forgets_it() {
    let mut world = Machine::new(Traits::default());
    world.give(A, P).unwrap();
    let entry = world.message(A, P, target(0, 1, 0x41)).unwrap();
    let forgets = |world: &Machine| {
        let events = world.units[0].events();
        events
            .windows(2)
            .any(|it| it == [Event::InterruptTable(A.requester.0), Event::Wait])
    };
    assert!(forgets(&world));
    world
        .devices
        .retarget_interrupt(P, entry.id, target(1, 1, 0x41))
        .unwrap();
    assert!(forgets(&world));
    world.devices.hold_interrupt(entry.id, true).unwrap();
    assert!(forgets(&world));
    world.devices.unmap_interrupt(P, entry.id).unwrap();
    assert!(forgets(&world));
}

#[test]
fn rob_04_commands_that_are_refused_or_never_done_fail_the_unit() {
    for behaviour in [
        Behaviour::QueueError,
        Behaviour::TimeoutError,
        Behaviour::Silent,
        Behaviour::Dead,
    ] {
        let mut world = Machine::new(Traits::default());
        world.give(A, P).unwrap();
        world.units[0].behave(behaviour);
        assert!(world.take(A, P).is_err());
        assert!(!world.config.bus_master(A));
        assert_eq!(world.devices.take_partition_to_stop(), Some(P));
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

#[test]
fn commands_wrap_around_the_end_of_the_buffer() {
    let mut world = Machine::new(Traits::default());
    world.give(A, P).unwrap();
    for round in 0..600 {
        world.map(P, 5, &[0x77 + round], RW).unwrap();
        assert_eq!(world.write(A, 5), Ok(0x77 + round));
        assert_eq!(world.unmap(P, 5, 1), Ok(1));
        assert!(world.write(A, 5).is_err());
    }
}
