//! Interrupts that the unit leaves in memory for a VP, where it can and may: the hardware half, on the device nouns alone.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use address::{LpIndex, Vector};
use device::{DEVICE_VECTORS, DomainName, Error, Target, VpRef};
use flow::*;
use model::{Behaviour, Refused, Unit};

on_every_arm!(
    a_message_is_posted_where_the_unit_can_and_the_target_may,
    int_03_another_devices_handle_posts_nothing,
    int_08_what_is_posted_is_the_guests_vector_and_refused_where_it_was,
    int_10_a_retarget_of_what_is_posted_loses_and_doubles_nothing,
    int_10_a_message_goes_where_it_went_or_will_go_after_every_store,
    int_19_nothing_is_posted_after_unmap_and_detach,
    int_23_a_vp_that_a_failed_unit_may_post_to_stays_in_use,
    tlb_15_no_cache_posts_where_it_did_before,
    what_is_held_is_not_posted,
    a_pin_is_never_posted,
);

fn traits() -> Traits {
    Traits {
        posts: true,
        ..Traits::default()
    }
}

/// The LP that the descriptor of a VP names, and the vector: each VP's own, so that one tells who was meant.
fn tells(vp: u32) -> (u32, u8) {
    (0x1000 + vp, 0xe0 + vp as u8)
}

/// A world that posts, whose VPs 0 to 4 have descriptors; A is P's.
fn world<D: Arm>() -> World<D> {
    let mut world = World::<D>::new(traits());
    world.give(A, P).unwrap();
    for vp in 0..5 {
        let (apic, vector) = tells(vp);
        let control = u64::from(apic) << 32 | u64::from(vector) << 16;
        world.memory.write(descriptor(vp) + 32, control);
    }
    world
}

/// Where a message was seen to go: a processor and a vector.
type Seen = Option<(u32, u8)>;

/// Takes what was posted to a VP: its vectors. From now on nobody was told of anything.
fn taken<D: Arm>(world: &World<D>, vp: u32) -> Vec<u8> {
    let at = descriptor(vp);
    let control = world.memory.read(at + 32);
    world.memory.write(at + 32, control & !1);
    let vectors = (0..=255u8).filter(|&vector| {
        let word = at + u64::from(vector / 64) * 8;
        let bits = world.memory.read(word);
        world.memory.write(word, bits & !(1 << (vector % 64)));
        bits >> (vector % 64) & 1 != 0
    });
    vectors.collect()
}

/// Where a message came to: the VP and its vector, by either way.
fn reached<D: Arm>(world: &World<D>, entry: &device::InterruptEntry) -> (VpRef, u8) {
    let got = world.raise(A, entry).unwrap();
    let posted: Vec<_> = (0..5)
        .flat_map(|vp| {
            taken(world, vp)
                .into_iter()
                .map(move |vector| (VpRef(vp), vector))
        })
        .collect();
    let lp = LpIndex((got.apic - 0x1000) as u16);
    let found = world.devices.software().look_up(lp, Vector(got.vector));
    match *posted {
        [] => found.map(|it| (it.vp, it.vector.0)).unwrap(),
        [one] => {
            assert_eq!((got.apic, got.vector, got.told), {
                let (apic, vector) = tells(one.0.0);
                (apic, vector, true)
            });
            one
        }
        _ => panic!("one message, posted as {posted:?}"),
    }
}

fn a_message_is_posted_where_the_unit_can_and_the_target_may<D: Arm>() {
    for (unit_posts, may) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut world = World::<D>::new(Traits {
            posts: unit_posts,
            ..traits()
        });
        world.give(A, P).unwrap();
        world.memory.write(descriptor(3) + 32, 0xabcd_00f3_0000);
        let to = if may {
            posted(2, 3, 0x1e)
        } else {
            target(2, 3, 0x1e)
        };
        let entry = world.message(A, P, to).unwrap();
        let got = world.raise(A, &entry).unwrap();
        if D::POSTS && unit_posts && may {
            assert_eq!((got.apic, got.vector, got.told), (0xabcd, 0xf3, true));
            let again = world.raise(A, &entry).unwrap();
            assert!(!again.told, "somebody was told, and has not looked");
            assert_eq!(taken(&world, 3), [0x1e]);
            assert!(world.raise(A, &entry).unwrap().told);
        } else {
            assert_eq!(got.apic, 0x1002);
            assert!(got.told && DEVICE_VECTORS.contains(&got.vector));
            assert_eq!(taken(&world, 3), []);
        }
    }
}

