//! Nothing old is ever used again: caches, names, frames. The model remembers all that hardware may remember, so each of
//! these fails where an invalidation is missing.

use address::Iova;
use device::{Capacities, DomainName, Error, Progress};
use flow::*;
use model::Unit;

on_every_arm!(
    tlb_01_an_unmapped_page_is_out_of_reach_on_return,
    tlb_02_a_device_that_moves_takes_no_translation_along,
    tlb_04_a_frame_comes_back_only_with_the_proof,
    tlb_05_every_page_of_a_range_is_forgotten,
    tlb_07_a_domain_name_means_nothing_old_when_it_is_used_again,
    tlb_08_walkers_that_do_not_snoop_see_what_was_written,
    tlb_13_what_was_absent_counts_once_it_is_mapped,
    tlb_14_a_table_that_goes_is_forgotten_before_its_frame_is_used,
    tlb_16_every_unit_that_saw_a_domain_is_flushed,
    tlb_17_write_buffers_are_flushed_first,
    tlb_18_writes_under_way_land_before_the_flush_ends,
    rst_01_writes_under_way_land_before_a_detach_ends,
    one_flush_per_call_however_many_pages,
    scattered_pages_are_out_of_reach_after_one_flush,
    a_partition_that_ends_leaves_nothing_behind,
);

fn tlb_01_an_unmapped_page_is_out_of_reach_on_return<D: Arm>() {
    for selective in [false, true] {
        let mut world = World::<D>::new(Traits {
            selective,
            ..Traits::default()
        });
        world.give(A, P).unwrap();
        world.map(P, 5, &[0x55, 0x56], RW).unwrap();
        assert_eq!(world.write(A, 5), Ok(0x55), "warms the cache");
        assert_eq!(world.unmap(P, 5, 1), Ok(1));
        assert!(world.write(A, 5).is_err());
        assert_eq!(world.write(A, 6), Ok(0x56));
        world.map(P, 5, &[0x77], RW).unwrap();
        assert_eq!(world.write(A, 5), Ok(0x77));
    }
}

fn tlb_02_a_device_that_moves_takes_no_translation_along<D: Arm>() {
    for caches_absent in [false, true] {
        let mut world = World::<D>::new(Traits {
            caches_absent,
            ..Traits::default()
        });
        world.map(P, 5, &[0x55], RW).unwrap();
        world.map(Q, 5, &[0x66], RW).unwrap();
        for _ in 0..3 {
            world.give(A, P).unwrap();
            assert_eq!(world.write(A, 5), Ok(0x55));
            world.take(A, P).unwrap();
            assert!(world.units[0].dma(A.requester.0, 0x5000, true).is_err());
            world.give(A, Q).unwrap();
            assert_eq!(world.write(A, 5), Ok(0x66));
            world.take(A, Q).unwrap();
        }
    }
}

fn tlb_04_a_frame_comes_back_only_with_the_proof<D: Arm>() {
    let mut world = World::<D>::new(Traits::default());
    world.give(A, P).unwrap();
    let frames: Vec<u64> = (0..1024).collect();
    world.map(P, 0, &frames, RW).unwrap();
    assert_eq!(world.write(A, 3), Ok(3));
    let with_tables = world.pool.taken();
    let (owed, result) = world
        .devices
        .unmap_identity(P, Iova::new(0), 1024, &mut world.pool)
        .unwrap();
    assert_eq!((owed.pages(), owed.removed(), result), (1024, 1024, Ok(())));
    assert_eq!(
        world.pool.taken(),
        with_tables,
        "table frames are still owed a flush"
    );
    // The cache may still hold it here, and that is why nobody may have the frame yet.
    let proof = world.devices.flush(owed).unwrap();
    assert!(world.write(A, 3).is_err());
    proof.release(&mut world.pool);
    assert_eq!(
        world.pool.taken(),
        with_tables - 2,
        "both leaf tables came back"
    );
    world.map(P, 0, &frames, RW).unwrap();
    let lost = world
        .devices
        .unmap_identity(P, Iova::new(0), 1024, &mut world.pool)
        .unwrap();
    drop(lost);
    assert_eq!(
        world.pool.taken(),
        with_tables,
        "a lost token leaks, and frees nothing"
    );
}

fn tlb_05_every_page_of_a_range_is_forgotten<D: Arm>() {
    let mut world = World::<D>::new(Traits::default());
    world.give(A, P).unwrap();
    let frames: Vec<u64> = (0x1000..0x1000 + 1200).collect();
    for (first, count) in [
        (0, 1),
        (1, 2),
        (7, 9),
        (8, 8),
        (511, 2),
        (0, 513),
        (255, 1025),
        (3, 1199),
    ] {
        world.map(P, first, &frames[..count as usize], RW).unwrap();
        for page in first..first + count {
            assert!(world.write(A, page).is_ok());
        }
        assert_eq!(world.unmap(P, first, count), Ok(count));
        for page in first..first + count {
            assert!(
                world.write(A, page).is_err(),
                "page {page} of {first}+{count}"
            );
        }
    }
}

