//! Memory that firmware reserved for a device, which the device keeps while it is blocked. Each refusal stands beside the access
//! that works.

use abi::device::{Attach, DeviceName, Named};
use abi::memory::map_flags;
use abi::{Call, Status};
use address::{DeviceId, Iova, PartitionId, Spa};
use device::{Capacities, DeviceState, DomainName, Error, Reason};
use flow::lab::Lab;
use flow::*;
use handoff::{Extent, Kind, Range};
use model::{Behaviour, Refused, Unit};
use paging::Rights;
use topology::{Problem, Topology};

on_every_arm!(
    rst_06_a_blocked_device_keeps_its_memory_and_nothing_beside_it,
    rst_06_it_does_so_behind_every_kind_of_unit,
    rst_06_no_verb_takes_it_away_or_gives_more,
    rst_06_its_interrupts_stay_blocked,
    rst_06_a_group_keeps_its_memory_under_every_id,
    rst_06_devices_with_the_same_memory_share_a_domain,
    rst_06_a_unit_that_fails_ends_it,
    dma_08_nobody_can_name_what_maps_it,
    rob_05_what_it_tries_beside_it_is_told_once,
    rob_05_interrupts_without_end_cost_it_the_bus,
    fw_04_what_is_not_firmwares_is_mapped_for_nobody,
    fw_04_what_is_not_believed_takes_nothing_from_what_is,
    fw_04_ranges_that_overlap_are_mapped_once,
    fw_04_tables_are_bounded,
    fw_05_rights_are_those_of_the_table,
);

/// First page of the memory, and pages.
const FIRST: u64 = 0x8_0000;
const PAGES: u64 = 4;

const OWN: (u64, u64, Rights, &[DeviceId]) = (FIRST, PAGES, RW, &[RESERVED]);

fn boots<D: Arm>(topology: &Topology, traits: Traits) -> World<D> {
    let mut world = World::of(topology, traits, traits, Capacities::default(), 128);
    for partition in [P, Q] {
        world
            .devices
            .create_identity_domain(partition, &mut world.pool)
            .unwrap();
    }
    world
}

/// A device reaches its memory by its own means, and no other page.
fn keeps<D: Arm>(world: &World<D>, device: DeviceId) {
    for page in FIRST..FIRST + PAGES {
        assert_eq!(world.write(device, page), Ok(page));
        assert_eq!(world.read(device, page), Ok(page));
    }
    for page in [0, 1, 0x10, 0x1000, FIRST - 1, FIRST + PAGES, 0xf_edff] {
        assert!(matches!(world.write(device, page), Err(Refused::Fault(_))));
        assert!(world.read(device, page).is_err());
    }
}

/// Whatever its bus master bit says, a requester reaches none of the memory.
fn reaches_nothing<D: Arm>(world: &World<D>, unit: usize, requester: u16) {
    for page in FIRST - 1..=FIRST + PAGES {
        assert!(world.units[unit].dma(requester, page << 12, true).is_err());
        assert!(world.units[unit].dma(requester, page << 12, false).is_err());
    }
}

fn rst_06_a_blocked_device_keeps_its_memory_and_nothing_beside_it<D: Arm>() {
    let mut world = boots::<D>(&reserving(&[OWN]), Traits::default());
    assert!(world.units.iter().all(|unit| unit.guards()));
    keeps(&world, RESERVED);
    assert_eq!(
        world.bus.dma(RESERVED, (FIRST << 12) + 0xfff, true),
        Ok(Spa::new((FIRST << 12) + 0xfff))
    );
    // Nobody else has any of it: no other device, no other id, not behind the other unit.
    for requester in (0..=u16::MAX).filter(|&it| it != RESERVED.requester.0) {
        assert!(world.units[0].dma(requester, FIRST << 12, true).is_err());
    }
    for requester in 0..=u16::MAX {
        assert!(world.units[1].dma(requester, FIRST << 12, false).is_err());
    }
    // What is assigned is as it always was, this memory excluded.
    world.give(A, P).unwrap();
    world.map(P, 0x10, &[0x77], RW).unwrap();
    assert_eq!(world.write(A, 0x10), Ok(0x77));
    assert!(world.write(A, FIRST).is_err());
    keeps(&world, RESERVED);
    // A device without any goes nowhere, and does not even try.
    let bare = boots::<D>(&topology(), Traits::default());
    assert_eq!(bare.write(RESERVED, FIRST), Err(Refused::BusMaster));
    reaches_nothing(&bare, 0, RESERVED.requester.0);
    assert_eq!(bare.spare.taken(), 0);
}

