//! A machine: two units, bridges, and devices alone, in pairs and behind an alias.
//!
//! ```text
//!   unit 0: 00:01.0 bridge -- 01:00.0 A, 01:00.1 B          each alone
//!           00:02.0 bridge -- 02:00.0 TWIN, 02:01.0 OTHER   one group; both also appear as 02:1f.7
//!           00:03.0 RESERVED                                firmware reserves memory for it
//!   unit 1: 03:00.0 FAR
//!   none:   04:00.0 BARE
//! ```

use std::rc::Rc;

use address::{ApicId, DeviceId, Iova, LpIndex, PartitionId, RequesterId, Spa, Vector};
use arrayvec::ArrayVec;
use device::{
    Boot, Capacities, Devices, Error, InterruptEntry, Source, Target, UnitParts, VpRef, Wire,
};
use iommu::UnitMemory;
use model::{Bus, Config, Delivered, Memory, Refused, Ticks};
use paging::Rights;
use topology::{
    Bridge, Function, Group, Header, Reason, RequesterRange, ReservedRange, SpecialDevice,
    SpecialKind, Topology,
};

use crate::{Arm, ConfigSeam, Pool, Seams, TableSeam, Traits};

const fn id(bus: u8, device: u8, function: u8) -> DeviceId {
    match DeviceId::new(0, bus, device, function) {
        Some(id) => id,
        None => panic!("no such function"),
    }
}

/// A device alone.
pub const A: DeviceId = id(1, 0, 0);
/// Another function of the same slot, isolated from the first.
pub const B: DeviceId = id(1, 0, 1);
/// One of two that cannot be told apart.
pub const TWIN: DeviceId = id(2, 0, 0);
/// The other one.
pub const OTHER: DeviceId = id(2, 1, 0);
/// The id that a bridge makes of the two's requests.
pub const ALIAS: RequesterId = RequesterId(0x02ff);
/// A device that firmware reserves memory for.
pub const RESERVED: DeviceId = id(0, 3, 0);
/// A device behind the other unit.
pub const FAR: DeviceId = id(3, 0, 0);
/// A device behind no unit.
pub const BARE: DeviceId = id(4, 0, 0);
/// The I/O APIC's requester id.
pub const IO_APIC: RequesterId = RequesterId(0x00f8);
/// Two partitions.
pub const P: PartitionId = PartitionId(2);
/// The second.
pub const Q: PartitionId = PartitionId(3);
/// Reads and writes.
pub const RW: Rights = Rights::READ.union(Rights::WRITE);

const BRIDGE_1: DeviceId = id(0, 1, 0);
const BRIDGE_2: DeviceId = id(0, 2, 0);

/// The machine, and the device crate on it.
pub struct World<A: Arm> {
    /// Physical memory.
    pub memory: Rc<Memory>,
    /// Time.
    pub clock: Rc<Ticks>,
    /// Configuration space.
    pub config: Rc<Config>,
    /// The units.
    pub units: [Rc<A::Unit>; 2],
    /// The bus.
    pub bus: Bus<A::Unit>,
    /// What is tested.
    pub devices: Devices<Seams<A>>,
    /// Frames of partitions.
    pub pool: Pool,
    /// Frames for what firmware reserved.
    pub spare: Pool,
}

/// A unit that answers, with its memory from a page on.
fn part<A: Arm>(seam: A::Hardware, traits: Traits, page: u64) -> Option<UnitParts<A::Hardware>> {
    let unit = iommu::Unit::probe(A::description(traits), seam).ok()?;
    Some(UnitParts {
        memory: UnitMemory {
            base: Spa::from_page(page).expect("a frame"),
            frames: unit.memory_frames(),
        },
        unit,
    })
}

impl<A: Arm> World<A> {
    /// A machine of this kind, both partitions with their identity domains.
    pub fn new(traits: Traits) -> Self {
        Self::with(traits, traits, Capacities::default())
    }

    /// A machine with unequal units.
    pub fn with(first: Traits, second: Traits, capacities: Capacities) -> Self {
        let mut world = Self::empty(first, second, capacities);
        for partition in [P, Q] {
            world
                .devices
                .create_identity_domain(partition, &mut world.pool)
                .expect("a domain");
        }
        world
    }

    /// A machine without any domain.
    pub fn empty(first: Traits, second: Traits, capacities: Capacities) -> Self {
        Self::of(&topology(), first, second, capacities, 128)
    }

