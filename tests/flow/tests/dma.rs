//! Who may reach which memory, and the life of a device. Each refusal stands beside the access that works.

use address::{Iova, PartitionId, Spa};
use device::{Capacities, DeviceState, DomainName, Error, Reason};
use flow::*;
use model::{Refused, Unit};
use paging::Rights;

on_every_arm!(
    dma_04_what_nobody_owns_goes_nowhere_from_boot_on,
    dma_06_dma_into_the_next_page_stops_at_the_edge_of_what_is_mapped,
    dma_10_aliases_move_with_their_devices,
    dma_11_a_group_moves_together_or_not_at_all,
    dma_13_superpages_translate_like_the_pages_they_replace,
    dma_16_units_that_cannot_reach_the_memory_are_not_used,
    dma_16_addresses_past_the_unit_are_refused,
    dma_18_the_interrupt_window_is_never_mapped,
    dma_19_rights_are_those_that_were_given,
    dma_21_an_empty_domain_passes_nothing_through,
    a_device_lives_through_all_its_states,
    bus_mastering_is_on_only_while_attached,
    only_assignable_reset_devices_are_attached,
    a_numbered_domain_has_its_own_layout,
    a_domain_is_deleted_only_when_empty,
    the_root_owns_devices_too,
    without_units_there_are_no_domains,
);

fn dma_04_what_nobody_owns_goes_nowhere_from_boot_on<D: Arm>() {
    let mut world = World::<D>::new(Traits::default());
    assert!(world.units.iter().all(|unit| unit.guards()));
    for device in [A, B, TWIN, OTHER, RESERVED, FAR, BARE] {
        // Firmware left bus mastering on.
        assert_eq!(world.write(device, 0x10), Err(Refused::BusMaster));
    }
    // A device that does not care about its bus master bit, under every requester id.
    for requester in 0..=u16::MAX {
        assert!(world.units[0].dma(requester, 0x10_000, true).is_err());
        assert!(world.units[1].dma(requester, 0x10_000, false).is_err());
    }
    world.give(A, P).unwrap();
    world.map(P, 0x10, &[0x8_0010], RW).unwrap();
    assert_eq!(world.write(A, 0x10), Ok(0x8_0010));
    assert!(world.units[0].dma(B.requester.0, 0x10_000, true).is_err());
}

fn dma_06_dma_into_the_next_page_stops_at_the_edge_of_what_is_mapped<D: Arm>() {
    let mut world = World::<D>::new(Traits::default());
    world.give(A, P).unwrap();
    world.map(P, 5, &[0x77], RW).unwrap();
    assert_eq!(world.bus.dma(A, 0x5fff, true), Ok(Spa::new(0x7_7fff)));
    assert!(world.bus.dma(A, 0x6000, true).is_err());
    assert!(world.bus.dma(A, 0x4fff, true).is_err());
}

fn dma_10_aliases_move_with_their_devices<D: Arm>() {
    let mut world = World::<D>::new(Traits::default());
    world.devices.declare_reset(OTHER).unwrap();
    world.give(TWIN, P).unwrap();
    world.map(P, 5, &[0x77], RW).unwrap();
    assert!(world.bus.dma_as(TWIN, ALIAS.0, 0x5000, true).is_ok());
    world.take(TWIN, P).unwrap();
    assert!(world.units[0].dma(ALIAS.0, 0x5000, true).is_err());
    assert!(world.units[0].dma(OTHER.requester.0, 0x5000, true).is_err());
}

fn dma_11_a_group_moves_together_or_not_at_all<D: Arm>() {
    let mut world = World::<D>::new(Traits::default());
    world.devices.declare_reset(TWIN).unwrap();
    // The other one was not reset.
    let refused = world.devices.attach(TWIN, P, &mut world.pool);
    assert_eq!(
        refused,
        Err(Error::WrongState {
            device: OTHER,
            state: DeviceState::NeedsReset
        })
    );
    assert_eq!(world.devices.state(TWIN), Ok(DeviceState::Ready));
    world.give(OTHER, P).unwrap();
    assert_eq!(world.devices.owner(TWIN), Ok(P));
    assert_eq!(
        world.devices.attach(TWIN, Q, &mut world.pool),
        Err(Error::NotOwner { owner: P })
    );
    world.take(TWIN, P).unwrap();
    assert_eq!(world.devices.state(OTHER), Ok(DeviceState::NeedsReset));
}