fn rst_06_it_does_so_behind_every_kind_of_unit<D: Arm>() {
    let usual = Traits::default();
    for traits in [
        Traits {
            caches_absent: true,
            ..usual
        },
        Traits {
            coherent: false,
            ..usual
        },
        Traits {
            write_buffer: true,
            ..usual
        },
        Traits {
            superpages: false,
            selective: false,
            ..usual
        },
        Traits {
            bits: D::NARROWEST,
            few_domains: true,
            ..usual
        },
    ] {
        keeps(&boots::<D>(&reserving(&[OWN]), traits), RESERVED);
    }
    // Without remapped interrupts it writes nothing by itself where the unit does not hold those back; the memory is there.
    let deaf = Traits {
        interrupts: false,
        ..usual
    };
    let world = boots::<D>(&reserving(&[OWN]), deaf);
    let own = RESERVED.requester.0;
    assert!(world.units[0].dma(own, FIRST << 12, true).is_ok());
    assert!(
        world.units[0]
            .dma(own, (FIRST + PAGES) << 12, true)
            .is_err()
    );
    assert_eq!(world.config.bus_master(RESERVED), !D::OPTIONS);
}

fn rst_06_no_verb_takes_it_away_or_gives_more<D: Arm>() {
    let mut world = boots::<D>(&reserving(&[OWN]), Traits::default());
    let refused = Error::NotAssignable(RESERVED, Reason::ReservedMemory);
    let root = PartitionId::ROOT;
    world
        .devices
        .create_identity_domain(root, &mut world.pool)
        .unwrap();
    world.map(root, 0x10, &[0x10], RW).unwrap();
    world.map(P, FIRST, &[0x66], RW).unwrap();
    for partition in [P, Q, root] {
        assert_eq!(world.give(RESERVED, partition), Err(refused));
        let name = DomainName::identity(partition);
        let moved = world.devices.attach_domain(RESERVED, name, &mut world.pool);
        assert!(moved.is_err());
        assert!(world.devices.detach_domain(RESERVED, partition).is_err());
        assert!(world.take(RESERVED, partition).is_err());
        for on in [true, false] {
            let switched = world.devices.set_bus_master(RESERVED, partition, on);
            assert!(switched.is_err() || partition == root && !on);
        }
        // The root may stop it; that is all that this changed.
        let command = world.config.read(RESERVED, 4);
        world.config.write(RESERVED, 4, command | 4);
        keeps(&world, RESERVED);
    }
    world.devices.declare_used(RESERVED).unwrap();
    assert_eq!(world.devices.state(RESERVED), Ok(DeviceState::NeedsReset));
    assert_eq!(
        world.devices.why_not(RESERVED),
        Some(Reason::ReservedMemory)
    );
    keeps(&world, RESERVED);
}

fn rst_06_its_interrupts_stay_blocked<D: Arm>() {
    let mut world = boots::<D>(&reserving(&[OWN]), Traits::default());
    world.give(A, P).unwrap();
    let entry = world.message(A, P, target(0, 1, 0x41)).unwrap();
    assert!(world.raise(A, &entry).is_ok());
    assert!(world.raise(RESERVED, &entry).is_err());
    let (address, data) = message(&entry);
    for (address, data) in D::forged(address, data) {
        let raised = world.bus.interrupt(RESERVED, address, data);
        assert!(raised.is_err(), "{address:#x} {data:#x}");
    }
    // It has none of its own to get, and as memory the window is not there either.
    assert!(world.message(RESERVED, P, target(0, 1, 0x42)).is_err());
    keeps(&world, RESERVED);
}

