//! Random calls against a reference: what each device can reach is exactly what the reference says, after every step,
//! with caches that remember everything.

use std::collections::BTreeMap;

use address::{DeviceId, Iova, PartitionId};
use device::DomainName;
use flow::*;
use proptest::prelude::*;

const PARTITIONS: [PartitionId; 2] = [P, Q];
const DEVICES: [DeviceId; 3] = [A, B, FAR];
/// Input pages that the steps are about: two leaf tables, and the edge between them.
const PAGES: u64 = 40;
const FIRST: u64 = 512 - PAGES / 2;

#[derive(Clone, Copy, Debug)]
enum Step {
    Map {
        partition: usize,
        numbered: bool,
        page: u64,
        count: u64,
        frame: u64,
        run: bool,
    },
    Unmap {
        partition: usize,
        numbered: bool,
        page: u64,
        count: u64,
        hold_back: usize,
    },
    Scatter {
        partition: usize,
        page: u64,
    },
    Give {
        device: usize,
        partition: usize,
    },
    Take {
        device: usize,
    },
    Move {
        device: usize,
        numbered: bool,
    },
    Block {
        device: usize,
    },
    Touch {
        device: usize,
        page: u64,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let page = FIRST..FIRST + PAGES;
    let step = prop_oneof![
        4 => (0..2usize, any::<bool>(), page.clone(), 1..9u64, 0..1000u64, any::<bool>())
            .prop_map(|(partition, numbered, page, count, frame, run)| Step::Map { partition, numbered, page, count, frame, run }),
        4 => (0..2usize, any::<bool>(), page.clone(), 1..30u64, 0..3usize)
            .prop_map(|(partition, numbered, page, count, hold_back)| Step::Unmap { partition, numbered, page, count, hold_back }),
        1 => (0..2usize, page.clone()).prop_map(|(partition, page)| Step::Scatter { partition, page }),
        2 => (0..3usize, 0..2usize).prop_map(|(device, partition)| Step::Give { device, partition }),
        1 => (0..3usize).prop_map(|device| Step::Take { device }),
        2 => (0..3usize, any::<bool>()).prop_map(|(device, numbered)| Step::Move { device, numbered }),
        1 => (0..3usize).prop_map(|device| Step::Block { device }),
        6 => (0..3usize, page).prop_map(|(device, page)| Step::Touch { device, page }),
    ];
    prop::collection::vec(step, 1..80)
}

/// What there ought to be.
#[derive(Default)]
struct Reference {
    maps: BTreeMap<DomainName, BTreeMap<u64, u64>>,
    owners: BTreeMap<DeviceId, PartitionId>,
    domains: BTreeMap<DeviceId, DomainName>,
}

fn name(partition: PartitionId, numbered: bool) -> DomainName {
    if numbered {
        DomainName::numbered(partition, 1)
    } else {
        DomainName::identity(partition)
    }
}

struct Both<D: Arm> {
    world: World<D>,
    reference: Reference,
}

impl<D: Arm> Both<D> {
    fn new(traits: Traits) -> Self {
        let mut world = World::<D>::new(traits);
        for partition in PARTITIONS {
            world
                .devices
                .create_domain(partition, 1, &mut world.pool)
                .unwrap();
        }
        Self {
            world,
            reference: Reference::default(),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Map {
                partition,
                numbered,
                page,
                count,
                frame,
                run,
            } => {
                self.map(
                    name(PARTITIONS[partition], numbered),
                    page,
                    count,
                    frame,
                    run,
                );
            }
            Step::Unmap {
                partition,
                numbered,
                page,
                count,
                hold_back,
            } => {
                self.unmap(
                    name(PARTITIONS[partition], numbered),
                    page,
                    count,
                    hold_back,
                );
            }
            Step::Scatter { partition, page } => self.scatter(PARTITIONS[partition], page),
            Step::Give { device, partition } => self.give(DEVICES[device], PARTITIONS[partition]),
            Step::Take { device } => self.take(DEVICES[device]),
            Step::Move { device, numbered } => self.move_to(DEVICES[device], numbered),
            Step::Block { device } => {
                let device = DEVICES[device];
                let owner = self.reference.owners.get(&device).copied();
                let done = self.world.devices.detach_domain(device, owner.unwrap_or(P));
                assert_eq!(done.is_ok(), owner.is_some());
                self.reference.domains.remove(&device);
            }
            Step::Touch { device, page } => self.touch(DEVICES[device], page),
        }
    }

