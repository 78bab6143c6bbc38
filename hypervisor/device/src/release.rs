//! Taking everything away from a partition that ends, in slices.

use address::{Iova, PAGE_SHIFT, PageSize, PartitionId};
use paging::{FrameSource, Next, Removed};

use crate::domain::{DomainId, Table};
use crate::ownership::Progress;
use crate::{Devices, DomainName, Error, Platform};

/// Walks that one slice spends on the search for what a domain still maps.
const STEPS: usize = 512;

impl<P: Platform> Devices<P> {
    /// Does one slice of: devices go back to the root (they need a reset), numbered domains lose what they map and end, the
    /// identity domain ends. `released` is told each mapping of a numbered domain once no device can reach it any more.
    ///
    /// `budget` bounds interrupts removed, or table entries looked at, in this slice. Done where the partition has nothing
    /// here any more.
    ///
    /// # Errors
    /// [`Error::UnitFailed`]: what that slice was about is gone and quarantined; call again for the rest.
    pub fn release_some(
        &mut self,
        partition: PartitionId,
        pool: &mut impl FrameSource,
        budget: usize,
        released: impl FnMut(Removed),
    ) -> Result<Progress, Error> {
        if partition == PartitionId::ROOT {
            return Ok(Progress::Done);
        }
        if let Some(device) = self.devices.iter().find(|it| it.owner == partition) {
            let device = device.id;
            return self
                .detach(device, partition, budget, pool)
                .map(|_| Progress::More);
        }
        if let Some(name) = self.mapping_domain(partition) {
            self.empty_some(name, pool, released)?;
            return Ok(Progress::More);
        }
        self.delete_partition_domains(partition, pool, budget)
    }

    /// A numbered domain of the partition that still maps something.
    fn mapping_domain(&self, partition: PartitionId) -> Option<DomainName> {
        let mut all = self.domains.slots.iter().map(|(_, domain)| domain);
        let found = all.find(|it| {
            let name = it.name;
            name.owner == partition
                && name.id != DomainId::Identity
                && it.pages != 0
                && matches!(it.table, Table::Live(_))
        });
        found.map(|domain| domain.name)
    }

    /// Takes the next mappings out of a domain, flushes, and tells them.
    fn empty_some(
        &mut self,
        name: DomainName,
        pool: &mut impl FrameSource,
        mut released: impl FnMut(Removed),
    ) -> Result<(), Error> {
        let slot = self.domain_slot(name)?;
        let from = self.domains.slots.get(slot).map_or(0, |it| it.reached);
        let (_, it, tables) = self.live(name)?;
        let next = it.0.next_mapped(tables, Iova::new(from), STEPS);
        let reached = match next {
            Next::Page(address, found) => {
                let size = if found.size == PageSize::Size4K {
                    PageSize::Size2M
                } else {
                    found.size
                };
                let end = (address | (size.bytes() - 1)) + 1;
                self.empty_range(
                    name,
                    address,
                    (end - address) >> PAGE_SHIFT,
                    pool,
                    &mut released,
                )?;
                end
            }
            Next::More(address) => address,
            // The count says that there is more: from the beginning.
            Next::End => 0,
        };
        if let Some(domain) = self.domains.slots.get_mut(slot) {
            domain.reached = reached;
        }
        Ok(())
    }

    fn empty_range(
        &mut self,
        name: DomainName,
        from: u64,
        pages: u64,
        pool: &mut impl FrameSource,
        released: &mut impl FnMut(Removed),
    ) -> Result<(), Error> {
        let mut gone = core::mem::take(&mut self.released);
        gone.clear();
        // The range covers one leaf table or one large page at most: the list has room for 512.
        let taken = self.unmap_with(name, Iova::new(from), pages, pool, |it| {
            if gone.len() < gone.capacity() {
                gone.push(it);
            }
        });
        let flushed = taken.and_then(|(owed, _)| self.flush(owed).map_err(Error::from));
        let flushed = flushed.map(|proof| {
            proof.release(pool);
            gone.iter().copied().for_each(released);
        });
        self.released = gone;
        flushed
    }
}