fn rst_06_a_group_keeps_its_memory_under_every_id<D: Arm>() {
    let topology = reserving(&[(FIRST, PAGES, RW, &[TWIN])]);
    let mut world = boots::<D>(&topology, Traits::default());
    keeps(&world, TWIN);
    let aliased = world.bus.dma_as(TWIN, ALIAS.0, FIRST << 12, true);
    assert_eq!(aliased, Ok(Spa::new(FIRST << 12)));
    let beside = world.bus.dma_as(TWIN, ALIAS.0, (FIRST + PAGES) << 12, true);
    assert!(beside.is_err());
    // Of the other one firmware said nothing: it does not master the bus.
    assert_eq!(world.write(OTHER, FIRST), Err(Refused::BusMaster));
    reaches_nothing(&world, 0, A.requester.0);
    // And it does not go without the first.
    world.devices.declare_reset(TWIN).unwrap();
    assert!(world.give(OTHER, P).is_err());
    keeps(&world, TWIN);
}

fn rst_06_devices_with_the_same_memory_share_a_domain<D: Arm>() {
    let used = |ranges: &[(u64, u64, Rights, &[DeviceId])]| {
        let world = World::<D>::of(
            &reserving(ranges),
            Traits::default(),
            Traits::default(),
            Capacities::default(),
            128,
        );
        for &(first, _, _, devices) in ranges {
            for &device in devices {
                assert_eq!(world.write(device, first), Ok(first));
            }
        }
        let (domains, frames) = (world.devices.in_use().0, world.spare.taken());
        let mut from = 0;
        let mut devices = 0;
        while let Some((info, next)) = world.devices.domain_from(from) {
            assert_eq!(info.name.owner, PartitionId::INVALID);
            (from, devices) = (next, devices + info.devices);
        }
        (domains, frames, devices)
    };
    let one = used(&[OWN]);
    assert_eq!((one.0, one.2), (1, 1));
    // Behind both units.
    let shared = used(&[(FIRST, PAGES, RW, &[RESERVED, A, FAR])]);
    assert_eq!(shared, (1, one.1, 3));
    let apart = used(&[OWN, (FIRST + 0x40, 1, RW, &[A]), (FIRST, PAGES, RW, &[FAR])]);
    assert_eq!((apart.0, apart.2), (3, 3));
}

fn rst_06_a_unit_that_fails_ends_it<D: Arm>() {
    let mut world = boots::<D>(&reserving(&[OWN]), Traits::default());
    world.give(A, P).unwrap();
    keeps(&world, RESERVED);
    world.units[0].behave(Behaviour::Silent);
    assert!(world.devices.detach_domain(A, P).is_err());
    assert_eq!(world.devices.state(RESERVED), Ok(DeviceState::Failed));
    assert_eq!(world.write(RESERVED, FIRST), Err(Refused::BusMaster));
    // One that is not there at boot: nothing behind it keeps anything, all else does.
    let none = Traits {
        bits: 32,
        ..Traits::default()
    };
    let topology = reserving(&[(FIRST, PAGES, RW, &[RESERVED, FAR])]);
    let world = World::<D>::of(
        &topology,
        Traits::default(),
        none,
        Capacities::default(),
        128,
    );
    keeps(&world, RESERVED);
    assert_eq!(world.write(FAR, FIRST), Err(Refused::BusMaster));
    assert_eq!(world.devices.state(FAR), Ok(DeviceState::NeedsReset));
}

