//! What the tables of this dialect hold, and which commands a change gives, as a walker and the unit see them.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

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

#[test]
fn tlb_02_every_word_of_an_entry_that_changes_is_forgotten_whole() {
    let mut world = Machine::new(Traits::default());
    world.give(A, P).unwrap();
    let (id, name) = (A.requester.0, world.units[0].entry(A.requester.0)[1] as u16);
    let change = [
        Event::DeviceEntry(id),
        Event::Pages(name, 0, u64::MAX, true),
        Event::InterruptTable(id),
        Event::Wait,
    ];
    let whole = |world: &Machine| world.units[0].events().windows(4).any(|it| it == change);
    whole(&world);
    // The first makes the table, the second and third make it longer.
    for vector in 0x41..0x44 {
        world.message(A, P, target(0, 1, vector)).unwrap();
        assert!(whole(&world), "{vector:#x}");
    }
    world.message(A, P, target(0, 1, 0x44)).unwrap();
    assert!(!whole(&world), "the fourth fits");
}

#[test]
fn dma_15_a_walker_sees_whole_entries_only_whenever_it_looks() {
    let mut world = Machine::new(Traits::default());
    let seen = Rc::new(RefCell::new(BTreeSet::new()));
    let (unit, notes) = (world.units[0].clone(), seen.clone());
    world.memory.watch(move || {
        let entry = unit.entry(A.requester.0);
        notes.borrow_mut().insert(entry);
    });
    for partition in [P, Q, P] {
        world.give(A, partition).unwrap();
        for vector in 0x41..0x44 {
            world.message(A, partition, target(0, 1, vector)).unwrap();
        }
        world.take(A, partition).unwrap();
    }
    let seen = seen.borrow();
    let memory: BTreeSet<_> = seen.iter().map(|it| (it[0], it[1])).collect();
    assert_eq!(memory.len(), 3, "blocked, and attached to two: {memory:x?}");
    assert!(memory.contains(&(3, 0)));
    let names: BTreeSet<_> = memory.iter().map(|it| it.1).collect();
    let roots: BTreeSet<_> = memory.iter().map(|it| it.0).collect();
    assert_eq!((names.len(), roots.len()), (3, 3), "no table has two names");
    for entry in seen.iter() {
        assert_eq!(entry[2] & 1, 1, "interrupts never pass: {entry:x?}");
        assert!(matches!(entry[2] >> 60, 0 | 2), "{entry:x?}");
        assert_eq!(entry[3], 0);
    }
}

#[test]
fn int_05_devices_never_share_a_table_and_unused_entries_are_off() {
    let mut world = Machine::new(Traits::default());
    world.give(A, P).unwrap();
    world.give(B, P).unwrap();
    let first = world.message(A, P, target(0, 1, 0x41)).unwrap();
    let second = world.message(A, P, target(0, 1, 0x42)).unwrap();
    world.message(B, P, target(1, 1, 0x43)).unwrap();
    let table = |device: address::DeviceId| {
        world.units[0].entry(device.requester.0)[2] & 0x000f_ffff_ffff_ffc0
    };
    assert_ne!(table(A), table(B));
    let (address, data) = message(&second);
    assert!(world.bus.interrupt(B, address, data).is_err());
    world.devices.unmap_interrupt(P, first.id).unwrap();
    assert!(world.raise(A, &first).is_err(), "off, although within");
    assert!(world.raise(A, &second).is_ok());
}

#[test]
fn int_07_no_entry_is_ever_in_guest_mode_or_anything_but_fixed_to_one() {
    let mut world = Machine::new(Traits::default());
    world.give(A, P).unwrap();
    let mut entries = Vec::new();
    for vector in 0x41..0x49 {
        entries.push(world.message(A, P, target(0, 1, vector)).unwrap());
    }
    let table = world.units[0].entry(A.requester.0)[2] & 0x000f_ffff_ffff_ffc0;
    let seen = Rc::new(RefCell::new(0u64));
    let (memory, notes) = (world.memory.clone(), seen.clone());
    world.memory.watch(move || {
        let low = |index: u64| memory.read(table + index * 16);
        let all = (0..8).map(low).fold(0, |all, low| all | low);
        *notes.borrow_mut() |= all;
    });
    for (lp, entry) in (0..).zip(&entries) {
        let to = target(lp % 4, 1, 0x51);
        world.devices.retarget_interrupt(P, entry.id, to).unwrap();
        world.devices.hold_interrupt(entry.id, true).unwrap();
        world.devices.hold_interrupt(entry.id, false).unwrap();
    }
    assert_ne!(*seen.borrow() & 3, 0, "something was stored");
    assert_eq!(*seen.borrow() & 0xfc, 0, "type, request, logical, guest");
    // A unit without guest mode refuses an entry that is in it: the control.
    assert!(world.raise(A, &entries[0]).is_ok());
    let low = world.memory.read(table);
    world.memory.write(table, low | 1 << 7);
    let refused = world.units[0].afresh(|unit| unit.interrupt(A.requester.0, 0xfee0_0000, 0));
    assert!(refused.is_err());
}
