//! [`Devices`], and how it is made at boot.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;

use address::{PartitionId, RequesterId};
use iommu::{Dialect, Geometry, Hardware, Unit, UnitMemory};
use paging::{FrameSource, TableMemory};
use topology::{ConfigSpace, Function, Reason, RequesterRange, Topology};

use crate::domain::Domains;
use crate::interrupt::Interrupts;
use crate::ownership::{Device, DeviceState, Group, set_bus_master};
use crate::store::Index;
use crate::units::{MAX_UNITS, UnitSlot, Units};
use crate::{SoftwareTable, VpRef, fault};

/// The seams: what stands below this crate.
pub trait Platform {
    /// Registers, table memory and clock of one remapping unit.
    type Hardware: Hardware;
    /// Memory that domain tables lie in.
    type Tables: TableMemory;
    /// Configuration space.
    type Config: ConfigSpace;
}

/// One remapping unit that answered its probe, not enabled yet.
pub struct UnitParts<H> {
    /// The unit.
    pub unit: Unit<H>,
    /// Memory for its largest table, as much as it wants; the unit's for ever.
    pub memory: UnitMemory,
}

/// Sizes of tables and limits per partition (invariant 8).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Capacities {
    /// Domains of the whole machine, identity domains included.
    pub domains: u16,
    /// Device interrupts of the whole machine; at most 32,768.
    pub interrupts: u16,
    /// Numbered domains of one partition.
    pub domains_per_partition: u16,
    /// Device interrupts of one partition, pins not counted.
    pub interrupts_per_partition: u16,
    /// Faults that a device may cause in [`Self::fault_period_us`] before it is blocked.
    pub fault_budget: u32,
    /// Length of a fault period in microseconds.
    pub fault_period_us: u64,
}

impl Default for Capacities {
    fn default() -> Self {
        Self {
            domains: 1024,
            interrupts: 4096,
            domains_per_partition: 64,
            interrupts_per_partition: 1024,
            fault_budget: 256,
            fault_period_us: 1_000_000,
        }
    }
}

/// What [`Devices`] is made from.
pub struct Boot<'a, P: Platform> {
    /// Functions, groups, units; its indexes of units are used here, too.
    pub topology: &'a Topology,
    /// For each unit of the topology, the unit, or `None` where it is refused or did not answer.
    pub units: Vec<Option<UnitParts<P::Hardware>>>,
    /// Table memory.
    pub tables: P::Tables,
    /// Configuration space.
    pub config: P::Config,
    /// Number of LPs.
    pub lps: u16,
    /// Address bits that all RAM needs. A unit that translates fewer is not used.
    pub memory_bits: u8,
    /// Sizes.
    pub capacities: Capacities,
}

/// All devices, device domains and device interrupts of the machine. One object, behind one lock of the caller's.
pub struct Devices<P: Platform> {
    pub(crate) units: Units<P>,
    pub(crate) tables: P::Tables,
    pub(crate) config: P::Config,
    pub(crate) capacities: Capacities,
    /// Sorted by id.
    pub(crate) devices: Box<[Device]>,
    pub(crate) groups: Box<[Group]>,
    pub(crate) domains: Domains,
    pub(crate) interrupts: Interrupts,
    pub(crate) software: SoftwareTable,
    pub(crate) faults: fault::Reporter,
    /// VPs that a unit which failed may post to for ever; each once.
    pub(crate) posted_to: Vec<VpRef>,
    /// Room for what one slice of a partition's end takes out.
    pub(crate) released: Vec<paging::Removed>,
}

impl<P: Platform> fmt::Debug for Devices<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Devices")
            .field("devices", &self.devices.len())
            .finish_non_exhaustive()
    }
}