/// Everything that takes a domain's name, with every name that a caller could think of.
fn dma_08_nobody_can_name_what_maps_it<D: Arm>() {
    let mut world = boots::<D>(&reserving(&[OWN]), Traits::default());
    let start = Iova::new(FIRST << 12);
    for id in 0..4 {
        for owner in [P, Q, PartitionId::ROOT] {
            let name = DomainName::numbered(owner, id);
            let pool = &mut world.pool;
            assert!(world.devices.unmap(name, start, PAGES, pool).is_err());
            assert!(world.devices.map(name, start, &[0x66], RW, pool).1.is_err());
            assert!(world.devices.query(name, start).is_err());
            assert!(world.devices.flush_domain(name).is_err());
            assert!(world.devices.delete_domain(owner, id, pool, 9).is_err());
        }
    }
    // A domain of the same number is another one.
    world.devices.create_domain(P, 1, &mut world.pool).unwrap();
    let name = DomainName::numbered(P, 1);
    assert_eq!(world.devices.query(name, start), Ok(None));
    let mapped = world.devices.map(name, start, &[0x66], RW, &mut world.pool);
    assert_eq!(mapped, (1, Ok(())));
    let (owed, _) = world
        .devices
        .unmap(name, start, PAGES, &mut world.pool)
        .unwrap();
    assert_eq!(owed.removed(), 1);
    world.devices.flush(owed).unwrap().release(&mut world.pool);
    while world
        .devices
        .delete_domain(P, 1, &mut world.pool, 99)
        .unwrap()
        == device::Progress::More
    {}
    keeps(&world, RESERVED);
}

fn rob_05_what_it_tries_beside_it_is_told_once<D: Arm>() {
    let mut world = boots::<D>(&reserving(&[OWN]), Traits::default());
    assert_eq!(world.devices.take_fault(), None);
    for round in 0..3 {
        for page in [FIRST + PAGES, FIRST - 1, 0x10] {
            assert!(world.write(RESERVED, page).is_err());
            let told = world.devices.take_fault();
            let first = round == 0 && page == FIRST + PAGES;
            assert_eq!(
                told.map(|it| (it.device, it.blocked)),
                first.then_some((RESERVED, false))
            );
        }
        keeps_only(&world);
    }
    // One that is attached is told of each time: it is what its budget goes by.
    world.give(A, P).unwrap();
    for _ in 0..3 {
        assert!(world.write(A, FIRST).is_err());
        assert!(world.devices.take_fault().is_some());
    }
}

fn keeps_only<D: Arm>(world: &World<D>) {
    assert_eq!(world.write(RESERVED, FIRST), Ok(FIRST));
    assert!(world.write(RESERVED, FIRST + PAGES).is_err());
}

fn rob_05_interrupts_without_end_cost_it_the_bus<D: Arm>() {
    let capacities = Capacities {
        fault_budget: 4,
        ..Capacities::default()
    };
    let usual = Traits::default();
    let mut world = World::<D>::of(&reserving(&[OWN]), usual, usual, capacities, 128);
    let mut told = 0;
    for _ in 0..20 {
        assert!(world.bus.interrupt(RESERVED, 0xfee0_0000, 0x41).is_err());
        told += u32::from(world.devices.take_fault().is_some());
    }
    assert_eq!(told, 5, "one over the budget");
    assert!(!world.config.bus_master(RESERVED));
    assert_eq!(world.write(RESERVED, FIRST), Err(Refused::BusMaster));
    // Even so nothing but its memory is there.
    let own = RESERVED.requester.0;
    assert!(world.units[0].dma(own, FIRST << 12, true).is_ok());
    assert!(world.units[0].dma(own, (FIRST - 1) << 12, true).is_err());
}

/// The memory map, by page: RAM, the hypervisor, reserved in two parts that touch, RAM, reserved, registers declared and not.
const MAP: [(u64, u64, Kind); 8] = [
    (0x0_0001, 0x0_1fff, Kind::Usable),
    (0x0_2000, 0x0_0800, Kind::HypervisorImage),
    (0x0_2800, 0x7_d7fc, Kind::Usable),
    (0x7_fffc, 0x0_0006, Kind::Reserved),
    (0x8_0002, 0x0_0006, Kind::Reserved),
    (0x8_0008, 0x0_0008, Kind::AcpiNvs),
    (0x9_0000, 0x0_1000, Kind::Mmio),
    (0xf_0000, 0x1_0000, Kind::Reserved),
];
const REGISTERS: [Extent; 2] = [
    Extent::new(0xf_ed90_u64 << 12, 0x2000),
    Extent::new(0xf_0000_u64 << 12, 0x10_0000),
];