fn tlb_07_a_domain_name_means_nothing_old_when_it_is_used_again<D: Arm>() {
    let mut world = World::<D>::with(
        Traits {
            few_domains: true,
            ..Traits::default()
        },
        Traits::default(),
        Capacities::default(),
    );
    world.give(A, P).unwrap();
    for round in 0..40 {
        let name = DomainName::numbered(P, round);
        world
            .devices
            .create_domain(P, round, &mut world.pool)
            .unwrap();
        let frame = 0x100 + u64::from(round);
        assert_eq!(
            world
                .devices
                .map(name, Iova::new(0x5000), &[frame], RW, &mut world.pool)
                .0,
            1
        );
        world
            .devices
            .attach_domain(A, name, &mut world.pool)
            .unwrap();
        assert_eq!(world.write(A, 5), Ok(frame), "round {round}");
        world.devices.detach_domain(A, P).unwrap();
        while world
            .devices
            .delete_domain(P, round, &mut world.pool, 64)
            .unwrap()
            == Progress::More
        {}
    }
}

fn tlb_08_walkers_that_do_not_snoop_see_what_was_written<D: Arm>() {
    let mut world = World::<D>::new(Traits {
        coherent: false,
        ..Traits::default()
    });
    world.give(A, P).unwrap();
    let frames: Vec<u64> = (0x1000..0x1000 + 600).collect();
    world.map(P, 500, &frames, RW).unwrap();
    for page in 0..600 {
        assert_eq!(world.write(A, 500 + page), Ok(0x1000 + page));
    }
    assert_eq!(world.unmap(P, 500, 600), Ok(600));
    assert!((500..1100).all(|page| world.write(A, page).is_err()));
    let entry = world.message(A, P, target(1, 1, 0x40)).unwrap();
    assert!(world.raise(A, &entry).is_ok());
    world.take(A, P).unwrap();
    assert!(world.units[0].dma(A.requester.0, 500 << 12, true).is_err());
}

fn tlb_13_what_was_absent_counts_once_it_is_mapped<D: Arm>() {
    let mut world = World::<D>::new(Traits {
        caches_absent: true,
        ..Traits::default()
    });
    assert!(
        world.units[0].dma(A.requester.0, 0x5000, true).is_err(),
        "remembers that nobody is attached"
    );
    world.give(A, P).unwrap();
    assert!(
        world.write(A, 5).is_err(),
        "remembers that nothing is mapped"
    );
    world.map(P, 5, &[0x55], RW).unwrap();
    assert_eq!(world.write(A, 5), Ok(0x55));
    assert!(world.write(A, 0x4_0000).is_err());
    let (done, _) = world.devices.map_identity_range(
        P,
        Iova::new(0x4000_0000),
        address::Spa::new(0),
        512,
        RW,
        &mut world.pool,
    );
    assert_eq!(done, 512);
    assert_eq!(world.write(A, 0x4_0000), Ok(0));
    // An interrupt entry that was absent.
    assert!(
        world.units[0]
            .interrupt(A.requester.0, 0xfee0_0010, 0)
            .is_err()
    );
    let entry = world.message(A, P, target(0, 1, 0x40)).unwrap();
    assert!(world.raise(A, &entry).is_ok());
}

fn tlb_14_a_table_that_goes_is_forgotten_before_its_frame_is_used<D: Arm>() {
    let mut world = World::<D>::new(Traits::default());
    world.give(A, P).unwrap();
    let frames: Vec<u64> = (0x2000..0x2000 + 512).collect();
    world.map(P, 512, &frames, RW).unwrap();
    assert_eq!(world.write(A, 512), Ok(0x2000), "remembers the leaf table");
    assert_eq!(world.unmap(P, 512, 512), Ok(512));
    // Its frame becomes the leaf table of somebody else.
    world.map(Q, 512, &[0x66], RW).unwrap();
    assert!(world.write(A, 512).is_err());
    world.map(P, 512, &[0x77], RW).unwrap();
    assert_eq!(world.write(A, 512), Ok(0x77));
}

fn tlb_16_every_unit_that_saw_a_domain_is_flushed<D: Arm>() {
    let mut world = World::<D>::new(Traits::default());
    world.give(A, P).unwrap();
    world.give(FAR, P).unwrap();
    world.map(P, 5, &[0x55], RW).unwrap();
    assert_eq!(
        (world.write(A, 5), world.write(FAR, 5)),
        (Ok(0x55), Ok(0x55))
    );
    assert_eq!(world.unmap(P, 5, 1), Ok(1));
    assert!(world.write(A, 5).is_err() && world.write(FAR, 5).is_err());
}