    /// A machine without any domain but those of what firmware reserved, which have so many frames.
    pub fn of(
        topology: &Topology,
        first: Traits,
        second: Traits,
        capacities: Capacities,
        spare: u64,
    ) -> Self {
        let memory = Rc::new(Memory::default());
        if !first.coherent {
            memory.set_incoherent();
        }
        if first.write_buffer {
            memory.set_buffering();
        }
        let clock = Rc::new(Ticks::default());
        let config = Rc::new(Config::default());
        let (one, one_seam) = A::unit(first, &memory, &clock);
        let (two, two_seam) = A::unit(second, &memory, &clock);
        let mut bus = Bus::new(config.clone());
        for bridge in [BRIDGE_1, BRIDGE_2] {
            bus.add(bridge, &[], one.clone());
        }
        for (device, bridges) in [
            (crate::A, &[BRIDGE_1][..]),
            (B, &[BRIDGE_1]),
            (TWIN, &[BRIDGE_2]),
            (OTHER, &[BRIDGE_2]),
            (RESERVED, &[]),
        ] {
            bus.add(device, bridges, one.clone());
        }
        bus.add(FAR, &[], two.clone());
        bus.add(BARE, &[], two.clone());
        let boot = Boot {
            topology,
            units: vec![
                part::<A>(one_seam, first, 0x1_0000),
                part::<A>(two_seam, second, 0x1_0200),
            ],
            tables: TableSeam(memory.clone()),
            config: ConfigSeam(config.clone()),
            lps: 4,
            memory_bits: 36,
            capacities,
        };
        let mut own = Pool::new(0x200, 64);
        let mut devices = Devices::new(boot, &mut own);
        let mut spare = Pool::new(0x300, spare);
        devices.keep_reserved(topology, &mut spare);
        let pool = Pool::new(0x1000, 4096);
        Self {
            memory,
            clock,
            config,
            units: [one, two],
            bus,
            devices,
            pool,
            spare,
        }
    }

    /// Resets a device and gives it to a partition.
    ///
    /// # Errors
    /// As the calls.
    pub fn give(&mut self, device: DeviceId, partition: PartitionId) -> Result<(), Error> {
        self.devices.declare_reset(device)?;
        self.devices.attach(device, partition, &mut self.pool)
    }

    /// Takes a device away, whatever it takes.
    ///
    /// # Errors
    /// As the call.
    pub fn take(&mut self, device: DeviceId, partition: PartitionId) -> Result<(), Error> {
        while self.devices.detach(device, partition, 1, &mut self.pool)? == device::Progress::More {
        }
        Ok(())
    }

    /// Maps pages of a partition's identity domain.
    ///
    /// # Errors
    /// As the call, with how many were mapped.
    pub fn map(
        &mut self,
        partition: PartitionId,
        page: u64,
        frames: &[u64],
        rights: Rights,
    ) -> Result<(), (usize, Error)> {
        let start = Iova::from_page(page).expect("a page");
        let (done, result) =
            self.devices
                .map_identity(partition, start, frames, rights, &mut self.pool);
        result.map_err(|error| (done, error))
    }

    /// Unmaps pages of a partition's identity domain and pays what it owes; how many had been mapped.
    ///
    /// # Errors
    /// As the calls.
    pub fn unmap(&mut self, partition: PartitionId, page: u64, pages: u64) -> Result<u64, Error> {
        let start = Iova::from_page(page).expect("a page");
        let (owed, result) =
            self.devices
                .unmap_identity(partition, start, pages, &mut self.pool)?;
        let proof = self.devices.flush(owed)?;
        let removed = proof.removed();
        proof.release(&mut self.pool);
        result.map(|()| removed)
    }

    /// A write of a device to the first byte of a page: the frame that it reaches.
    ///
    /// # Errors
    /// Why it was refused.
    pub fn write(&self, device: DeviceId, page: u64) -> Result<u64, Refused> {
        self.bus.dma(device, page << 12, true).map(Spa::page)
    }

    /// A read.
    ///
    /// # Errors
    /// Why it was refused.
    pub fn read(&self, device: DeviceId, page: u64) -> Result<u64, Refused> {
        self.bus.dma(device, page << 12, false).map(Spa::page)
    }

    /// Maps a device's message to a VP.
    ///
    /// # Errors
    /// As the call.
    pub fn message(
        &mut self,
        device: DeviceId,
        partition: PartitionId,
        target: Target,
    ) -> Result<InterruptEntry, Error> {
        self.devices
            .map_interrupt(partition, Source::Message(device), target, &mut self.pool)
    }

    /// A device raises what an entry says; what comes out at the LPs.
    ///
    /// # Errors
    /// Why it was refused.
    pub fn raise(&self, device: DeviceId, entry: &InterruptEntry) -> Result<Delivered, Refused> {
        let (address, data) = message(entry);
        self.bus.interrupt(device, address, data)
    }
}

/// Address and data of a message.
pub fn message(entry: &InterruptEntry) -> (u64, u32) {
    match entry.wire {
        Wire::Message { address, data } => (u64::from(address), data),
        Wire::Pin(_) => panic!("a pin is no message"),
    }
}