fn judged(mut topology: Topology) -> Topology {
    let map = MAP.map(|(first, pages, kind)| Range::new(first << 12, pages << 12, kind));
    topology.judge_reserved(|start, bytes| {
        let extent = Extent::new(start.as_u64(), bytes);
        handoff::is_reserved(&map, &[&REGISTERS[..1], &REGISTERS[1..]], extent)
    });
    topology
}

/// Byte of a page.
const fn byte(page: u64, offset: u64) -> u64 {
    (page << 12) + offset
}

/// Ranges that are not firmware's: first byte, bytes.
const HOSTILE: [(u64, u64); 20] = [
    // Nothing, and what wraps.
    (byte(FIRST, 0), 0),
    (byte(FIRST, 0), u64::MAX),
    (byte(FIRST, 0), 0u64.wrapping_sub(byte(FIRST, 0))),
    // All memory.
    (0, 1 << 48),
    (0, !0xfff),
    // Not whole pages.
    (byte(FIRST, 1), 0x1000),
    (byte(FIRST, 0), 0x1001),
    (byte(FIRST, 0x800), 0x800),
    // The hypervisor, the root's RAM, tables that the root may read, registers.
    (byte(0x2000, 0), 0x1000),
    (byte(0x1fff, 0), 0x2000),
    (byte(0x1000, 0), 0x1000),
    (byte(0x8_0008, 0), 0x1000),
    (byte(0x9_0000, 0), 0x1000),
    // A page too far at either end.
    (byte(0x7_fffb, 0), 0x2000),
    (byte(0x8_0007, 0), 0x2000),
    // Nobody's address.
    (byte(0xe_0000, 0), 0x1000),
    (byte(0x20_0000, 0), 0x1000),
    // Reserved, and registers of the hypervisor's are there, or configuration space.
    (byte(0xf_ed8f, 0), 0x2000),
    (byte(0xf_ed91, 0), 0x1000),
    (byte(0xf_0000, 0), 0x1000_0000),
];

fn fw_04_what_is_not_firmwares_is_mapped_for_nobody<D: Arm>() {
    let sound = judged(reserving(&[OWN]));
    assert!(sound.problems.is_empty());
    keeps(&boots::<D>(&sound, Traits::default()), RESERVED);
    let mut topology = reserving(&HOSTILE.map(|_| OWN));
    for (reserved, (start, bytes)) in topology.reserved.iter_mut().zip(HOSTILE) {
        reserved.range = Some((Spa::new(start), bytes));
    }
    let topology = judged(topology);
    let problems = HOSTILE.map(|(start, bytes)| Problem::Reserved {
        start: Spa::new(start),
        bytes,
    });
    assert_eq!(topology.problems, problems);
    let mut world = boots::<D>(&topology, Traits::default());
    assert_eq!(world.spare.taken(), 0);
    let own = RESERVED.requester.0;
    reaches_nothing(&world, 0, own);
    for (start, _) in HOSTILE {
        assert!(world.units[0].dma(own, start, true).is_err());
    }
    assert!(!world.config.bus_master(RESERVED));
    assert_eq!(
        world.give(RESERVED, P),
        Err(Error::NotAssignable(RESERVED, Reason::ReservedMemory))
    );
}

fn fw_04_what_is_not_believed_takes_nothing_from_what_is<D: Arm>() {
    let topology = judged(reserving(&[(0x2000, 1, RW, &[A, RESERVED]), OWN]));
    let world = boots::<D>(&topology, Traits::default());
    keeps(&world, RESERVED);
    reaches_nothing(&world, 0, A.requester.0);
    assert!(
        world.units[0]
            .dma(RESERVED.requester.0, 0x2000 << 12, true)
            .is_err()
    );
    // The interrupt window is not memory, whatever the map says.
    let window = (0xf_eeff, 2, RW, &[RESERVED][..]);
    let world = boots::<D>(&reserving(&[window]), Traits::default());
    let own = RESERVED.requester.0;
    assert!(world.units[0].dma(own, 0xf_ef00 << 12, true).is_err());
    assert_eq!(world.spare.taken(), 0);
}