fn dma_13_superpages_translate_like_the_pages_they_replace<D: Arm>() {
    for superpages in [false, true] {
        let mut world = World::<D>::new(Traits {
            superpages,
            ..Traits::default()
        });
        world.give(A, P).unwrap();
        let (start, target) = (Iova::new(0x4000_0000), Spa::new(0x8000_0000));
        let pages = 0x4_0000 + 0x200 + 3;
        let taken = world.pool.taken();
        let (done, result) =
            world
                .devices
                .map_identity_range(P, start, target, pages, RW, &mut world.pool);
        assert_eq!((done, result), (pages, Ok(())));
        let few = world.pool.taken() - taken < 10;
        assert_eq!(few, superpages || !D::OPTIONS);
        for page in [0, 1, 0x1ff, 0x3_ffff, 0x4_0000, 0x4_01ff, 0x4_0202] {
            assert_eq!(world.write(A, 0x4_0000 + page), Ok(0x8_0000 + page));
        }
        assert!(world.write(A, 0x4_0000 + pages).is_err());
        // A part of a large page goes: the rest still translates.
        assert_eq!(world.unmap(P, 0x4_0010, 1), Ok(1));
        assert!(world.write(A, 0x4_0010).is_err());
        assert_eq!(world.write(A, 0x4_0011), Ok(0x8_0011));
        assert_eq!(world.write(A, 0x7_ffff), Ok(0xb_ffff));
    }
}

fn dma_16_units_that_cannot_reach_the_memory_are_not_used<D: Arm>() {
    // Memory needs 36 bits: the narrowest unit is enough, and then both units use tables that both can walk.
    let narrow = Traits {
        bits: D::NARROWEST,
        ..Traits::default()
    };
    let wide = Traits {
        bits: if D::OPTIONS { 48 } else { 63 },
        ..Traits::default()
    };
    let mut world = World::<D>::with(wide, narrow, Capacities::default());
    for device in [A, FAR] {
        world.give(device, P).unwrap();
    }
    world.map(P, 5, &[0x77], RW).unwrap();
    assert_eq!(
        (world.write(A, 5), world.write(FAR, 5)),
        (Ok(0x77), Ok(0x77))
    );
    let useless = Traits {
        bits: 32,
        ..Traits::default()
    };
    let mut world = World::<D>::with(Traits::default(), useless, Capacities::default());
    assert_eq!(world.devices.why_not(FAR), Some(Reason::UnitFailed));
    assert_eq!(
        world.give(FAR, P),
        Err(Error::NotAssignable(FAR, Reason::UnitFailed))
    );
    world.give(A, P).unwrap();
}

fn dma_16_addresses_past_the_unit_are_refused<D: Arm>() {
    let mut world = World::<D>::new(Traits {
        bits: D::NARROWEST,
        ..Traits::default()
    });
    world.give(A, P).unwrap();
    let last = (1 << (D::NARROWEST - 12)) - 1;
    world.map(P, last, &[0x77], RW).unwrap();
    assert_eq!(world.write(A, last), Ok(0x77));
    let past = Iova::from_page(last + 1).unwrap();
    assert_eq!(
        world.map(P, last + 1, &[0x78], RW),
        Err((0, Error::BadRange(past)))
    );
    assert!(world.write(A, last + 1).is_err());
    assert!(world.bus.dma(A, u64::MAX, true).is_err());
}

fn dma_18_the_interrupt_window_is_never_mapped<D: Arm>() {
    let mut world = World::<D>::new(Traits::default());
    world.give(A, P).unwrap();
    world.devices.create_domain(P, 1, &mut world.pool).unwrap();
    let numbered = device::DomainName::numbered(P, 1);
    for page in [0xf_ee00, 0xf_ee80, 0xf_eeff] {
        assert_eq!(world.map(P, page, &[0x77], RW).unwrap_err().0, 0);
        // As a frame: by the frame table's word for the identity domain, by this crate's own for the others.
        let (pool, at) = (&mut world.pool, Iova::new(0x1_0000));
        let (done, result) = world.devices.map(numbered, at, &[page], RW, pool);
        assert!(done == 0 && result.is_err());
        assert!(world.write(A, page).is_err());
    }
    world.map(P, 0xf_edff, &[0xf_edff], RW).unwrap();
    world.map(P, 0xf_ef00, &[0xf_ef00], RW).unwrap();
    assert_eq!(world.write(A, 0xf_ef00), Ok(0xf_ef00));
    let all = world.devices.map_identity_range(
        P,
        Iova::new(0xfed0_0000),
        Spa::new(0xfed0_0000),
        0x400,
        RW,
        &mut world.pool,
    );
    assert_eq!(all.0, 0);
}

fn dma_19_rights_are_those_that_were_given<D: Arm>() {
    let mut world = World::<D>::new(Traits::default());
    world.give(A, P).unwrap();
    world.map(P, 1, &[0x11], Rights::READ).unwrap();
    world.map(P, 2, &[0x12], Rights::WRITE).unwrap();
    world.map(P, 3, &[0x13], RW | Rights::EXECUTE).unwrap();
    world.map(P, 4, &[0x14], Rights::EXECUTE).unwrap();
    assert!(world.read(A, 1).is_ok() && world.write(A, 1).is_err());
    assert!(world.read(A, 2).is_err() && world.write(A, 2).is_ok());
    assert!(world.read(A, 3).is_ok() && world.write(A, 3).is_ok());
    assert!(world.read(A, 4).is_err() && world.write(A, 4).is_err());
}