fn int_03_another_devices_handle_posts_nothing<D: Arm>() {
    let mut world = world::<D>();
    world.give(B, Q).unwrap();
    let entry = world.message(A, P, posted(0, 1, 0x41)).unwrap();
    let (address, data) = message(&entry);
    assert!(matches!(world.raise(B, &entry), Err(Refused::Fault(_))));
    for (address, data) in D::forged(address, data) {
        assert!(world.bus.interrupt(A, address, data).is_err());
    }
    assert_eq!(taken(&world, 1), []);
    assert_eq!(reached(&world, &entry), (VpRef(1), 0x41));
    // An alias group, by its buses.
    world.devices.declare_reset(OTHER).unwrap();
    world.give(TWIN, P).unwrap();
    let entry = world.message(TWIN, P, posted(0, 2, 0x42)).unwrap();
    let (address, data) = message(&entry);
    assert!(world.raise(B, &entry).is_err());
    assert_eq!(taken(&world, 2), []);
    assert!(world.units[0].interrupt(ALIAS.0, address, data).is_ok());
    assert_eq!(taken(&world, 2).len(), usize::from(D::POSTS));
}

fn int_08_what_is_posted_is_the_guests_vector_and_refused_where_it_was<D: Arm>() {
    let mut world = world::<D>();
    for vector in 0..=255 {
        let mapped = world.message(A, P, posted(1, 1, vector));
        if vector < 16 {
            assert_eq!(mapped, Err(Error::BadVector(Vector(vector))));
            continue;
        }
        let entry = mapped.unwrap();
        assert_eq!(reached(&world, &entry), (VpRef(1), vector));
        let refused = world
            .devices
            .retarget_interrupt(P, entry.id, posted(1, 2, vector & 15));
        assert_eq!(refused, Err(Error::BadVector(Vector(vector & 15))));
        assert_eq!(reached(&world, &entry), (VpRef(1), vector));
        world.devices.unmap_interrupt(P, entry.id).unwrap();
    }
    let nowhere = world.message(A, P, posted(4, 1, 0x40));
    assert_eq!(nowhere, Err(Error::NoSuchLp(LpIndex(4))));
}

/// Targets, posted or not, such that LP, VP, vector and way change alone and together.
fn targets() -> impl Iterator<Item = Target> {
    let all = [
        posted(0, 0, 0x41),
        posted(0, 1, 0x41),
        posted(0, 1, 0x42),
        posted(1, 2, 0x42),
        target(1, 2, 0x42),
        target(1, 3, 0x43),
        posted(1, 3, 0x43),
        target(0, 3, 0x43),
        posted(2, 4, 0x44),
    ];
    all.into_iter().cycle()
}

fn int_10_a_retarget_of_what_is_posted_loses_and_doubles_nothing<D: Arm>() {
    let mut world = world::<D>();
    let entry = world.message(A, P, posted(0, 0, 0x41)).unwrap();
    let mut to = targets();
    let mut now = to.next().unwrap();
    for next in to.take(200) {
        assert_eq!(reached(&world, &entry), (now.vp, now.vector.0));
        let moved = world.devices.retarget_interrupt(P, entry.id, next);
        assert_eq!(moved, Ok(entry), "the wire stays");
        now = next;
    }
    // What named a VP before names it no more.
    let naming = |vp| world.devices.interrupts_of(VpRef(vp));
    assert_eq!((0..5).map(naming).sum::<usize>(), 1);
}

fn int_10_a_message_goes_where_it_went_or_will_go_after_every_store<D: Arm>() {
    let mut world = world::<D>();
    let entry = world.message(A, P, posted(0, 0, 0x41)).unwrap();
    let (address, data) = message(&entry);
    let seen: Rc<RefCell<BTreeSet<Seen>>> = Rc::default();
    let (unit, notes) = (world.units[0].clone(), seen.clone());
    world.memory.watch(move || {
        let came = unit.afresh(|unit| unit.interrupt(A.requester.0, address, data));
        let came = came.ok().map(|it| (it.apic, it.vector));
        notes.borrow_mut().insert(came);
    });
    let now = |world: &World<D>| {
        let came = world.raise(A, &entry).unwrap();
        Some((came.apic, came.vector))
    };
    for next in targets().skip(1).take(18) {
        let before = now(&world);
        seen.take();
        world.devices.retarget_interrupt(P, entry.id, next).unwrap();
        let after = now(&world);
        let seen = seen.take();
        assert!(
            seen.is_subset(&BTreeSet::from([before, after])),
            "{seen:x?}"
        );
    }
    let before = now(&world);
    seen.take();
    world.devices.unmap_interrupt(P, entry.id).unwrap();
    assert!(seen.take().is_subset(&BTreeSet::from([before, None])));
}

