//! Device domains: who has which, and how they begin and end.

use address::PartitionId;
use iommu::{Dialect, DomainTable, Geometry};
use paging::FrameSource;

use crate::ownership::Progress;
use crate::store::{Index, Slots};
use crate::units::UnitSet;
use crate::{Devices, Error, Platform};

/// Which of a partition's domains.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum DomainId {
    /// The one in which IOVA = GPA.
    Identity,
    /// One that was created under this number.
    Numbered(u32),
}

/// A domain, by its owner.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct DomainName {
    /// The partition that it belongs to.
    pub owner: PartitionId,
    /// Which of its domains.
    pub id: DomainId,
}

impl DomainName {
    /// A partition's identity domain.
    #[must_use]
    pub const fn identity(owner: PartitionId) -> Self {
        Self {
            owner,
            id: DomainId::Identity,
        }
    }

    /// A partition's domain of this number.
    #[must_use]
    pub const fn numbered(owner: PartitionId, id: u32) -> Self {
        Self {
            owner,
            id: DomainId::Numbered(id),
        }
    }

    /// A reserved domain: the hypervisor's own, which no call can name because no partition has it. It maps memory that firmware
    /// reserved, for devices that are in it while they are blocked.
    pub(crate) const fn reserved(id: u32) -> Self {
        Self::numbered(PartitionId::INVALID, id)
    }
}

/// A domain.
pub(crate) struct Domain {
    pub(crate) name: DomainName,
    pub(crate) table: Table,
    /// 4 KiB pages that it maps.
    pub(crate) pages: u64,
    /// Devices in it.
    pub(crate) devices: u32,
    /// Units that ever walked its table: all of them may cache something of it.
    pub(crate) seen: UnitSet,
    /// While its partition ends: nothing is mapped below.
    pub(crate) reached: u64,
    /// Of an identity domain: numbered domains and message interrupts of its partition.
    numbered: u16,
    pub(crate) interrupts: u16,
}

pub(crate) enum Table {
    Live(DomainTable),
    /// Flushed everywhere, and on its way back to the pool.
    Ending(paging::Teardown),
    /// Some unit did not confirm that it forgot the table: its frames stay out of use for ever.
    Lost,
}

/// All domains.
pub(crate) struct Domains {
    /// What every domain's table looks like; `None` where there is no unit that works.
    pub(crate) common: Option<(Dialect, Geometry)>,
    pub(crate) slots: Slots<Domain>,
    index: Index<DomainName>,
}

impl Domains {
    pub(crate) fn new(common: Option<(Dialect, Geometry)>, capacity: u16) -> Self {
        let capacity = if common.is_some() { capacity } else { 0 };
        Self {
            common,
            slots: Slots::new(capacity),
            index: Index::new(capacity),
        }
    }

    /// Name of a slot's domain in hardware: names start at 1.
    pub(crate) const fn hardware_name(slot: u16) -> iommu::DomainName {
        iommu::DomainName(slot + 1)
    }

    /// What a unit needs to know of a live domain.
    pub(crate) fn table(&self, slot: u16) -> Option<(iommu::DomainName, &DomainTable)> {
        match &self.slots.get(slot)?.table {
            Table::Live(table) => Some((Self::hardware_name(slot), table)),
            Table::Ending(_) | Table::Lost => None,
        }
    }

    pub(crate) fn seen_by(&mut self, slot: u16, unit: u16) {
        if let Some(domain) = self.slots.get_mut(slot) {
            domain.seen.add(unit);
        }
    }

    pub(crate) fn count_devices(&mut self, slot: u16, change: i32) {
        if let Some(domain) = self.slots.get_mut(slot) {
            domain.devices = domain.devices.saturating_add_signed(change);
        }
    }

    /// The identity domain of a partition, which keeps the partition's accounts.
    pub(crate) fn account(&mut self, partition: PartitionId) -> Option<&mut Domain> {
        let slot = self.index.find(DomainName::identity(partition))?;
        self.slots.get_mut(slot)
    }

    /// Whether a unit that has failed may still cache something of a partition's domains.
    pub(crate) fn reached_by(&self, partition: PartitionId, unit: u16) -> bool {
        let mut all = self.slots.iter();
        all.any(|(_, domain)| domain.name.owner == partition && domain.seen.contains(unit))
    }
}

impl<P: Platform> Devices<P> {
    /// Makes a partition's identity domain, empty. The partition is known to this object from now on.
    ///
    /// # Errors
    /// [`Error::NoHardware`], [`Error::DomainExists`], [`Error::OutOfDomains`], [`Error::InsufficientMemory`].
    pub fn create_identity_domain(
        &mut self,
        partition: PartitionId,
        pool: &mut impl FrameSource,
    ) -> Result<(), Error> {
        self.create(DomainName::identity(partition), pool)
    }

    /// Makes a numbered domain of a partition, empty.
    ///
    /// # Errors
    /// As [`Self::create_identity_domain`]; [`Error::NoSuchDomain`] where the partition has no identity domain;
    /// [`Error::Quota`].
    pub fn create_domain(
        &mut self,
        partition: PartitionId,
        id: u32,
        pool: &mut impl FrameSource,
    ) -> Result<(), Error> {
        let quota = self.capacities.domains_per_partition;
        let identity = self.domain_slot(DomainName::identity(partition))?;
        let used = self.domains.slots.get(identity).map_or(0, |it| it.numbered);
        if used >= quota {
            return Err(Error::Quota(u32::from(quota)));
        }
        self.create(DomainName::numbered(partition, id), pool)?;
        if let Some(account) = self.domains.account(partition) {
            account.numbered += 1;
        }
        Ok(())
    }

