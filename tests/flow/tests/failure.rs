//! Hardware that reports faults, breaks or goes, and pools that run dry.

use address::{Iova, PartitionId};
use device::{Capacities, DeviceState, DomainName, Error, FaultKind, Progress, Reason};
use flow::*;
use model::{Behaviour, Unit};

on_every_arm!(
    rob_01_a_queue_error_fails_the_unit_and_frees_nothing,
    rob_02_a_time_out_fails_the_unit_and_frees_nothing,
    rob_03_a_unit_that_never_confirms_is_declared_failed,
    rob_10_a_unit_that_reads_as_all_ones_is_declared_failed,
    rob_03_the_other_unit_goes_on,
    rob_05_a_flood_of_faults_blocks_its_device_and_hides_nobodys,
    faults_are_told_with_their_device_and_partition,
    mem_05_a_dry_pool_changes_nothing,
    mem_05_maps_count_exactly_how_far_they_came,
    mem_07_domains_run_out_with_an_error,
    rst_10_an_attach_that_fails_leaves_the_device_blocked,
);

fn fails<D: Arm>(behaviour: Behaviour) {
    let mut world = World::<D>::new(Traits::default());
    world.give(A, P).unwrap();
    world.give(B, Q).unwrap();
    world.give(FAR, P).unwrap();
    world
        .map(P, 0, &(0x100..0x300).collect::<Vec<_>>(), RW)
        .unwrap();
    assert_eq!(world.write(A, 0), Ok(0x100));
    let entry = world.message(A, P, target(0, 1, 0x41)).unwrap();
    let taken = world.pool.taken();
    world.units[0].behave(behaviour);
    let (owed, result) = world
        .devices
        .unmap_identity(P, Iova::new(0), 512, &mut world.pool)
        .unwrap();
    assert_eq!((owed.removed(), result), (512, Ok(())));
    assert_eq!(world.devices.flush(owed).unwrap_err().unit, 0);
    assert_eq!(world.pool.taken(), taken, "nothing came back");
    contained(&mut world);
    // Both go, and what they leave is quarantined.
    assert_eq!(world.devices.unmap_interrupt(P, entry.id), Ok(()));
    assert_eq!(
        world
            .devices
            .software()
            .look_up(address::LpIndex(0), address::Vector(0x30)),
        None
    );
    world.units[0].behave(Behaviour::Good);
    world.take(A, P).unwrap();
    world.take(FAR, P).unwrap();
    assert_eq!(world.devices.state(A), Ok(DeviceState::Failed));
    assert_eq!(world.devices.state(FAR), Ok(DeviceState::NeedsReset));
    let lost = world
        .devices
        .delete_partition_domains(P, &mut world.pool, 1000);
    assert_eq!(lost, Err(Error::UnitFailed { unit: 0 }));
    assert!(world.pool.taken() >= taken - 1);
}

fn contained<D: Arm>(world: &mut World<D>) {
    for device in [A, B, TWIN, OTHER] {
        assert!(!world.config.bus_master(device));
        assert_eq!(world.devices.state(device), Ok(DeviceState::Failed));
        assert_eq!(world.devices.why_not(device), Some(Reason::UnitFailed));
    }
    let mut stop = [
        world.devices.take_partition_to_stop(),
        world.devices.take_partition_to_stop(),
    ];
    stop.sort_unstable();
    assert_eq!(stop, [Some(P), Some(Q)]);
    assert_eq!(world.devices.take_partition_to_stop(), None);
    assert!(world.devices.is_quarantined(P) && world.devices.is_quarantined(Q));
    assert!(!world.devices.is_quarantined(PartitionId::ROOT));
}

fn rob_01_a_queue_error_fails_the_unit_and_frees_nothing<D: Arm>() {
    fails::<D>(Behaviour::QueueError);
}

fn rob_02_a_time_out_fails_the_unit_and_frees_nothing<D: Arm>() {
    fails::<D>(Behaviour::TimeoutError);
}

fn rob_03_a_unit_that_never_confirms_is_declared_failed<D: Arm>() {
    fails::<D>(Behaviour::Silent);
}

fn rob_10_a_unit_that_reads_as_all_ones_is_declared_failed<D: Arm>() {
    fails::<D>(Behaviour::Dead);
}

