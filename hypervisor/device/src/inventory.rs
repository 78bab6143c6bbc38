//! Listing devices, domains and device interrupts, for the root.

use address::{DeviceId, PartitionId, Vector};

use crate::ownership::Device;
use crate::{
    DeviceState, Devices, DomainId, DomainName, InterruptId, Platform, Reason, Source, Target,
    VpRef,
};

/// What is counted of one device.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// 4 KiB pages that its domain maps; 0 while it is in none.
    pub pages: u64,
    /// Device interrupts that it has.
    pub interrupts: u32,
    /// Its faults since boot.
    pub faults: u64,
}

/// One device.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DeviceInfo {
    /// Its name.
    pub id: DeviceId,
    /// Index in the topology's functions.
    pub function: usize,
    /// Its owner: the root where nobody was given it.
    pub owner: PartitionId,
    /// What it may do.
    pub state: DeviceState,
    /// Its domain, where it is in one.
    pub domain: Option<DomainName>,
    /// Devices of one group move together.
    pub group: usize,
    /// Index of its remapping unit.
    pub unit: Option<u16>,
    /// Why it is not assignable.
    pub reason: Option<Reason>,
    /// Counters.
    pub counters: Counters,
}

/// One domain.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DomainInfo {
    /// Its name.
    pub name: DomainName,
    /// 4 KiB pages that it maps.
    pub pages: u64,
    /// Devices in it.
    pub devices: u32,
    /// Levels of its table; 0 where it has none any more.
    pub levels: u8,
}

/// One remapping unit.
#[derive(Clone, Copy, Debug)]
pub struct UnitInfo {
    /// PCI segment that it serves.
    pub segment: u16,
    /// Name of its dialect, for people.
    pub dialect: &'static str,
    /// Whether it works.
    pub works: bool,
    /// Whether it remaps interrupts.
    pub remaps_interrupts: bool,
    /// What its tables can be; `None` for one that never answered.
    pub geometry: Option<iommu::Geometry>,
    /// Flushes of domains that it has confirmed.
    pub flushes: u64,
    /// Faults that it had no room to record.
    pub fault_overflows: u64,
}

/// One device interrupt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InterruptInfo {
    /// Its name.
    pub id: InterruptId,
    /// Its owner.
    pub owner: PartitionId,
    /// What raises it.
    pub source: Source,
    /// What it is raised on.
    pub target: Target,
    /// The vector of the LP that carries it.
    pub lp_vector: Vector,
    /// Whether it is held back.
    pub held: bool,
    /// How often it has arrived at an LP: what was posted has not, and is not counted.
    pub arrivals: u64,
}

impl<P: Platform> Devices<P> {
    /// Device number `index` in the order of names, from 0; `None` past the last.
    #[must_use]
    pub fn device_at(&self, index: usize) -> Option<DeviceInfo> {
        self.devices.get(index).map(|device| self.describe(device))
    }

    /// The device of this name.
    #[must_use]
    pub fn device_info(&self, device: DeviceId) -> Option<DeviceInfo> {
        self.device(device).ok().map(|device| self.describe(device))
    }

    fn describe(&self, device: &Device) -> DeviceInfo {
        let owner = device.owner;
        let domain = match device.state {
            DeviceState::Attached(id) => Some(DomainName { owner, id }),
            _ => None,
        };
        let slot = domain.and_then(|name| self.domain_slot(name).ok());
        let pages = slot
            .and_then(|slot| self.domains.slots.get(slot))
            .map_or(0, |it| it.pages);
        DeviceInfo {
            id: device.id,
            function: device.function,
            owner,
            state: device.state,
            domain,
            group: device.group,
            unit: device.unit,
            reason: device.reason,
            counters: Counters {
                pages,
                interrupts: device.interrupts,
                faults: device.faults.total,
            },
        }
    }

    /// The first domain in slot `from` or after, and the slot to go on from; `None` where there are no more. Start with 0.
    #[must_use]
    pub fn domain_from(&self, from: u16) -> Option<(DomainInfo, u16)> {
        let mut all = self.domains.slots.iter();
        let (slot, domain) = all.find(|&(slot, _)| slot >= from)?;
        let info = DomainInfo {
            name: domain.name,
            pages: domain.pages,
            devices: domain.devices,
            levels: self
                .domains
                .table(slot)
                .map_or(0, |(_, table)| table.shape().levels),
        };
        Some((info, slot + 1))
    }

    /// A domain's pages and devices.
    #[must_use]
    pub fn domain_info(&self, name: DomainName) -> Option<DomainInfo> {
        let slot = self.domain_slot(name).ok()?;
        self.domain_from(slot).map(|(info, _)| info)
    }

    /// 4 KiB pages that a partition's identity domain maps.
    #[must_use]
    pub fn pages_of(&self, partition: PartitionId) -> u64 {
        let identity = DomainName {
            owner: partition,
            id: DomainId::Identity,
        };
        self.domain_info(identity).map_or(0, |info| info.pages)
    }

    /// The first device interrupt in slot `from` or after, and the slot to go on from; `None` where there are no more.
    #[must_use]
    pub fn interrupt_from(&self, from: u16) -> Option<(InterruptInfo, u16)> {
        let mut all = self.interrupts.slots.iter();
        let (slot, it) = all.find(|&(slot, _)| slot >= from)?;
        let info = InterruptInfo {
            id: InterruptId(u32::from(slot)),
            owner: it.owner,
            source: it.source,
            target: it.target,
            lp_vector: it.vector,
            held: it.held,
            arrivals: self.software.arrivals(InterruptId(u32::from(slot))),
        };
        Some((info, slot + 1))
    }

    /// Device interrupts that are raised on a VP, and those that a unit which failed may still post to it.
    #[must_use]
    pub fn interrupts_of(&self, vp: VpRef) -> usize {
        let all = self.interrupts.slots.iter();
        let live = all.filter(|(_, it)| it.target.vp == vp).count();
        live + usize::from(self.posted_to.contains(&vp))
    }

    /// Domains and device interrupts that are in use.
    #[must_use]
    pub fn in_use(&self) -> (usize, usize) {
        (self.domains.slots.used(), self.interrupts.slots.used())
    }

    /// What a unit is, by its index in the topology; `None` past the last.
    #[must_use]
    pub fn unit_info(&self, index: usize) -> Option<UnitInfo> {
        let slot = self.units.0.get(index)?;
        let unit = slot.unit.as_ref();
        Some(UnitInfo {
            segment: slot.segment,
            dialect: unit.map_or("none", |unit| unit.dialect().name()),
            works: unit.is_some() && !slot.failed,
            remaps_interrupts: unit.is_some_and(iommu::Unit::remaps_interrupts),
            geometry: unit.map(iommu::Unit::geometry),
            flushes: slot.flushes,
            fault_overflows: unit.map_or(0, iommu::Unit::fault_overflows),
        })
    }

    /// Whether interrupts are remapped behind every unit that works, and there is one.
    #[must_use]
    pub fn remaps_interrupts(&self) -> bool {
        let mut working = self.units.0.iter().filter(|slot| !slot.failed).peekable();
        let remaps = |slot: &crate::units::UnitSlot<P>| {
            slot.unit
                .as_ref()
                .is_some_and(iommu::Unit::remaps_interrupts)
        };
        working.peek().is_some() && working.all(remaps)
    }
}
