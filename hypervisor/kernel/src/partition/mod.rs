//! Partitions: their objects and where those are kept.

pub mod slat;

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use abi::partition::privilege;
use address::PartitionId;
use spin::Mutex;

use crate::memory::{Holder, Pool};
use crate::vp::VpSlot;
use crate::{MAX_PARTITION_VPS, MAX_PARTITIONS};
use slat::PartitionSlat;

/// Where a partition is in its life (TLFS, "Partition management").
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// The slot is free.
    Free,
    /// Made: it takes deposits and properties.
    Created,
    /// It has a GPA map, and may have VPs and devices.
    Initialized,
    /// It is losing them; what is left stands in the object, so that the call goes on where it stopped.
    Finalizing,
    /// It has nothing but its name and its deposits.
    Finalized,
}

/// One partition.
#[derive(Debug)]
pub struct Partition {
    /// Its name; [`PartitionId::INVALID`] in a free slot.
    pub id: PartitionId,
    /// Its slot.
    pub holder: Holder,
    /// Where it is in its life.
    pub state: State,
    /// Its GPA map.
    pub slat: PartitionSlat,
    /// Its deposits.
    pub pool: Pool,
    /// Its VPs by index.
    pub vps: [Option<VpSlot>; MAX_PARTITION_VPS],
    /// Pages in its GPA map, 4 KiB each.
    pub mapped_pages: u64,
    /// HV_X64_MSR_GUEST_OS_ID.
    pub guest_os_id: u64,
    /// HV_X64_MSR_HYPERCALL.
    pub hypercall_msr: u64,
    /// The hypercall page, while it is enabled.
    pub overlay: Option<crate::vp::hypercall_page::Overlay>,
    /// TSC when it was made.
    pub created: u64,
}

impl Partition {
    /// A free slot.
    #[must_use]
    pub const fn free(holder: Holder) -> Self {
        Self {
            id: PartitionId::INVALID,
            holder,
            state: State::Free,
            slat: PartitionSlat::None,
            pool: Pool::new(),
            vps: [None; MAX_PARTITION_VPS],
            mapped_pages: 0,
            guest_os_id: 0,
            hypercall_msr: 0,
            overlay: None,
            created: 0,
        }
    }

    /// Whether it is the root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.id == PartitionId::ROOT
    }

    /// Its VPs.
    pub fn vp_slots(&self) -> impl Iterator<Item = VpSlot> + '_ {
        self.vps.iter().flatten().copied()
    }
}

/// A partition and what may be read of it without its lock.
#[derive(Debug)]
pub struct PartitionCell {
    /// The object.
    pub body: Mutex<Partition>,
    /// Its name, 0 while the slot is free.
    pub id: AtomicU64,
    /// Privilege mask.
    pub privileges: AtomicU64,
    /// Whether its VPs may use x2APIC mode.
    pub x2apic: AtomicBool,
    /// VPs that it has or had, for CPUID: one more than the highest index.
    pub vp_count: AtomicU32,
    /// Grows with every change of the GPA map that processors must forget. Never goes back, not even when the slot gets
    /// another partition: so the tag (ASID, VPID) may be the slot.
    pub generation: AtomicU64,
    /// Counters.
    pub counters: crate::counters::PartitionCounters,
}

/// The table of partitions. The name holds the slot, so that finding one is an index and a comparison; names are never
/// used twice, so that a stale one finds nothing.
#[derive(Debug)]
pub struct Partitions {
    cells: alloc::vec::Vec<PartitionCell>,
    /// Slots that may be used: as many as there are tags.
    usable: usize,
    next_round: AtomicU64,
}

impl Partitions {
    /// A table of free slots, of which no more are used than there are `tags`: two partitions with one tag would see each
    /// other's memory. Allocates, and so is for boot only.
    #[must_use]
    pub fn new(tags: usize) -> Self {
        let cell = |slot: usize| PartitionCell {
            body: Mutex::new(Partition::free(Holder(slot as u8))),
            id: AtomicU64::new(0),
            privileges: AtomicU64::new(0),
            x2apic: AtomicBool::new(true),
            vp_count: AtomicU32::new(1),
            generation: AtomicU64::new(0),
            counters: Default::default(),
        };
        Self {
            cells: (0..MAX_PARTITIONS).map(cell).collect(),
            usable: tags.min(MAX_PARTITIONS),
            next_round: AtomicU64::new(0),
        }
    }