fn rob_03_the_other_unit_goes_on<D: Arm>() {
    let mut world = World::<D>::new(Traits::default());
    world.give(A, P).unwrap();
    world.give(FAR, Q).unwrap();
    world.map(Q, 5, &[0x55], RW).unwrap();
    world.units[0].behave(Behaviour::Dead);
    assert!(world.devices.detach(A, P, 9, &mut world.pool).is_err());
    assert_eq!(world.devices.take_partition_to_stop(), Some(P));
    assert_eq!(world.write(FAR, 5), Ok(0x55));
    assert_eq!(world.unmap(Q, 5, 1), Ok(1));
    assert!(world.write(FAR, 5).is_err());
    let entry = world.message(FAR, Q, target(0, 3, 0x50)).unwrap();
    assert!(world.raise(FAR, &entry).is_ok());
    world.take(FAR, Q).unwrap();
    while world
        .devices
        .delete_partition_domains(Q, &mut world.pool, 9)
        .unwrap()
        == Progress::More
    {}
    assert!(!world.devices.is_quarantined(Q));
}

fn rob_05_a_flood_of_faults_blocks_its_device_and_hides_nobodys<D: Arm>() {
    let budget = Capacities {
        fault_budget: 10,
        ..Capacities::default()
    };
    let mut world = World::<D>::with(Traits::default(), Traits::default(), budget);
    world.give(A, P).unwrap();
    world.give(FAR, Q).unwrap();
    let mut blocked = 0;
    for _ in 0..11 {
        assert!(world.write(A, 0x99).is_err());
        let report = world.devices.take_fault().unwrap();
        assert_eq!(report.device, A);
        blocked += u32::from(report.blocked);
    }
    assert_eq!(blocked, 1);
    assert_eq!(
        (world.devices.state(A), world.devices.owner(A)),
        (Ok(DeviceState::Blocked), Ok(P))
    );
    assert!(!world.config.bus_master(A));
    // It floods on, past its bus master bit: one fault is told, then no more.
    for _ in 0..50 {
        assert!(world.units[0].dma(A.requester.0, 0x9000, true).is_err());
        let _ = world.devices.take_fault();
    }
    for _ in 0..50 {
        assert!(world.units[0].dma(A.requester.0, 0x9000, true).is_err());
    }
    assert_eq!(world.devices.take_fault(), None);
    assert!(world.write(FAR, 0x42).is_err());
    let report = world.devices.take_fault().unwrap();
    assert_eq!(
        (report.device, report.address),
        (FAR, Some(Iova::new(0x4_2000)))
    );
    // Its owner may try again.
    world
        .devices
        .attach_domain(A, DomainName::identity(P), &mut world.pool)
        .unwrap();
    world.map(P, 1, &[1], RW).unwrap();
    assert_eq!(world.write(A, 1), Ok(1));
}

fn faults_are_told_with_their_device_and_partition<D: Arm>() {
    let mut world = World::<D>::new(Traits::default());
    world.give(A, P).unwrap();
    assert_eq!(world.devices.take_fault(), None);
    assert!(world.bus.dma(A, 0x1234_5678, true).is_err());
    let report = world.devices.take_fault().unwrap();
    assert_eq!((report.device, report.partition), (A, Some(P)));
    assert_eq!(
        (report.address, report.kind),
        (Some(Iova::new(0x1234_5000)), FaultKind::Write)
    );
    assert!(world.bus.dma(A, 0x1000, false).is_err());
    assert_eq!(world.devices.take_fault().unwrap().kind, FaultKind::Read);
    assert!(world.bus.interrupt(A, 0xfee0_0010, 0).is_err());
    let report = world.devices.take_fault().unwrap();
    assert_eq!((report.kind, report.address), (FaultKind::Interrupt, None));
    assert_eq!(world.devices.device_info(A).unwrap().counters.faults, 3);
    // An id that nobody has.
    assert!(world.units[0].dma(0x0199, 0x1000, true).is_err());
    let report = world.devices.take_fault().unwrap();
    assert_eq!(
        (report.device.requester.0, report.partition),
        (0x0199, None)
    );
}