/// VP `vp` on an LP whose local APIC id is 0x1000 more than its index.
pub const fn target(lp: u16, vp: u32, vector: u8) -> Target {
    Target {
        lp: LpIndex(lp),
        apic: ApicId(0x1000 + lp as u32),
        vp: VpRef(vp),
        vector: Vector(vector),
        post: None,
    }
}

/// Where the descriptor of VP `vp` lies.
pub const fn descriptor(vp: u32) -> u64 {
    0x5_4321_0000 + 64 * vp as u64
}

/// As [`target`], and its interrupts may be posted.
pub const fn posted(lp: u16, vp: u32, vector: u8) -> Target {
    Target {
        post: Some(Spa::new(descriptor(vp))),
        ..target(lp, vp, vector)
    }
}

/// The functions, groups and units of the machine.
#[must_use]
pub fn topology() -> Topology {
    let mut functions = vec![bridge(BRIDGE_1, 1, 0), bridge(BRIDGE_2, 2, 1)];
    functions.push(endpoint(RESERVED, None, 2, Some(0)));
    functions.push(endpoint(A_, Some(0), 3, Some(0)));
    functions.push(endpoint(B, Some(0), 4, Some(0)));
    functions.push(endpoint(TWIN, Some(1), 5, Some(0)));
    functions.push(endpoint(OTHER, Some(1), 5, Some(0)));
    functions.push(endpoint(FAR, None, 6, Some(1)));
    functions.push(endpoint(BARE, None, 7, None));
    for function in &mut functions {
        if function.id == TWIN || function.id == OTHER {
            function.aliases.push(RequesterRange::single(ALIAS));
            function.interrupt_source = RequesterRange::buses(2, 2);
        }
        if function.rmrr {
            function.unassignable = Some(Reason::ReservedMemory);
        }
    }
    let groups = (0..8).map(|group| Group {
        members: (0..functions.len())
            .filter(|&at| functions[at].group == group)
            .collect(),
    });
    let unit = |base: u64, include_all| topology::Unit {
        base: Spa::new(base),
        register_bytes: 4096,
        segment: 0,
        include_all,
        refused: false,
        kind: topology::UnitKind::RootTable,
        function: None,
        caches_absent: false,
    };
    Topology {
        groups: groups.collect(),
        units: vec![unit(0xfed9_0000, true), unit(0xfed9_1000, false)],
        specials: vec![SpecialDevice {
            kind: SpecialKind::IoApic,
            number: 0,
            unit: 0,
            requester: IO_APIC,
        }],
        functions,
        ..Topology::default()
    }
}

/// The same, with memory that firmware reserves: first page, pages, what may be done, and for whom.
#[must_use]
pub fn reserving(ranges: &[(u64, u64, Rights, &[DeviceId])]) -> Topology {
    let mut topology = topology();
    for &(first, pages, rights, devices) in ranges {
        let found = devices.iter().filter_map(|&id| topology.find(id));
        let mut owners: Vec<usize> = found.collect();
        owners.sort_unstable();
        for &owner in &owners {
            let function = &mut topology.functions[owner];
            function.rmrr = true;
            function.unassignable = function.unassignable.or(Some(Reason::ReservedMemory));
        }
        topology.reserved.push(ReservedRange {
            range: Some((Spa::new(first << 12), pages << 12)),
            read: rights.contains(Rights::READ),
            write: rights.contains(Rights::WRITE),
            owners,
        });
    }
    topology
}

const A_: DeviceId = A;

fn bridge(id: DeviceId, secondary: u8, group: usize) -> Function {
    Function {
        header: Header::Bridge(Bridge {
            secondary,
            subordinate: secondary,
            walked: true,
        }),
        unassignable: Some(Reason::Bridge),
        ..endpoint(id, None, group, Some(0))
    }
}

fn endpoint(id: DeviceId, parent: Option<usize>, group: usize, unit: Option<usize>) -> Function {
    let own = RequesterRange::single(id.requester);
    Function {
        id,
        vendor: 0x1234,
        device: 0x10c9,
        class: 0x02_0000,
        revision: 1,
        header: Header::Device,
        parent,
        bars: [None; 6],
        msi: None,
        msix: None,
        pcie: None,
        power: None,
        advanced_features: None,
        flr: true,
        acs: None,
        ats: None,
        pri: None,
        pasid: None,
        sriov: None,
        intx: None,
        aliases: ArrayVec::from_iter([own]),
        interrupt_source: own,
        group,
        unit,
        rmrr: id == RESERVED,
        mastering: true,
        unassignable: if unit.is_none() {
            Some(Reason::NotCovered)
        } else {
            None
        },
    }
}