fn int_19_nothing_is_posted_after_unmap_and_detach<D: Arm>() {
    let mut world = world::<D>();
    let first = world.message(A, P, posted(0, 1, 0x41)).unwrap();
    let second = world.message(A, P, posted(0, 2, 0x42)).unwrap();
    assert_eq!(reached(&world, &first), (VpRef(1), 0x41));
    world.devices.unmap_interrupt(P, first.id).unwrap();
    assert!(world.raise(A, &first).is_err());
    assert_eq!(reached(&world, &second), (VpRef(2), 0x42));
    world.take(A, P).unwrap();
    world.give(A, Q).unwrap();
    for entry in [&first, &second] {
        assert!(world.raise(A, entry).is_err());
    }
    let posted: Vec<_> = (0..5).flat_map(|vp| taken(&world, vp)).collect();
    assert_eq!(posted, []);
}

fn int_23_a_vp_that_a_failed_unit_may_post_to_stays_in_use<D: Arm>() {
    for fails in [false, true] {
        let mut world = world::<D>();
        let one = world.message(A, P, posted(0, 1, 0x41)).unwrap();
        world.message(A, P, target(0, 4, 0x41)).unwrap();
        if fails {
            world.units[0].behave(Behaviour::Silent);
        }
        let moved = world
            .devices
            .retarget_interrupt(P, one.id, posted(0, 2, 0x41));
        assert_eq!(moved.is_err(), fails && D::POSTS);
        let _ = world.take(A, P);
        let _ = world.take(A, P);
        let kept = [1, 2, 3, 4].map(|vp| world.devices.interrupts_of(VpRef(vp)));
        if fails && D::POSTS {
            assert_eq!(kept, [1, 1, 0, 0], "the old one, and the new one");
        } else if !fails {
            assert_eq!(kept, [0; 4]);
        }
        assert_eq!(world.devices.in_use().1, 0);
    }
}

fn tlb_15_no_cache_posts_where_it_did_before<D: Arm>() {
    let mut world = world::<D>();
    let entry = world.message(A, P, posted(0, 0, 0x41)).unwrap();
    let (address, data) = message(&entry);
    // What the unit may cache, it has cached, after each store.
    let unit = world.units[0].clone();
    world.memory.watch(move || {
        let _ = unit.interrupt(A.requester.0, address, data);
    });
    for next in targets().skip(1).take(18) {
        world.devices.retarget_interrupt(P, entry.id, next).unwrap();
        world.memory.watch(|| ());
        (0..5).for_each(|vp| drop(taken(&world, vp)));
        assert_eq!(reached(&world, &entry), (next.vp, next.vector.0));
        let unit = world.units[0].clone();
        world.memory.watch(move || {
            let _ = unit.interrupt(A.requester.0, address, data);
        });
    }
}

fn what_is_held_is_not_posted<D: Arm>() {
    let mut world = world::<D>();
    let entry = world.message(A, P, posted(0, 1, 0x1f)).unwrap();
    assert_eq!(reached(&world, &entry), (VpRef(1), 0x1f));
    world.devices.hold_interrupt(entry.id, true).unwrap();
    for next in targets().take(18) {
        world.devices.retarget_interrupt(P, entry.id, next).unwrap();
        assert!(world.raise(A, &entry).is_err(), "still held");
    }
    let to = posted(0, 1, 0x1f);
    world.devices.retarget_interrupt(P, entry.id, to).unwrap();
    world.devices.hold_interrupt(entry.id, false).unwrap();
    assert_eq!(reached(&world, &entry), (VpRef(1), 0x1f));
    // A device that leaves its domain keeps the interrupt, and raises none.
    world.devices.detach_domain(A, P).unwrap();
    let (address, data) = message(&entry);
    let raised = world.units[0].interrupt(A.requester.0, address, data);
    assert!(raised.is_err());
    world
        .devices
        .attach_domain(A, DomainName::identity(P), &mut world.pool)
        .unwrap();
    assert_eq!(reached(&world, &entry), (VpRef(1), 0x1f));
}

fn a_pin_is_never_posted<D: Arm>() {
    let mut world = world::<D>();
    let pin = device::Source::Pin {
        io_apic: 0,
        pin: 4,
        level: false,
        polarity: device::Polarity::High,
    };
    let root = address::PartitionId::ROOT;
    let entry = world
        .devices
        .map_interrupt(root, pin, posted(0, 1, 0x41), &mut world.pool)
        .unwrap();
    let device::Wire::Pin(rte) = entry.wire else {
        panic!("a pin")
    };
    let (address, data) = D::pin_message(rte);
    let got = world.units[0].interrupt(IO_APIC.0, address, data).unwrap();
    assert_eq!(got.apic, 0x1000);
    assert!(DEVICE_VECTORS.contains(&got.vector));
    assert_eq!(taken(&world, 1), []);
}