    fn map(&mut self, domain: DomainName, page: u64, count: u64, frame: u64, run: bool) {
        let map = self.reference.maps.entry(domain).or_default();
        let free = (page..page + count)
            .take_while(|page| !map.contains_key(page))
            .count() as u64;
        let start = Iova::from_page(page).unwrap();
        let Self { world, .. } = self;
        let done = if run {
            let target = address::Spa::from_page(frame).unwrap();
            world
                .devices
                .map_range(domain, start, target, count, RW, &mut world.pool)
                .0
        } else {
            let frames: Vec<u64> = (frame..frame + count).collect();
            world
                .devices
                .map(domain, start, &frames, RW, &mut world.pool)
                .0 as u64
        };
        assert_eq!(done, free);
        map.extend((0..done).map(|at| (page + at, frame + at)));
    }

    fn unmap(&mut self, domain: DomainName, page: u64, count: u64, hold_back: usize) {
        let map = self.reference.maps.entry(domain).or_default();
        let before = map.len();
        map.retain(|at, _| !(page..page + count).contains(at));
        let start = Iova::from_page(page).unwrap();
        let Self { world, reference } = self;
        let (owed, result) = world
            .devices
            .unmap(domain, start, count, &mut world.pool)
            .unwrap();
        assert_eq!(result, Ok(()));
        assert_eq!(
            (owed.pages(), owed.removed()),
            (count, (before - reference.maps[&domain].len()) as u64)
        );
        // Devices that go on meanwhile may still get through, and fill caches with what they can still see.
        for device in DEVICES.iter().take(hold_back) {
            let _ = world.write(*device, page);
        }
        world.devices.flush(owed).unwrap().release(&mut world.pool);
    }

    fn scatter(&mut self, partition: PartitionId, page: u64) {
        let pages = [page, FIRST, FIRST + PAGES - 1];
        let map = self
            .reference
            .maps
            .entry(DomainName::identity(partition))
            .or_default();
        map.retain(|at, _| !pages.contains(at));
        let Self { world, .. } = self;
        let (owed, _) = world
            .devices
            .unmap_identity_scattered(partition, &pages, &mut world.pool)
            .unwrap();
        world.devices.flush(owed).unwrap().release(&mut world.pool);
    }

    fn give(&mut self, device: DeviceId, partition: PartitionId) {
        let free = !self.reference.owners.contains_key(&device);
        assert_eq!(self.world.give(device, partition).is_ok(), free);
        if free {
            self.reference.owners.insert(device, partition);
            self.reference
                .domains
                .insert(device, DomainName::identity(partition));
        }
    }

    fn take(&mut self, device: DeviceId) {
        let owner = self.reference.owners.remove(&device);
        self.reference.domains.remove(&device);
        let taken = self.world.take(device, owner.unwrap_or(P));
        assert_eq!(taken.is_ok(), owner.is_some());
    }

    fn move_to(&mut self, device: DeviceId, numbered: bool) {
        let owner = self.reference.owners.get(&device).copied();
        let domain = name(owner.unwrap_or(P), numbered);
        let Self { world, reference } = self;
        let moved = world.devices.attach_domain(device, domain, &mut world.pool);
        let there = reference.domains.get(&device) == Some(&domain);
        assert_eq!(moved.is_ok(), owner.is_some() && !there);
        if owner.is_some() {
            reference.domains.insert(device, domain);
        }
    }

    fn touch(&self, device: DeviceId, page: u64) {
        let domain = self.reference.domains.get(&device);
        let wanted = domain.and_then(|domain| self.reference.maps.get(domain)?.get(&page).copied());
        assert_eq!(
            self.world.write(device, page).ok(),
            wanted,
            "{device} at page {page:#x}"
        );
        assert_eq!(self.world.read(device, page).ok(), wanted);
    }

    /// Everything, at the end: reach, counts, and what the tables say.
    fn check(&mut self) {
        for device in DEVICES {
            (FIRST - 2..FIRST + PAGES + 40).for_each(|page| self.touch(device, page));
        }
        for (&domain, map) in &self.reference.maps {
            let info = self.world.devices.domain_info(domain).unwrap();
            assert_eq!(info.pages, map.len() as u64);
            let inside = self
                .reference
                .domains
                .values()
                .filter(|&&it| it == domain)
                .count();
            assert_eq!(info.devices as usize, inside);
        }
        for device in DEVICES {
            self.take(device);
        }
        for partition in PARTITIONS {
            while self
                .world
                .devices
                .release_some(partition, &mut self.world.pool, 999, |_| ())
                .unwrap()
                == device::Progress::More
            {}
        }
        assert_eq!(self.world.pool.taken(), 0);
        assert_eq!(self.world.devices.in_use(), (0, 0));
    }
}

fn run<D: Arm>(traits: Traits, steps: &[Step]) {
    let mut both = Both::<D>::new(traits);
    steps.iter().for_each(|&step| both.step(step));
    both.check();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn vtd_devices_reach_what_the_reference_says(steps in steps(), selective: bool, caches_absent: bool, coherent: bool) {
        run::<VtdArm>(Traits { selective, caches_absent, coherent, ..Traits::default() }, &steps);
    }
}