fn fw_04_ranges_that_overlap_are_mapped_once<D: Arm>() {
    // A superpage's worth among them, and one inside another.
    let large = (FIRST, 0x400, RW, &[RESERVED][..]);
    let inside = (FIRST + 0x210, 2, RW, &[RESERVED][..]);
    let across = (FIRST + 0x3f0, 0x20, RW, &[RESERVED][..]);
    let all: Vec<u64> = (FIRST..FIRST + 0x410).collect();
    for ranges in [
        [large, inside, across],
        [inside, across, large],
        [large, large, across],
    ] {
        let world = boots::<D>(&reserving(&ranges), Traits::default());
        for &page in &all {
            assert_eq!(world.write(RESERVED, page), Ok(page));
        }
        for page in [FIRST - 1, FIRST + 0x410] {
            assert!(world.write(RESERVED, page).is_err());
        }
    }
    let many: Vec<_> = (0..64)
        .map(|at| (FIRST + at, 2, RW, &[RESERVED][..]))
        .collect();
    let mut topology = reserving(&many);
    topology.judge_reserved(|_, _| true);
    assert_eq!(topology.problems.len(), 64 - topology::MOST_RESERVED);
    let world = boots::<D>(&topology, Traits::default());
    let last = FIRST + topology::MOST_RESERVED as u64;
    for page in FIRST..=last {
        assert_eq!(world.write(RESERVED, page), Ok(page));
    }
    assert!(world.write(RESERVED, last + 1).is_err());
}

fn fw_04_tables_are_bounded<D: Arm>() {
    let usual = Traits::default();
    let far_apart = (FIRST + 0x100_0000, 1, RW, &[A][..]);
    let topology = reserving(&[OWN, far_apart]);
    let on = |spare, capacities| World::<D>::of(&topology, usual, usual, capacities, spare);
    let all = Capacities::default();
    let full = on(128, all);
    let needed = full.spare.taken() as u64;
    assert_eq!(full.write(A, FIRST + 0x100_0000), Ok(FIRST + 0x100_0000));
    for spare in [0, 1, needed / 2, needed - 1] {
        let mut world = on(spare, all);
        let reached = [(RESERVED, FIRST), (A, FIRST + 0x100_0000)]
            .map(|(device, page)| world.write(device, page).is_ok());
        assert!(!(reached[0] && reached[1]), "{spare} frames are enough");
        let domains = reached.iter().filter(|it| **it).count();
        // What did not fit is blocked like any other, and its frames are back.
        assert_eq!(world.devices.in_use().0, domains);
        assert_eq!(world.spare.taken() == 0, domains == 0);
        for (device, reached) in [(RESERVED, reached[0]), (A, reached[1])] {
            assert_eq!(world.config.bus_master(device), reached);
            if !reached {
                reaches_nothing(&world, 0, device.requester.0);
            }
            assert!(world.give(device, P).is_err());
        }
    }
    // Domains are for partitions first.
    let few = Capacities { domains: 7, ..all };
    let mut world = on(128, few);
    assert_eq!(world.devices.in_use().0, 1);
    assert_eq!(world.write(RESERVED, FIRST), Ok(FIRST));
    assert_eq!(world.write(A, FIRST + 0x100_0000), Err(Refused::BusMaster));
    for partition in 2..8 {
        world
            .devices
            .create_identity_domain(PartitionId(partition), &mut world.pool)
            .unwrap();
    }
}

fn fw_05_rights_are_those_of_the_table<D: Arm>() {
    let world = boots::<D>(
        &reserving(&[
            (FIRST, 1, Rights::READ, &[RESERVED]),
            (FIRST + 1, 1, Rights::WRITE, &[RESERVED]),
            (FIRST + 2, 1, RW, &[RESERVED]),
            (FIRST + 3, 1, Rights::empty(), &[RESERVED]),
        ]),
        Traits::default(),
    );
    let may = |page| {
        (
            world.read(RESERVED, page).is_ok(),
            world.write(RESERVED, page).is_ok(),
        )
    };
    let found = [0, 1, 2, 3].map(|at| may(FIRST + at));
    assert_eq!(
        found,
        [(true, false), (false, true), (true, true), (false, false)]
    );
}

