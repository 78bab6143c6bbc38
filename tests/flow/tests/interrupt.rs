//! A device raises what it was given, and nothing else.

use address::{LpIndex, PartitionId, RequesterId, Vector};
use device::{Capacities, Delivery, DomainName, Error, Polarity, Source, VpRef, Wire};
use flow::*;
use model::{Refused, Unit};

on_every_arm!(
    int_03_another_devices_handle_is_refused,
    int_03_an_alias_group_is_admitted_by_its_buses,
    int_04_handles_that_name_nothing_are_refused,
    int_05_a_removed_interrupt_is_forgotten,
    int_06_interrupts_that_are_not_remapped_go_nowhere,
    int_08_vectors_come_from_the_hypervisors_range,
    int_10_a_retarget_loses_nothing,
    int_14_nobody_touches_anothers_interrupts,
    int_19_an_interrupt_after_detach_goes_nowhere,
    tlb_15_an_old_vector_is_not_raised_after_a_retarget,
    mem_07_vectors_run_out_with_an_error,
    mem_07_interrupts_run_out_with_an_error,
    rst_05_nothing_of_a_device_is_left_after_detach,
    a_blocked_device_keeps_its_interrupts_and_raises_none,
    a_pin_of_the_root_is_remapped,
);

fn look_up<D: Arm>(world: &World<D>, got: model::Delivered) -> Option<Delivery> {
    let lp = LpIndex((got.apic - 0x1000) as u16);
    world.devices.software().look_up(lp, Vector(got.vector))
}

fn int_03_another_devices_handle_is_refused<D: Arm>() {
    let mut world = World::<D>::new(Traits::default());
    world.give(A, P).unwrap();
    world.give(B, Q).unwrap();
    let entry = world.message(A, P, target(2, 77, 0x55)).unwrap();
    let got = world.raise(A, &entry).unwrap();
    let delivery = look_up(&world, got).unwrap();
    assert_eq!(
        (delivery.vp, delivery.vector, delivery.interrupt),
        (VpRef(77), Vector(0x55), entry.id)
    );
    assert!(matches!(world.raise(B, &entry), Err(Refused::Fault(_))));
}

fn int_03_an_alias_group_is_admitted_by_its_buses<D: Arm>() {
    let mut world = World::<D>::new(Traits::default());
    world.devices.declare_reset(OTHER).unwrap();
    world.give(TWIN, P).unwrap();
    world.give(A, Q).unwrap();
    let entry = world.message(TWIN, P, target(0, 1, 0x41)).unwrap();
    let (address, data) = message(&entry);
    assert!(world.raise(TWIN, &entry).is_ok());
    assert!(world.units[0].interrupt(ALIAS.0, address, data).is_ok());
    assert!(world.raise(A, &entry).is_err());
}

fn int_04_handles_that_name_nothing_are_refused<D: Arm>() {
    let mut world = World::<D>::new(Traits::default());
    world.give(A, P).unwrap();
    let entry = world.message(A, P, target(0, 1, 0x41)).unwrap();
    assert!(world.raise(A, &entry).is_ok());
    let (address, data) = message(&entry);
    for (address, data) in D::forged(address, data) {
        assert!(world.bus.interrupt(A, address, data).is_err());
    }
}

fn int_05_a_removed_interrupt_is_forgotten<D: Arm>() {
    let mut world = World::<D>::new(Traits::default());
    world.give(A, P).unwrap();
    let entry = world.message(A, P, target(0, 1, 0x41)).unwrap();
    let got = world.raise(A, &entry).unwrap();
    world.devices.unmap_interrupt(P, entry.id).unwrap();
    assert!(world.raise(A, &entry).is_err());
    assert_eq!(
        look_up(&world, got),
        None,
        "one that is under way is a stray"
    );
    assert_eq!(
        world.devices.unmap_interrupt(P, entry.id),
        Err(Error::NoSuchInterrupt(entry.id))
    );
}