    pub(crate) fn create(
        &mut self,
        name: DomainName,
        pool: &mut impl FrameSource,
    ) -> Result<(), Error> {
        let (dialect, geometry) = self.domains.common.ok_or(Error::NoHardware)?;
        if self.domains.index.find(name).is_some() {
            return Err(Error::DomainExists(name));
        }
        if self.domains.slots.next().is_none() {
            return Err(Error::OutOfDomains);
        }
        let bits = geometry.input_bits;
        let table = DomainTable::new(dialect, geometry, bits, &self.tables, pool)?;
        let slot = self.domains.slots.insert(Domain {
            name,
            table: Table::Live(table),
            pages: 0,
            devices: 0,
            seen: UnitSet::default(),
            reached: 0,
            numbered: 0,
            interrupts: 0,
        });
        let slot = slot.ok_or(Error::OutOfDomains)?;
        self.domains.index.insert(name, slot);
        Ok(())
    }

    /// Ends a numbered domain that no device is in: flushed on every unit that ever walked it, its table frames given back
    /// to `pool`, at most `budget` entries or leaf tables looked at per call. After the first call it maps nothing.
    ///
    /// # Errors
    /// [`Error::NoSuchDomain`], [`Error::DomainInUse`]. [`Error::UnitFailed`]: the domain is gone, its table frames and
    /// its hardware name stay out of use for ever.
    pub fn delete_domain(
        &mut self,
        partition: PartitionId,
        id: u32,
        pool: &mut impl FrameSource,
        budget: usize,
    ) -> Result<Progress, Error> {
        let slot = self.domain_slot(DomainName::numbered(partition, id))?;
        self.delete(slot, pool, budget)
    }

    /// Ends all domains of a partition, the identity domain last; as [`Self::delete_domain`], one domain per call at most.
    /// A partition without domains is done.
    ///
    /// # Errors
    /// [`Error::OwnsDevices`]. [`Error::UnitFailed`]: some frames stay out of use for ever; call again for the rest.
    pub fn delete_partition_domains(
        &mut self,
        partition: PartitionId,
        pool: &mut impl FrameSource,
        budget: usize,
    ) -> Result<Progress, Error> {
        // The root owns what nobody else does; its domains are never deleted.
        if let Some(device) = self.devices.iter().find(|it| it.owner == partition) {
            let device = device.id;
            return Err(Error::OwnsDevices { partition, device });
        }
        let first = DomainName::numbered(partition, 0);
        let next = self.domains.index.at_or_after(first);
        let numbered = next.filter(|(name, _)| name.owner == partition);
        let identity = || self.domains.index.find(DomainName::identity(partition));
        let Some(slot) = numbered.map(|(_, slot)| slot).or_else(identity) else {
            return Ok(Progress::Done);
        };
        let last = numbered.is_none();
        match self.delete(slot, pool, budget)? {
            Progress::Done if last => Ok(Progress::Done),
            _ => Ok(Progress::More),
        }
    }

    pub(crate) fn delete(
        &mut self,
        slot: u16,
        pool: &mut impl FrameSource,
        budget: usize,
    ) -> Result<Progress, Error> {
        let Some(domain) = self.domains.slots.get_mut(slot) else {
            return Ok(Progress::Done);
        };
        let (name, seen) = (domain.name, domain.seen);
        if domain.devices != 0 {
            let devices = domain.devices;
            return Err(Error::DomainInUse { name, devices });
        }
        if let Table::Live(_) = domain.table {
            self.end(slot, seen)?;
        }
        let Some(Domain {
            table: Table::Ending(ending),
            ..
        }) = self.domains.slots.get_mut(slot)
        else {
            return Ok(Progress::Done);
        };
        if ending.step(&self.tables, pool, budget) == paging::Progress::More {
            return Ok(Progress::More);
        }
        self.forget(slot, name);
        self.domains.slots.release(slot);
        Ok(Progress::Done)
    }

    /// Flushes a domain that no requester is in, from every unit that ever walked it.
    fn end(&mut self, slot: u16, seen: UnitSet) -> Result<(), Error> {
        let Some(domain) = self.domains.slots.get_mut(slot) else {
            return Ok(());
        };
        let Table::Live(table) = core::mem::replace(&mut domain.table, Table::Lost) else {
            return Ok(());
        };
        domain.pages = 0;
        let mut flusher = self.units.flusher(seen, Domains::hardware_name(slot));
        match table.into_teardown(&mut flusher) {
            Ok(teardown) => {
                domain.table = Table::Ending(teardown);
                Ok(())
            }
            Err((_, failed)) => {
                let name = domain.name;
                self.forget(slot, name);
                self.fail_unit(failed.unit);
                Err(failed.into())
            }
        }
    }

    /// Takes a domain out of the lists. Its slot number, and so its name in hardware, stays taken.
    fn forget(&mut self, slot: u16, name: DomainName) {
        self.domains.index.remove(name);
        let numbered = name.id != DomainId::Identity;
        if numbered && let Some(account) = self.domains.account(name.owner) {
            account.numbered = account.numbered.saturating_sub(1);
        }
        self.domains.slots.take(slot);
    }

    pub(crate) fn domain_slot(&self, name: DomainName) -> Result<u16, Error> {
        if self.domains.common.is_none() {
            return Err(Error::NoHardware);
        }
        self.domains
            .index
            .find(name)
            .ok_or(Error::NoSuchDomain(name))
    }
}
