//! Tables that change under a device that runs: a walker that has cached nothing may look after each single store.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use flow::*;
use model::Unit;

on_every_arm!(
    dma_15_a_device_reaches_its_owner_or_nothing_after_every_store,
    int_10_an_interrupt_goes_where_it_went_or_will_go_after_every_store,
    tlb_02_a_device_that_never_rests_is_where_it_belongs_when_a_call_returns,
    tlb_15_a_message_that_never_rests_arrives_when_a_call_returns,
);

type Seen<T> = Rc<RefCell<BTreeSet<T>>>;

fn dma_15_a_device_reaches_its_owner_or_nothing_after_every_store<D: Arm>() {
    let mut world = World::<D>::new(Traits::default());
    world.map(P, 5, &[0x55], RW).unwrap();
    world.map(Q, 5, &[0x66], RW).unwrap();
    let seen: Seen<Option<u64>> = Rc::default();
    let (unit, notes) = (world.units[0].clone(), seen.clone());
    world.memory.watch(move || {
        let reached = unit.afresh(|unit| unit.dma(A.requester.0, 0x5000, true));
        let page = reached.ok().map(|spa| spa.page());
        notes.borrow_mut().insert(page);
    });
    for (partition, frame) in [(P, 0x55), (Q, 0x66), (P, 0x55)] {
        world.give(A, partition).unwrap();
        world.message(A, partition, target(0, 1, 0x41)).unwrap();
        world.take(A, partition).unwrap();
        let seen = seen.take();
        assert_eq!(seen, BTreeSet::from([None, Some(frame)]));
    }
}

fn int_10_an_interrupt_goes_where_it_went_or_will_go_after_every_store<D: Arm>() {
    let mut world = World::<D>::new(Traits::default());
    world.give(A, P).unwrap();
    let first = world.message(A, P, target(0, 1, 0x41)).unwrap();
    let (address, data) = message(&first);
    let seen: Seen<Option<(u32, u8)>> = Rc::default();
    let (unit, notes) = (world.units[0].clone(), seen.clone());
    world.memory.watch(move || {
        let came = unit.afresh(|unit| unit.interrupt(A.requester.0, address, data));
        let came = came.ok().map(|it| (it.apic, it.vector));
        notes.borrow_mut().insert(came);
    });
    let now = |world: &World<D>| {
        let came = world.raise(A, &first).unwrap();
        Some((came.apic, came.vector))
    };
    for lp in [1, 2, 3, 0] {
        let before = now(&world);
        world
            .devices
            .retarget_interrupt(P, first.id, target(lp, 1, 0x41))
            .unwrap();
        let after = now(&world);
        assert_ne!(before, after);
        let seen = seen.take();
        let both = BTreeSet::from([before, after]);
        assert!(seen.is_subset(&both), "{seen:x?}");
        assert!(seen.contains(&after), "{seen:x?}");
    }
    // What is added beside it leaves it alone.
    let here = now(&world);
    world.message(A, P, target(1, 1, 0x42)).unwrap();
    world.message(A, P, target(2, 1, 0x43)).unwrap();
    assert_eq!(seen.take(), BTreeSet::from([here]));
    world.devices.unmap_interrupt(P, first.id).unwrap();
    assert!(seen.take().is_subset(&BTreeSet::from([here, None])));
}

/// A world whose device A tries `request` after each store, and what it may cache of that is cached.
fn hammered<D: Arm>(world: &World<D>, request: impl Fn(&D::Unit) + 'static) {
    let unit = world.units[0].clone();
    world.memory.watch(move || request(&unit));
}

fn tlb_02_a_device_that_never_rests_is_where_it_belongs_when_a_call_returns<D: Arm>() {
    for caches_absent in [false, true] {
        let mut world = World::<D>::new(Traits {
            caches_absent,
            ..Traits::default()
        });
        world.map(P, 5, &[0x55], RW).unwrap();
        world.map(Q, 5, &[0x66], RW).unwrap();
        hammered(&world, |unit| {
            let _ = unit.dma(A.requester.0, 0x5000, true);
        });
        for (partition, frame) in [(P, 0x55), (Q, 0x66), (P, 0x55)] {
            world.give(A, partition).unwrap();
            assert_eq!(world.write(A, 5), Ok(frame));
            assert_eq!(world.unmap(partition, 5, 1), Ok(1));
            assert!(world.write(A, 5).is_err());
            world.map(partition, 5, &[frame], RW).unwrap();
            assert_eq!(world.write(A, 5), Ok(frame));
            world.take(A, partition).unwrap();
            assert!(world.units[0].dma(A.requester.0, 0x5000, true).is_err());
        }
    }
}

fn tlb_15_a_message_that_never_rests_arrives_when_a_call_returns<D: Arm>() {
    let mut world = World::<D>::new(Traits::default());
    world.give(A, P).unwrap();
    let first = world.message(A, P, target(0, 1, 0x41)).unwrap();
    let (address, data) = message(&first);
    world.devices.unmap_interrupt(P, first.id).unwrap();
    // The handles around it, in either dialect's way to write them.
    hammered(&world, move |unit| {
        for other in 0..8 {
            let _ = unit.interrupt(A.requester.0, address + u64::from(other) * 32, data);
            let _ = unit.interrupt(A.requester.0, address, data + other);
        }
    });
    let first = world.message(A, P, target(0, 1, 0x41)).unwrap();
    let last = world.message(A, P, target(1, 1, 0x42)).unwrap();
    for (entry, apic) in [(&first, 0x1000), (&last, 0x1001)] {
        assert_eq!(world.raise(A, entry).unwrap().apic, apic);
        world
            .devices
            .retarget_interrupt(P, entry.id, target(2, 1, 0x41))
            .unwrap();
        assert_eq!(world.raise(A, entry).unwrap().apic, 0x1002);
        world.devices.hold_interrupt(entry.id, true).unwrap();
        assert!(world.raise(A, entry).is_err());
        world.devices.hold_interrupt(entry.id, false).unwrap();
        assert_eq!(world.raise(A, entry).unwrap().apic, 0x1002);
        world.devices.unmap_interrupt(P, entry.id).unwrap();
        assert!(world.raise(A, entry).is_err());
    }
}