fn dma_21_an_empty_domain_passes_nothing_through<D: Arm>() {
    let mut world = World::<D>::new(Traits::default());
    world
        .devices
        .create_identity_domain(PartitionId::ROOT, &mut world.pool)
        .unwrap();
    world.give(A, P).unwrap();
    world.give(B, PartitionId::ROOT).unwrap();
    for page in [0, 1, 0x100, 0xfe_ffff] {
        assert!(world.read(A, page).is_err() && world.read(B, page).is_err());
    }
    world.map(PartitionId::ROOT, 1, &[1], RW).unwrap();
    assert_eq!(world.read(B, 1), Ok(1));
    assert!(world.read(A, 1).is_err());
}

fn a_device_lives_through_all_its_states<D: Arm>() {
    let mut world = World::<D>::new(Traits::default());
    world.map(P, 5, &[0x55], RW).unwrap();
    world.map(Q, 5, &[0x66], RW).unwrap();
    assert_eq!(world.devices.state(A), Ok(DeviceState::NeedsReset));
    let early = world.devices.attach(A, P, &mut world.pool);
    assert_eq!(
        early,
        Err(Error::WrongState {
            device: A,
            state: DeviceState::NeedsReset
        })
    );
    world.give(A, P).unwrap();
    assert_eq!(world.write(A, 5), Ok(0x55));
    assert!(matches!(world.give(A, Q), Err(Error::WrongState { .. })));
    assert_eq!(
        world.devices.attach(A, Q, &mut world.pool),
        Err(Error::NotOwner { owner: P })
    );
    assert_eq!(world.take(A, Q), Err(Error::NotOwner { owner: P }));
    world.devices.detach_domain(A, P).unwrap();
    assert_eq!(
        (world.devices.state(A), world.devices.owner(A)),
        (Ok(DeviceState::Blocked), Ok(P))
    );
    assert!(world.units[0].dma(A.requester.0, 0x5000, true).is_err());
    world
        .devices
        .attach_domain(A, DomainName::identity(P), &mut world.pool)
        .unwrap();
    assert_eq!(world.write(A, 5), Ok(0x55));
    world.take(A, P).unwrap();
    assert_eq!(world.devices.owner(A), Ok(PartitionId::ROOT));
    assert_eq!(world.devices.state(A), Ok(DeviceState::NeedsReset));
    assert!(world.units[0].dma(A.requester.0, 0x5000, true).is_err());
    world.give(A, Q).unwrap();
    assert_eq!(world.write(A, 5), Ok(0x66));
}

fn bus_mastering_is_on_only_while_attached<D: Arm>() {
    let mut world = World::<D>::new(Traits::default());
    let on = |world: &World<D>| world.config.bus_master(A);
    assert!(!on(&world));
    assert!(
        world
            .devices
            .set_bus_master(A, PartitionId::ROOT, true)
            .is_err()
    );
    world.give(A, P).unwrap();
    assert!(on(&world));
    world.devices.set_bus_master(A, P, false).unwrap();
    assert!(!on(&world));
    world.devices.set_bus_master(A, P, true).unwrap();
    assert_eq!(
        world.devices.set_bus_master(A, Q, false),
        Err(Error::NotOwner { owner: P })
    );
    assert!(on(&world));
    world.devices.detach_domain(A, P).unwrap();
    assert!(!on(&world));
    assert!(world.devices.set_bus_master(A, P, true).is_err());
    world
        .devices
        .attach_domain(A, DomainName::identity(P), &mut world.pool)
        .unwrap();
    assert!(on(&world));
    world.take(A, P).unwrap();
    assert!(!on(&world));
}

fn only_assignable_reset_devices_are_attached<D: Arm>() {
    let mut world = World::<D>::new(Traits::default());
    assert_eq!(
        world.give(RESERVED, P),
        Err(Error::NotAssignable(RESERVED, Reason::ReservedMemory))
    );
    assert_eq!(
        world.give(BARE, P),
        Err(Error::NotAssignable(BARE, Reason::NotCovered))
    );
    let bridge = address::DeviceId::new(0, 1, 0, 0).unwrap();
    let bridge = address::DeviceId::new(0, 0, bridge.bus(), 0).unwrap();
    assert_eq!(
        world.give(bridge, P),
        Err(Error::NotAssignable(bridge, Reason::Bridge))
    );
    let nobody = address::DeviceId::new(7, 7, 7, 7).unwrap();
    assert_eq!(world.give(nobody, P), Err(Error::NoSuchDevice(nobody)));
    world.devices.declare_reset(A).unwrap();
    world.devices.declare_used(A).unwrap();
    assert!(world.devices.attach(A, P, &mut world.pool).is_err());
    let stranger = PartitionId(9);
    assert_eq!(
        world.give(A, stranger),
        Err(Error::NoSuchDomain(DomainName::identity(stranger)))
    );
    assert_eq!(world.devices.state(A), Ok(DeviceState::Ready));
    world.give(A, P).unwrap();
    let deaf = Traits {
        interrupts: false,
        ..Traits::default()
    };
    let mut world = World::<D>::new(deaf);
    assert_eq!(
        world.give(A, P),
        Err(Error::NotAssignable(A, Reason::NoInterruptRemapping))
    );
}

