//! Memory that firmware reserved for the DMA of devices: a blocked device keeps its own (invariants 1, 3).
//!
//! A *reserved domain* belongs to the hypervisor. It is made at boot, maps what firmware reserved and nothing else, and stays for
//! ever. A group, of which some have such memory, is in the reserved domain of all their ranges wherever another one would be
//! blocked. None of it is ever attached, so no partition's domain ever stands in for it; its interrupts go nowhere.

use address::{Iova, PAGE_SHIFT, PAGE_SIZE, Spa};
use iommu::{Fault, FaultKind};
use paging::{FrameSource, Rights};
use topology::{MOST_RESERVED, ReservedRange, Topology};

use crate::ownership::set_bus_master;
use crate::{Devices, DomainName, Error, Platform};

/// The part of all domains that reserved ones may take: one in so many.
const SHARE: usize = 4;

/// Which ranges of the topology: one bit for each. It is the number of their domain, too.
type Set = u32;
const _: () = assert!(MOST_RESERVED == Set::BITS as usize);

impl<P: Platform> Devices<P> {
    /// Lets every device that firmware reserved memory for reach that memory, while all else stays closed to it; its bus mastering
    /// is as firmware left it. For boot, once: the topology's ranges must have been judged
    /// ([`Topology::judge_reserved`]). The domains take their frames, which they keep, from `pool`; how many there are bounds
    /// what is mapped.
    ///
    /// Returns the number of groups that stay blocked all the same, for want of frames or domains, or because what they have
    /// cannot be mapped.
    #[cold]
    pub fn keep_reserved(&mut self, topology: &Topology, pool: &mut impl FrameSource) -> usize {
        let mut left_out = 0;
        for group in 0..self.groups.len() {
            let set = self.set_of(topology, group);
            if set == 0 {
                continue;
            }
            let slot = self.reserved_domain(topology, set, pool);
            let (Some(slot), Some(it)) = (slot, self.groups.get_mut(group)) else {
                left_out += 1;
                continue;
            };
            it.reserved = Some(slot);
            let (members, requesters) = (it.members.len(), it.requesters.len());
            // A unit that fails at this has been dealt with, the devices with it.
            if self.block_requesters(group, requesters).is_ok() {
                self.domains.count_devices(slot, members as i32);
                self.let_master(topology, group, set);
            }
        }
        left_out
    }

    /// The ranges of a group's members; none where it has a unit that does not work.
    fn set_of(&mut self, topology: &Topology, group: usize) -> Set {
        let Some(it) = self.groups.get(group) else {
            return 0;
        };
        if it
            .requesters
            .iter()
            .any(|&(unit, _)| self.units.get(unit).is_err())
        {
            return 0;
        }
        let member = |owner: &usize| {
            topology
                .functions
                .get(*owner)
                .is_some_and(|it| it.group == group)
        };
        let all = topology.reserved.iter().zip(bits());
        let own = all.filter(|(it, _)| it.range.is_some() && it.owners.iter().any(member));
        own.fold(0, |set, (_, bit)| set | bit)
    }

    /// Slot of the domain of a set of ranges, which is made where it is not there yet. One that does not come out whole is gone
    /// again.
    fn reserved_domain(
        &mut self,
        topology: &Topology,
        set: Set,
        pool: &mut impl FrameSource,
    ) -> Option<u16> {
        let name = DomainName::reserved(set);
        if let Ok(slot) = self.domain_slot(name) {
            return Some(slot);
        }
        if self.domains.slots.used() >= self.domains.slots.capacity() / SHARE {
            return None;
        }
        self.create(name, pool).ok()?;
        let slot = self.domain_slot(name).ok()?;
        for (range, bit) in topology.reserved.iter().zip(bits()) {
            if set & bit != 0 && !self.map_reserved(name, range, pool) {
                // Nobody was ever in it: no unit has anything of it.
                let _ = self.delete(slot, pool, usize::MAX);
                return None;
            }
        }
        Some(slot)
    }

    /// Maps a range, and says whether it is mapped now. Where ranges overlap, the first that firmware names counts.
    fn map_reserved(
        &mut self,
        name: DomainName,
        range: &ReservedRange,
        pool: &mut impl FrameSource,
    ) -> bool {
        let mut rights = Rights::empty();
        rights.set(Rights::READ, range.read);
        rights.set(Rights::WRITE, range.write);
        let Some((start, bytes)) = range.range else {
            return true;
        };
        let mut at = start.as_u64();
        let end = at.saturating_add(bytes);
        while at < end {
            let (iova, pages) = (Iova::new(at), (end - at) >> PAGE_SHIFT);
            let (done, result) = self.map_range(name, iova, Spa::new(at), pages, rights, pool);
            at += done << PAGE_SHIFT;
            match result {
                Ok(()) => break,
                Err(Error::AlreadyMapped(_)) => at += PAGE_SIZE,
                Err(_) => return false,
            }
        }
        true
    }

    /// Bus mastering of those that firmware left it on, and reserved memory for. Where nothing stands in the way of interrupts, a
    /// device that is nobody's must not write at all.
    fn let_master(&mut self, topology: &Topology, group: usize, set: Set) {
        let own = topology.reserved.iter().zip(bits());
        let owners = own
            .filter(|(_, bit)| set & bit != 0)
            .flat_map(|(it, _)| &it.owners);
        for function in owners.filter_map(|&at| topology.functions.get(at)) {
            let unit = function.unit.unwrap_or(usize::MAX) as u16;
            if function.group == group
                && function.mastering
                && self.units.get(unit).is_ok_and(|it| it.guards_interrupts())
            {
                set_bus_master(&mut self.config, function.id, true);
            }
        }
    }

    /// A device that is not attached was refused something. The units see to it that this is told once, but do not know who is in a
    /// reserved domain from who is attached. Interrupts cannot be suppressed: who does not stop loses its bus mastering.
    pub(crate) fn quiet_reserved(&mut self, group: usize, unit: u16, fault: &Fault, spent: bool) {
        if self
            .groups
            .get(group)
            .is_none_or(|it| it.reserved.is_none())
        {
            return;
        }
        if !matches!(fault.kind, FaultKind::Interrupt(_)) {
            // A unit that fails at this says so at the next call.
            let _ = self.units.get(unit).map(|it| it.silence(fault.requester));
        }
        if spent {
            self.switch_bus_master(group, false);
        }
    }
}

/// The bits of a set, the first range's first.
fn bits() -> impl Iterator<Item = Set> {
    (0..Set::BITS).map(|number| 1 << number)
}