fn mem_05_a_dry_pool_changes_nothing<D: Arm>() {
    let mut world = World::<D>::new(Traits::default());
    world.give(A, P).unwrap();
    for left in 0..3 {
        let before = (world.pool.taken(), world.devices.in_use());
        world.pool.left = left;
        assert_eq!(
            world.map(P, 0x1234_5678, &[1], RW),
            Err((0, Error::InsufficientMemory))
        );
        if left == 0 {
            assert_eq!(
                world.devices.create_domain(P, 1, &mut world.pool),
                Err(Error::InsufficientMemory)
            );
        }
        assert_eq!((world.pool.taken(), world.devices.in_use()), before);
        assert!(world.write(A, 0x1234_5678).is_err());
    }
    world.pool.left = usize::MAX;
    world.map(P, 0x1234_5678, &[1], RW).unwrap();
    assert_eq!(world.write(A, 0x1234_5678), Ok(1));
}

fn mem_05_maps_count_exactly_how_far_they_came<D: Arm>() {
    let mut world = World::<D>::new(Traits::default());
    world.give(A, P).unwrap();
    world.map(P, 0, &[7], RW).unwrap();
    world.pool.left = 1;
    let frames: Vec<u64> = (0x1000..0x1000 + 2000).collect();
    assert_eq!(
        world.map(P, 1, &frames, RW),
        Err((1023, Error::InsufficientMemory))
    );
    world.pool.left = usize::MAX;
    assert_eq!(world.write(A, 1023), Ok(0x1000 + 1022));
    assert!(world.write(A, 1024).is_err());
    assert_eq!(world.devices.pages_of(P), 1024);
    world.map(P, 1024, &frames[1023..], RW).unwrap();
    assert_eq!(world.write(A, 2000), Ok(0x1000 + 1999));
    let taken = Iova::from_page(2000).unwrap();
    assert_eq!(
        world.map(P, 1999 + 1, &frames[..2], RW),
        Err((0, Error::AlreadyMapped(taken)))
    );
}

fn mem_07_domains_run_out_with_an_error<D: Arm>() {
    let few = Traits {
        few_domains: true,
        ..Traits::default()
    };
    let mut world = World::<D>::with(
        few,
        Traits::default(),
        Capacities {
            domains_per_partition: 20,
            // Where every unit tells all domains apart that there can be, the machine's own limit is what is reached.
            domains: if D::OPTIONS { 1024 } else { 15 },
            ..Capacities::default()
        },
    );
    let mut made = 0;
    while world
        .devices
        .create_domain(P, made, &mut world.pool)
        .is_ok()
    {
        made += 1;
    }
    assert!((10..16).contains(&made));
    let taken = world.pool.taken();
    assert_eq!(
        world.devices.create_domain(P, 99, &mut world.pool),
        Err(Error::OutOfDomains)
    );
    assert_eq!(world.pool.taken(), taken);
    assert_eq!(
        world.devices.delete_domain(P, 3, &mut world.pool, 999),
        Ok(Progress::Done)
    );
    world.devices.create_domain(P, 99, &mut world.pool).unwrap();
    let mut world = World::<D>::with(
        Traits::default(),
        Traits::default(),
        Capacities {
            domains_per_partition: 3,
            ..Capacities::default()
        },
    );
    for id in 0..3 {
        world.devices.create_domain(P, id, &mut world.pool).unwrap();
    }
    assert_eq!(
        world.devices.create_domain(P, 3, &mut world.pool),
        Err(Error::Quota(3))
    );
    world.devices.create_domain(Q, 3, &mut world.pool).unwrap();
}

fn rst_10_an_attach_that_fails_leaves_the_device_blocked<D: Arm>() {
    let mut world = World::<D>::new(Traits::default());
    world.devices.declare_reset(TWIN).unwrap();
    world.devices.declare_reset(OTHER).unwrap();
    world.map(P, 5, &[0x55], RW).unwrap();
    let nobody = PartitionId(77);
    assert!(world.devices.attach(TWIN, nobody, &mut world.pool).is_err());
    for device in [TWIN, OTHER] {
        assert_eq!(world.devices.state(device), Ok(DeviceState::Ready));
        assert!(!world.config.bus_master(device));
        assert!(
            world.units[0]
                .dma(device.requester.0, 0x5000, true)
                .is_err()
        );
    }
    world.devices.attach(TWIN, P, &mut world.pool).unwrap();
    assert_eq!(world.write(OTHER, 5), Ok(0x55));
}