fn int_06_interrupts_that_are_not_remapped_go_nowhere<D: Arm>() {
    let mut world = World::<D>::new(Traits::default());
    world.give(A, P).unwrap();
    let entry = world.message(A, P, target(0, 1, 0x41)).unwrap();
    assert!(world.raise(A, &entry).is_ok());
    // Every delivery mode and vector in the format of old, to every processor, among others.
    let (address, data) = message(&entry);
    for (address, data) in D::forged(address, data) {
        assert!(world.bus.interrupt(A, address, data).is_err());
        assert!(world.bus.interrupt(FAR, address, data).is_err());
    }
    // Nor does anybody else's that has no interrupt at all.
    assert!(world.bus.interrupt(FAR, address, data).is_err());
}

fn int_08_vectors_come_from_the_hypervisors_range<D: Arm>() {
    let mut world = World::<D>::new(Traits::default());
    world.give(A, P).unwrap();
    for vector in 0..=255 {
        let mapped = world.message(A, P, target(1, 1, vector));
        if vector < 16 {
            assert_eq!(mapped, Err(Error::BadVector(Vector(vector))));
            continue;
        }
        let Ok(entry) = mapped else {
            assert_eq!(mapped, Err(Error::OutOfVectors(LpIndex(1))));
            continue;
        };
        let got = world.raise(A, &entry).unwrap();
        assert!(device::DEVICE_VECTORS.contains(&got.vector));
        assert_eq!(look_up(&world, got).unwrap().vector, Vector(vector));
    }
    assert_eq!(
        world.message(A, P, target(4, 1, 0x40)),
        Err(Error::NoSuchLp(LpIndex(4)))
    );
}

fn int_10_a_retarget_loses_nothing<D: Arm>() {
    let mut world = World::<D>::new(Traits::default());
    world.give(A, P).unwrap();
    let entry = world.message(A, P, target(0, 1, 0x41)).unwrap();
    for round in 0..2000u32 {
        let under_way = world.raise(A, &entry).unwrap();
        let to = target((round % 4) as u16, round, 0x42);
        assert_eq!(
            world.devices.retarget_interrupt(P, entry.id, to).unwrap(),
            entry
        );
        // What an LP had accepted before is delivered to where the interrupt goes now.
        assert_eq!(look_up(&world, under_way).unwrap().vp, VpRef(round));
        let got = world.raise(A, &entry).unwrap();
        assert_eq!(got.apic, to.apic.0);
        assert_eq!(look_up(&world, got).unwrap().vp, VpRef(round));
    }
    world.devices.unmap_interrupt(P, entry.id).unwrap();
    for lp in 0..4 {
        for vector in 0..=255 {
            assert_eq!(
                world
                    .devices
                    .software()
                    .look_up(LpIndex(lp), Vector(vector)),
                None
            );
        }
    }
}

fn int_14_nobody_touches_anothers_interrupts<D: Arm>() {
    let mut world = World::<D>::new(Traits::default());
    world.give(A, P).unwrap();
    let entry = world.message(A, P, target(0, 1, 0x41)).unwrap();
    let foreign = Err(Error::NotOwner { owner: P });
    assert_eq!(
        world.message(A, Q, target(0, 1, 0x41)),
        Err(Error::NotOwner { owner: P })
    );
    assert_eq!(world.devices.unmap_interrupt(Q, entry.id), foreign);
    assert!(
        world
            .devices
            .retarget_interrupt(Q, entry.id, target(1, 2, 0x42))
            .is_err()
    );
    for id in [1, 0x7fff, 0x8000, 0x1_0000, u32::MAX] {
        let id = device::InterruptId(id);
        assert_eq!(
            world.devices.unmap_interrupt(P, id),
            Err(Error::NoSuchInterrupt(id))
        );
        assert_eq!(
            world.devices.hold_interrupt(id, true),
            Err(Error::NoSuchInterrupt(id))
        );
    }
    let pin = Source::Pin {
        io_apic: 0,
        pin: 4,
        level: false,
        polarity: Polarity::High,
    };
    let refused = world
        .devices
        .map_interrupt(P, pin, target(0, 1, 0x41), &mut world.pool);
    assert_eq!(
        refused,
        Err(Error::NotOwner {
            owner: PartitionId::ROOT
        })
    );
    assert!(world.raise(A, &entry).is_ok());
}