/// Calls on a domain that somebody may believe to be the one; which of them succeed.
fn try_domain(lab: &Lab, partition: u64, number: u64, first: u64) -> Vec<&'static str> {
    let domain = abi::domain::Domain {
        partition,
        id: number << 32,
        ..Default::default()
    };
    let flush = abi::domain::WithFlags {
        domain,
        ..Default::default()
    };
    let iova = first << 12;
    let unmap = abi::domain::Unmap { domain, iova };
    let map = abi::domain::Map {
        domain,
        flags: 3,
        iova,
        ..Default::default()
    };
    let answers = [
        ("delete", lab.call(Call::DeleteDeviceDomain, &domain)),
        ("unmap", lab.rep(Call::UnmapDeviceGpaPages, &unmap, &[], 4)),
        ("map", lab.rep(Call::MapDeviceGpaPages, &map, &[0x2200], 1)),
        (
            "query",
            lab.rep(Call::QueryDeviceDomain, &domain, &[iova], 1),
        ),
        ("flush", lab.call(Call::FlushDeviceDomain, &flush)),
    ];
    let good = answers.iter().filter(|it| it.1.status == Status::SUCCESS);
    good.map(|it| it.0).collect()
}

/// The same by hypercalls: what an owner would do to a domain of its device, and what the root would do to memory.
#[test]
fn dma_08_hypercalls_leave_reserved_memory_alone() {
    let first = flow::lab::END_OF_RAM + 0x10;
    let topology = reserving(&[(first, PAGES, RW, &[RESERVED])]);
    let lab = Lab::of(topology);
    let keeps = || {
        for page in first..first + PAGES {
            let reached = lab.bus.dma(RESERVED, page << 12, true);
            assert_eq!(reached, Ok(Spa::new(page << 12)));
        }
        for page in [first - 1, first + PAGES, flow::lab::FIRST_ROOT_PAGE] {
            assert!(lab.bus.dma(RESERVED, page << 12, true).is_err());
        }
    };
    keeps();
    let (child, _) = lab.guest(0x2100, 60, 1);
    let device = DeviceName::Pci(RESERVED).encode();
    let flags = map_flags::READ | map_flags::WRITE;
    let before = lab.snapshot();
    for partition in [child, 1] {
        let named = Named { partition, device };
        let attach = Attach {
            partition,
            device,
            ..Attach::default()
        };
        let status = lab.call(Call::AttachDevice, &attach).status;
        assert_eq!(status, Status::FEATURE_UNAVAILABLE);
        for call in [Call::DetachDevice, Call::DetachDeviceDomain] {
            assert_ne!(lab.call(call, &named).status, Status::SUCCESS);
        }
        // Of a partition there is the identity domain, which only flushes by name, and maps none of it.
        assert_eq!(try_domain(&lab, partition, 0, first), ["flush"]);
        assert!(try_domain(&lab, partition, 1, first).is_empty());
        // The memory itself is nobody's to map, to give or to deposit.
        let mapped = lab.map(partition, 0x40, &[first], flags);
        assert_ne!(mapped.status, Status::SUCCESS);
        let given = lab.deposit(partition, &[first]);
        assert_ne!(given.status, Status::SUCCESS);
    }
    for number in 0..3 {
        for nobody in [0, 77, u64::MAX - 1] {
            assert!(try_domain(&lab, nobody, number, first).is_empty());
        }
    }
    assert_eq!(lab.snapshot(), before);
    keeps();
    // Beside it: the same calls do what they say where they may.
    lab.map(child, 0x40, &[0x2200], map_flags::READ).good();
    lab.deposit(child, &[0x2201]).good();
    keeps();
}