impl<P: Platform> Devices<P> {
    /// Takes every unit over and enables it with everything blocked, clears bus mastering of every function that is no
    /// bridge, and makes all tables. Frames for the units come from the hypervisor's own `pool`.
    ///
    /// It never fails: what cannot be used makes the devices behind it unassignable, with a reason.
    pub fn new(boot: Boot<'_, P>, pool: &mut impl FrameSource) -> Self {
        let Boot {
            topology,
            units,
            tables,
            mut config,
            lps,
            memory_bits,
            capacities,
        } = boot;
        for function in topology.functions.iter().filter(|it| is_silenced(it)) {
            set_bus_master(&mut config, function.id, false);
        }
        let mut slots = unit_slots::<P>(topology, units, memory_bits);
        for (index, slot) in slots.iter_mut().enumerate() {
            enable(index, slot, topology, pool);
        }
        let slots: Box<[UnitSlot<P>]> = slots.into_iter().map(|(slot, _)| slot).collect();
        let common = common(&slots);
        let remapping = slots
            .iter()
            .any(|it| it.unit.as_ref().is_some_and(Unit::guards_interrupts));
        let devices = devices(topology, &slots);
        let interrupts = entries(&slots, capacities);
        let software = SoftwareTable::new(lps, interrupts);
        let partitions = usize::from(capacities.domains);
        Self {
            groups: groups(topology, &devices),
            faults: fault::Reporter::new(partitions),
            domains: Domains::new(common, capacities.domains.min(names(&slots))),
            interrupts: Interrupts::new(topology, remapping, lps, interrupts),
            units: Units(slots),
            tables,
            config,
            capacities,
            devices,
            software,
            posted_to: Vec::with_capacity(usize::from(interrupts)),
            released: Vec::with_capacity(paging::ENTRIES),
        }
    }

    /// The software half of all device interrupts: every clone is the same table, to be read without this object's lock.
    #[must_use]
    pub fn software(&self) -> &SoftwareTable {
        &self.software
    }

    /// Whether there are domains at all. Where not, every call on a domain says [`Error::NoHardware`](crate::Error).
    #[must_use]
    pub fn has_domains(&self) -> bool {
        self.domains.common.is_some()
    }
}

/// Bridges pass on what others send, and a unit's own function raises its interrupts: these two go on.
fn is_silenced(function: &Function) -> bool {
    !function.is_bridge() && function.unassignable != Some(Reason::Iommu)
}

type Slot<P> = (UnitSlot<P>, Option<UnitMemory>);

/// Sorts out the units whose tables do not fit the machine's memory, or the units before them.
fn unit_slots<P: Platform>(
    topology: &Topology,
    units: Vec<Option<UnitParts<P::Hardware>>>,
    memory_bits: u8,
) -> Vec<Slot<P>> {
    let mut common: Option<(Dialect, Geometry)> = None;
    let mut units = units.into_iter();
    let take = |facts: &topology::Unit| {
        let parts = units.next().flatten();
        let parts =
            parts.filter(|parts| !facts.refused && joins(&mut common, &parts.unit, memory_bits));
        let (unit, memory) = parts.map(|it| (it.unit, it.memory)).unzip();
        let slot = UnitSlot {
            segment: facts.segment,
            unit,
            failed: false,
            flushes: 0,
        };
        (slot, memory)
    };
    topology.units.iter().take(MAX_UNITS).map(take).collect()
}

/// Whether one table geometry suits the unit, the memory and the units before.
fn joins<H: Hardware>(
    common: &mut Option<(Dialect, Geometry)>,
    unit: &Unit<H>,
    memory_bits: u8,
) -> bool {
    let own = unit.geometry();
    let met = match *common {
        None => Some(own),
        Some((dialect, geometry)) if dialect == unit.dialect() => geometry.meet(own),
        Some(_) => None,
    };
    let fitting = met.filter(|it| {
        let deep = it.levels.covering(memory_bits);
        it.input_bits >= memory_bits && deep.is_some_and(|levels| 12 + 9 * levels >= memory_bits)
    });
    if let Some(geometry) = fitting {
        *common = Some((unit.dialect(), geometry));
    }
    fitting.is_some()
}

/// Enables a unit and tells it all buses behind it. One that fails is not used.
fn enable<P: Platform>(
    index: usize,
    (slot, memory): &mut Slot<P>,
    topology: &Topology,
    pool: &mut impl FrameSource,
) {
    let (Some(unit), Some(memory)) = (slot.unit.as_mut(), *memory) else {
        return;
    };
    let mut good = unit.enable(pool, memory).is_ok();
    for function in topology
        .functions
        .iter()
        .filter(|it| it.unit == Some(index))
    {
        for range in &function.aliases {
            for bus in range.first.0 >> 8..=range.last.0 >> 8 {
                good = good && unit.add_bus(bus as u8, pool).is_ok();
            }
        }
    }
    // What pins need is the hypervisor's own: the root maps the first of them before it has deposited anything.
    for pins in topology.specials.iter().filter(|it| it.unit == index) {
        let source = iommu::Source::Exact(pins.requester);
        good = good && (!unit.guards_interrupts() || unit.prepare_interrupts(source, pool).is_ok());
    }
    slot.failed = !good;
}