fn int_19_an_interrupt_after_detach_goes_nowhere<D: Arm>() {
    let mut world = World::<D>::new(Traits::default());
    world.give(A, P).unwrap();
    let entry = world.message(A, P, target(3, 9, 0x41)).unwrap();
    let under_way = world.raise(A, &entry).unwrap();
    world.take(A, P).unwrap();
    assert_eq!(look_up(&world, under_way), None);
    let (address, data) = message(&entry);
    assert!(
        world.units[0]
            .interrupt(A.requester.0, address, data)
            .is_err()
    );
    world.give(A, Q).unwrap();
    assert!(world.raise(A, &entry).is_err());
}

fn tlb_15_an_old_vector_is_not_raised_after_a_retarget<D: Arm>() {
    let mut world = World::<D>::new(Traits::default());
    world.give(A, P).unwrap();
    let entry = world.message(A, P, target(0, 1, 0x41)).unwrap();
    let old = world.raise(A, &entry).unwrap();
    world
        .devices
        .retarget_interrupt(P, entry.id, target(1, 2, 0x41))
        .unwrap();
    let new = world.raise(A, &entry).unwrap();
    assert_ne!((old.apic, old.vector), (new.apic, new.vector));
    world.devices.unmap_interrupt(P, entry.id).unwrap();
    world.give(B, Q).unwrap();
    // The index is another's now, and so are the caches.
    for _ in 0..300 {
        let other = world.message(B, Q, target(2, 5, 0x61)).unwrap();
        assert_eq!(
            look_up(&world, world.raise(B, &other).unwrap()).unwrap().vp,
            VpRef(5)
        );
        assert!(world.raise(A, &entry).is_err());
        world.devices.unmap_interrupt(Q, other.id).unwrap();
    }
}

fn mem_07_vectors_run_out_with_an_error<D: Arm>() {
    let mut world = World::<D>::new(Traits::default());
    world.give(A, P).unwrap();
    let made: Vec<_> = (0..0xc0)
        .map(|_| world.message(A, P, target(2, 1, 0x41)).unwrap())
        .collect();
    assert_eq!(
        world.message(A, P, target(2, 1, 0x41)),
        Err(Error::OutOfVectors(LpIndex(2)))
    );
    let used = world.devices.in_use();
    let retarget = world.message(A, P, target(0, 1, 0x41)).unwrap();
    let full = world
        .devices
        .retarget_interrupt(P, retarget.id, target(2, 1, 0x41));
    assert_eq!(full, Err(Error::OutOfVectors(LpIndex(2))));
    assert_eq!(world.raise(A, &retarget).unwrap().apic, 0x1000);
    world.devices.unmap_interrupt(P, retarget.id).unwrap();
    assert_eq!(world.devices.in_use(), used);
    world.devices.unmap_interrupt(P, made[0].id).unwrap();
    world.message(A, P, target(2, 1, 0x41)).unwrap();
}

fn mem_07_interrupts_run_out_with_an_error<D: Arm>() {
    let few = Capacities {
        interrupts: 6,
        interrupts_per_partition: 4,
        ..Capacities::default()
    };
    let mut world = World::<D>::with(Traits::default(), Traits::default(), few);
    world.give(A, P).unwrap();
    world.give(B, Q).unwrap();
    for _ in 0..4 {
        world.message(A, P, target(0, 1, 0x41)).unwrap();
    }
    assert_eq!(
        world.message(A, P, target(0, 1, 0x41)),
        Err(Error::Quota(4))
    );
    let last = world.message(B, Q, target(0, 2, 0x41)).unwrap();
    world.message(B, Q, target(0, 2, 0x41)).unwrap();
    assert_eq!(
        world.message(B, Q, target(0, 2, 0x41)),
        Err(Error::OutOfInterrupts)
    );
    world.devices.unmap_interrupt(Q, last.id).unwrap();
    world.message(B, Q, target(0, 2, 0x41)).unwrap();
}