fn tlb_17_write_buffers_are_flushed_first<D: Arm>() {
    let mut world = World::<D>::new(Traits {
        write_buffer: true,
        caches_absent: true,
        ..Traits::default()
    });
    world.give(A, P).unwrap();
    world.map(P, 5, &[0x55], RW).unwrap();
    assert_eq!(world.write(A, 5), Ok(0x55));
    assert_eq!(world.unmap(P, 5, 1), Ok(1));
    assert!(world.write(A, 5).is_err());
    world.take(A, P).unwrap();
    assert!(world.units[0].dma(A.requester.0, 0x5000, true).is_err());
}

fn tlb_18_writes_under_way_land_before_the_flush_ends<D: Arm>() {
    let mut world = World::<D>::new(Traits::default());
    world.give(A, P).unwrap();
    world.map(P, 5, &[0x55, 0x56], RW).unwrap();
    let control = world.units[0].launch(A.requester.0, 0x5000).unwrap();
    assert!(world.units[0].land(control), "it was still under way");
    let flight = world.units[0].launch(A.requester.0, 0x5000).unwrap();
    assert_eq!(world.unmap(P, 5, 1), Ok(1));
    assert!(
        !world.units[0].land(flight),
        "it landed after the frame was free"
    );
}

fn rst_01_writes_under_way_land_before_a_detach_ends<D: Arm>() {
    let mut world = World::<D>::new(Traits::default());
    world.give(A, P).unwrap();
    world.map(P, 5, &[0x55], RW).unwrap();
    let flight = world.units[0].launch(A.requester.0, 0x5000).unwrap();
    world.take(A, P).unwrap();
    assert!(!world.units[0].land(flight));
}

fn one_flush_per_call_however_many_pages<D: Arm>() {
    let mut world = World::<D>::new(Traits::default());
    world.give(A, P).unwrap();
    let frames: Vec<u64> = (0..512).map(|page| 0x9_0000 + page * 7 % 4096).collect();
    for count in [1, 8, 100, 512] {
        world.units[0].invalidations();
        world.map(P, 512, &frames[..count], RW).unwrap();
        assert_eq!(
            world.units[0].invalidations(),
            0,
            "what was not there needs no flush"
        );
        assert_eq!(world.unmap(P, 512, count as u64), Ok(count as u64));
        assert!(world.units[0].invalidations() <= 2);
    }
    // Nobody ever walked Q's tables.
    world.map(Q, 0, &frames, RW).unwrap();
    assert_eq!(world.unmap(Q, 0, 512), Ok(512));
    assert_eq!(world.units[0].invalidations(), 0);
}

fn scattered_pages_are_out_of_reach_after_one_flush<D: Arm>() {
    let mut world = World::<D>::new(Traits::default());
    world.give(A, P).unwrap();
    let pages = [3u64, 700, 0x4_0000, 9];
    for page in pages {
        world.map(P, page, &[page], RW).unwrap();
        assert!(world.write(A, page).is_ok());
    }
    world.units[0].invalidations();
    let (owed, result) = world
        .devices
        .unmap_identity_scattered(P, &pages, &mut world.pool)
        .unwrap();
    assert_eq!((owed.pages(), owed.removed(), result), (4, 4, Ok(())));
    world.devices.flush(owed).unwrap().release(&mut world.pool);
    assert_eq!(world.units[0].invalidations(), 1);
    assert!(pages.iter().all(|&page| world.write(A, page).is_err()));
    assert_eq!(world.devices.pages_of(P), 0);
}

fn a_partition_that_ends_leaves_nothing_behind<D: Arm>() {
    let mut world = World::<D>::empty(Traits::default(), Traits::default(), Capacities::default());
    let before = (world.pool.taken(), world.devices.in_use());
    for _ in 0..20 {
        world
            .devices
            .create_identity_domain(P, &mut world.pool)
            .unwrap();
        world.devices.create_domain(P, 4, &mut world.pool).unwrap();
        world.give(A, P).unwrap();
        world.give(FAR, P).unwrap();
        world.map(P, 0, &(0..700).collect::<Vec<_>>(), RW).unwrap();
        let name = DomainName::numbered(P, 4);
        let extra: Vec<u64> = (0x5000..0x5000 + 600).collect();
        assert_eq!(
            world
                .devices
                .map(name, Iova::new(0x12_3456_7000), &extra, RW, &mut world.pool)
                .0,
            600
        );
        for vector in 0x40..0x50 {
            world.message(A, P, target(1, 1, vector)).unwrap();
        }
        let mut released = Vec::new();
        let tell = |released: &mut Vec<u64>, it: paging::Removed| released.push(it.spa.page());
        while world
            .devices
            .release_some(P, &mut world.pool, 8, |it| tell(&mut released, it))
            .unwrap()
            == Progress::More
        {}
        released.sort_unstable();
        assert_eq!(released, extra);
        assert_eq!((world.pool.taken(), world.devices.in_use()), before);
        assert_eq!(
            world.devices.create_domain(P, 4, &mut world.pool),
            Err(Error::NoSuchDomain(DomainName::identity(P)))
        );
    }
}