fn a_numbered_domain_has_its_own_layout<D: Arm>() {
    let mut world = World::<D>::new(Traits::default());
    let name = DomainName::numbered(P, 7);
    world.give(A, P).unwrap();
    world.give(B, P).unwrap();
    world.map(P, 5, &[0x55], RW).unwrap();
    world.devices.create_domain(P, 7, &mut world.pool).unwrap();
    let start = Iova::new(0x5000);
    assert_eq!(
        world.devices.map(name, start, &[0x99], RW, &mut world.pool),
        (1, Ok(()))
    );
    world
        .devices
        .attach_domain(A, name, &mut world.pool)
        .unwrap();
    assert_eq!((world.write(A, 5), world.write(B, 5)), (Ok(0x99), Ok(0x55)));
    let mapping = world
        .devices
        .query(name, Iova::new(0x5123))
        .unwrap()
        .unwrap();
    assert_eq!((mapping.spa, mapping.rights), (Spa::new(0x9_9123), RW));
    let foreign = DomainName::identity(Q);
    assert_eq!(
        world.devices.attach_domain(A, foreign, &mut world.pool),
        Err(Error::NotOwner { owner: P })
    );
    assert_eq!(
        world.devices.attach_domain(A, name, &mut world.pool),
        Err(Error::AlreadyInDomain {
            device: A,
            domain: name
        })
    );
}

fn a_domain_is_deleted_only_when_empty<D: Arm>() {
    let mut world = World::<D>::new(Traits::default());
    let before = world.pool.taken();
    let name = DomainName::numbered(P, 1);
    world.give(A, P).unwrap();
    world.devices.create_domain(P, 1, &mut world.pool).unwrap();
    assert_eq!(
        world.devices.create_domain(P, 1, &mut world.pool),
        Err(Error::DomainExists(name))
    );
    let _ = world
        .devices
        .map(name, Iova::new(0), &[1, 2, 3], RW, &mut world.pool);
    world
        .devices
        .attach_domain(A, name, &mut world.pool)
        .unwrap();
    assert_eq!(
        world.devices.delete_domain(P, 1, &mut world.pool, 9),
        Err(Error::DomainInUse { name, devices: 1 })
    );
    assert_eq!(world.write(A, 1), Ok(2));
    world.devices.detach_domain(A, P).unwrap();
    while world
        .devices
        .delete_domain(P, 1, &mut world.pool, 1)
        .unwrap()
        == device::Progress::More
    {}
    assert_eq!(world.pool.taken(), before);
    let refused = world
        .devices
        .delete_partition_domains(P, &mut world.pool, 9);
    assert_eq!(
        refused,
        Err(Error::OwnsDevices {
            partition: P,
            device: A
        })
    );
}

fn the_root_owns_devices_too<D: Arm>() {
    let mut world = World::<D>::new(Traits::default());
    let root = PartitionId::ROOT;
    world
        .devices
        .create_identity_domain(root, &mut world.pool)
        .unwrap();
    world.map(root, 8, &[8], RW).unwrap();
    world.give(A, root).unwrap();
    assert_eq!(world.write(A, 8), Ok(8));
    // What the root uses is not given away under it.
    assert!(matches!(
        world.devices.attach(A, P, &mut world.pool),
        Err(Error::NotOwner { .. })
    ));
    world.take(A, root).unwrap();
    world.give(A, P).unwrap();
    assert!(world.write(A, 8).is_err());
}

fn without_units_there_are_no_domains<D: Arm>() {
    let none = Traits {
        bits: 32,
        ..Traits::default()
    };
    let mut world = World::<D>::empty(none, none, Capacities::default());
    assert!(!world.devices.has_domains());
    assert_eq!(
        world.devices.create_identity_domain(P, &mut world.pool),
        Err(Error::NoHardware)
    );
    assert_eq!(world.map(P, 1, &[1], RW), Err((0, Error::NoHardware)));
    assert!(matches!(world.give(A, P), Err(Error::NotAssignable(..))));
}