fn rst_05_nothing_of_a_device_is_left_after_detach<D: Arm>() {
    let mut world = World::<D>::new(Traits::default());
    let before = world.devices.in_use();
    world.give(A, P).unwrap();
    let made: Vec<_> = (0..40u16)
        .map(|at| world.message(A, P, target(at % 4, 1, 0x41)).unwrap())
        .collect();
    world.devices.unmap_interrupt(P, made[7].id).unwrap();
    assert_eq!(
        world.devices.device_info(A).unwrap().counters.interrupts,
        39
    );
    world.take(A, P).unwrap();
    assert_eq!(world.devices.in_use(), before);
    assert_eq!(world.devices.device_info(A).unwrap().counters.interrupts, 0);
    for entry in &made {
        let (address, data) = message(entry);
        assert!(
            world.units[0]
                .interrupt(A.requester.0, address, data)
                .is_err()
        );
    }
    for lp in 0..4 {
        for vector in 0..=255 {
            assert_eq!(
                world
                    .devices
                    .software()
                    .look_up(LpIndex(lp), Vector(vector)),
                None
            );
        }
    }
}

fn a_blocked_device_keeps_its_interrupts_and_raises_none<D: Arm>() {
    let mut world = World::<D>::new(Traits::default());
    world.give(A, P).unwrap();
    let entry = world.message(A, P, target(0, 1, 0x41)).unwrap();
    let (address, data) = message(&entry);
    let raise = |world: &World<D>| world.units[0].interrupt(A.requester.0, address, data);
    assert!(raise(&world).is_ok());
    world.devices.detach_domain(A, P).unwrap();
    assert!(raise(&world).is_err());
    assert!(world.devices.hold_interrupt(entry.id, false).is_err());
    assert!(
        world
            .devices
            .retarget_interrupt(P, entry.id, target(1, 1, 0x41))
            .is_err()
    );
    world
        .devices
        .attach_domain(A, DomainName::identity(P), &mut world.pool)
        .unwrap();
    assert!(raise(&world).is_ok());
    world.devices.hold_interrupt(entry.id, true).unwrap();
    assert!(raise(&world).is_err());
    world.devices.hold_interrupt(entry.id, false).unwrap();
    assert!(raise(&world).is_ok());
}

fn a_pin_of_the_root_is_remapped<D: Arm>() {
    let mut world = World::<D>::new(Traits::default());
    let pin = |pin, io_apic| Source::Pin {
        io_apic,
        pin,
        level: true,
        polarity: Polarity::Low,
    };
    let root = PartitionId::ROOT;
    let entry = world
        .devices
        .map_interrupt(root, pin(4, 0), target(0, 1, 0x24), &mut world.pool)
        .unwrap();
    let Wire::Pin(rte) = entry.wire else {
        panic!("a pin")
    };
    assert_eq!(rte >> 16 & 1, 0, "unmasked");
    let (address, data) = D::pin_message(rte);
    let raise = |requester: RequesterId| world.units[0].interrupt(requester.0, address, data);
    let got = raise(IO_APIC).unwrap();
    assert!(got.level && look_up(&world, got).unwrap().level);
    assert!(!D::PIN_HOLDS_VECTOR || u64::from(got.vector) == rte & 0xff);
    assert!(raise(A.requester).is_err());
    let again = world
        .devices
        .map_interrupt(root, pin(4, 0), target(0, 1, 0x24), &mut world.pool);
    assert_eq!(again, Err(Error::PinInUse(entry.id)));
    let nowhere = world
        .devices
        .map_interrupt(root, pin(4, 9), target(0, 1, 0x24), &mut world.pool);
    assert_eq!(nowhere, Err(Error::NoSuchPin { io_apic: 9, pin: 4 }));
    world.devices.unmap_interrupt(root, entry.id).unwrap();
    world
        .devices
        .map_interrupt(root, pin(4, 0), target(0, 1, 0x24), &mut world.pool)
        .unwrap();
}