/// The geometry of every domain's table: what all working units can walk.
fn common<P: Platform>(slots: &[UnitSlot<P>]) -> Option<(Dialect, Geometry)> {
    let working = slots.iter().filter(|slot| !slot.failed);
    let mut all = working.filter_map(|slot| slot.unit.as_ref());
    let first = all.next()?;
    let met = all.try_fold(first.geometry(), |met, unit| met.meet(unit.geometry()))?;
    Some((first.dialect(), met))
}

/// Domain names that every working unit can tell apart.
fn names<P: Platform>(slots: &[UnitSlot<P>]) -> u16 {
    let working = slots.iter().filter(|slot| !slot.failed);
    let units = working.filter_map(|slot| slot.unit.as_ref());
    units.map(Unit::domain_names).min().unwrap_or(0)
}

/// Interrupt entries that every unit that remaps has; pins name their entry with 15 bits.
fn entries<P: Platform>(slots: &[UnitSlot<P>], capacities: Capacities) -> u16 {
    let units = slots.iter().filter_map(|slot| slot.unit.as_ref());
    let remapping = units.filter(|unit| unit.remaps_interrupts());
    let least = remapping.filter_map(Unit::interrupt_entries).min();
    let most = u32::from(capacities.interrupts).min(0x8000);
    least.unwrap_or(most).min(most) as u16
}

/// The unit-dependent reasons come on top of the topology's.
fn reason<P: Platform>(function: &Function, slots: &[UnitSlot<P>]) -> Option<Reason> {
    if function.unassignable.is_some() {
        return function.unassignable;
    }
    let slot = function.unit.and_then(|unit| slots.get(unit));
    match slot {
        None if slots.is_empty() => Some(Reason::NoIommu),
        None => Some(Reason::NotCovered),
        Some(slot) => match &slot.unit {
            Some(unit) if !slot.failed => {
                (!unit.remaps_interrupts()).then_some(Reason::NoInterruptRemapping)
            }
            _ => Some(Reason::UnitFailed),
        },
    }
}

fn devices<P: Platform>(topology: &Topology, slots: &[UnitSlot<P>]) -> Box<[Device]> {
    let make = |(index, function): (usize, &Function)| Device {
        id: function.id,
        function: index,
        unit: function.unit.map(|unit| unit as u16),
        source: source(function.interrupt_source),
        group: function.group,
        mover: !function.is_bridge() && !function.is_host_bridge(),
        bridges: topology
            .upstream(index)
            .filter_map(|above| topology.functions.get(above))
            .map(|bridge| bridge.id)
            .collect(),
        reason: reason(function, slots),
        owner: PartitionId::ROOT,
        state: DeviceState::NeedsReset,
        first_interrupt: None,
        interrupts: 0,
        faults: fault::Account::default(),
    };
    let mut devices: Vec<Device> = topology.functions.iter().enumerate().map(make).collect();
    devices.sort_unstable_by_key(|device| device.id);
    devices.into_boxed_slice()
}

/// Who may raise the function's interrupts.
fn source(range: RequesterRange) -> iommu::Source {
    if range.is_single() {
        return iommu::Source::Exact(range.first);
    }
    iommu::Source::Buses {
        first: (range.first.0 >> 8) as u8,
        last: (range.last.0 >> 8) as u8,
    }
}

/// Groups by the topology's index, members by ours.
fn groups(topology: &Topology, devices: &[Device]) -> Box<[Group]> {
    let make = |index: usize| {
        let of = |device: &&Device| device.group == index && device.mover;
        let numbered = devices.iter().zip(0u16..);
        let members = numbered.filter(|(device, _)| of(device));
        Group {
            members: members.map(|(_, number)| number).collect(),
            requesters: requesters(topology, devices.iter().filter(of)),
            reserved: None,
        }
    };
    (0..topology.groups.len()).map(make).collect()
}

/// Every requester id under which a member may appear, each once, with its unit.
fn requesters<'a>(
    topology: &Topology,
    members: impl Iterator<Item = &'a Device>,
) -> Box<[(u16, RequesterId)]> {
    let mut all = Vec::new();
    for device in members {
        let (Some(unit), Some(function)) = (device.unit, topology.functions.get(device.function))
        else {
            continue;
        };
        for range in &function.aliases {
            all.extend((range.first.0..=range.last.0).map(|id| (unit, RequesterId(id))));
        }
    }
    all.sort_unstable();
    all.dedup();
    all.into_boxed_slice()
}

/// An index of the machine's pins: by I/O APIC and pin.
pub(crate) type Pins = Index<(u8, u8)>;

/// Queue of partitions that must stop, with room for all.
pub(crate) type StopQueue = VecDeque<PartitionId>;