    /// Slot of a name.
    #[must_use]
    pub const fn slot(id: PartitionId) -> usize {
        (id.0 % MAX_PARTITIONS as u64) as usize
    }

    /// The partition with this name.
    #[must_use]
    pub fn get(&self, id: PartitionId) -> Option<&PartitionCell> {
        let cell = self.cells.get(Self::slot(id))?;
        let found = id != PartitionId::INVALID && cell.id.load(Ordering::Acquire) == id.0;
        found.then_some(cell)
    }

    /// The cell of a slot, whatever is in it.
    #[must_use]
    pub fn cell(&self, slot: usize) -> Option<&PartitionCell> {
        self.cells.get(slot)
    }

    /// All names, in slot order.
    pub fn ids(&self) -> impl Iterator<Item = PartitionId> + '_ {
        let id = |cell: &PartitionCell| PartitionId(cell.id.load(Ordering::Acquire));
        self.cells
            .iter()
            .map(id)
            .filter(|id| *id != PartitionId::INVALID)
    }

    /// Makes the root partition.
    pub fn create_root(&self, now: u64) -> &PartitionCell {
        let cell = &self.cells[Self::slot(PartitionId::ROOT)];
        let body = &mut cell.body.lock();
        Self::occupy(cell, body, PartitionId::ROOT, privilege::ROOT, now);
        cell
    }

    /// Makes a child in a free slot; `None` where all are taken, or all tags.
    pub fn create(&self, now: u64) -> Option<PartitionId> {
        let round = self.next_round.fetch_add(1, Ordering::Relaxed) + 1;
        for (slot, cell) in self.cells.iter().enumerate().take(self.usable).skip(2) {
            let mut body = cell.body.lock();
            if body.state != State::Free {
                continue;
            }
            let id = PartitionId(round * MAX_PARTITIONS as u64 + slot as u64);
            Self::occupy(cell, &mut body, id, privilege::CHILD, now);
            return Some(id);
        }
        None
    }

    fn occupy(
        cell: &PartitionCell,
        body: &mut Partition,
        id: PartitionId,
        privileges: u64,
        now: u64,
    ) {
        body.id = id;
        body.state = State::Created;
        body.created = now;
        cell.counters.clear();
        cell.x2apic.store(true, Ordering::Relaxed);
        cell.vp_count.store(1, Ordering::Relaxed);
        cell.privileges.store(privileges, Ordering::Relaxed);
        cell.id.store(id.0, Ordering::Release);
    }

    /// Frees a finalized partition's slot.
    pub fn free(cell: &PartitionCell, body: &mut Partition) {
        cell.id.store(0, Ordering::Release);
        cell.privileges.store(0, Ordering::Relaxed);
        *body = Partition::free(body.holder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hc_10_a_name_is_never_used_twice() {
        let partitions = Partitions::new(MAX_PARTITIONS);
        let first = partitions.create(0).unwrap();
        let cell = partitions.get(first).unwrap();
        Partitions::free(cell, &mut cell.body.lock());
        assert!(partitions.get(first).is_none());
        let second = partitions.create(0).unwrap();
        assert_eq!(Partitions::slot(first), Partitions::slot(second));
        assert_ne!(first, second);
        assert!(partitions.get(first).is_none() && partitions.get(second).is_some());
    }

    #[test]
    fn mem_07_no_two_partitions_share_a_tag() {
        let partitions = Partitions::new(8);
        partitions.create_root(0);
        let made: alloc::vec::Vec<_> = core::iter::from_fn(|| partitions.create(0)).collect();
        assert_eq!(made.len(), 6, "tags 2 to 7");
        assert!(made.iter().all(|&id| Partitions::slot(id) < 8));
        let cell = partitions.get(made[3]).unwrap();
        Partitions::free(cell, &mut cell.body.lock());
        assert!(partitions.create(0).is_some() && partitions.create(0).is_none());
    }

    #[test]
    fn mem_02_slots_run_out_with_none() {
        let partitions = Partitions::new(MAX_PARTITIONS);
        partitions.create_root(0);
        let made = core::iter::from_fn(|| partitions.create(0)).count();
        assert_eq!(made, MAX_PARTITIONS - 2);
        assert!(partitions.get(PartitionId::INVALID).is_none());
        assert!(partitions.get(PartitionId::SELF).is_none());
    }
}
