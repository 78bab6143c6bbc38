//! MapGpaPages: frames of the root and MMIO of devices in a child's GPA map.

use abi::Status;
use abi::memory::{Map, map_flags};
use address::{Iova, PAGE_SHIFT, PageSize, PartitionId, Spa};
use device::Devices;
use paging::{Access, FrameSource, MemoryType, Rights};

use super::{Outcome, Request};
use crate::Kernel;
use crate::partition::{Partition, PartitionCell, State};
use crate::seams::Machine;
use crate::shootdown::Processors;
use crate::status::IntoStatus;
use crate::vp::local_apic;

/// Large pages that one execution of a call handles: each is 512 frames to count.
pub(super) const LARGE_PER_SLICE: usize = 8;
/// What a device can do with memory.
pub(super) const DEVICE_RIGHTS: Rights = Rights::READ.union(Rights::WRITE);

impl<M: Machine> Kernel<M> {
    /// Shares frames of the root, or gives MMIO of a device, to a child.
    pub(super) fn map_gpa_pages(&self, request: &mut Request<'_>) -> Result<Outcome, Status> {
        let input: Map = request.parameters()?;
        let cell = self.child(request, input.partition)?;
        let access = access(input.flags).ok_or(Status::INVALID_PARAMETER)?;
        let large = input.flags & map_flags::LARGE_PAGE != 0;
        let step = if large { PageSize::Size2M.frames() } else { 1 };
        let offset = u64::from(request.control.start()) * step;
        let gpfn = input
            .gpfn
            .checked_add(offset)
            .ok_or(Status::INVALID_PARAMETER)?;
        if input.reserved != 0 || gpfn >> (64 - PAGE_SHIFT) != 0 || gpfn % step != 0 {
            return Err(Status::INVALID_PARAMETER);
        }
        let pages: &[u64] = request.rest()?;
        // A child's local APIC is there, whatever its mode.
        let end = gpfn + pages.len() as u64 * step;
        if (gpfn..end).contains(&local_apic::PAGE) {
            return Err(Status::INVALID_PARAMETER);
        }
        let start = gpfn << PAGE_SHIFT;
        if large {
            return self.map_large(cell, start, pages, access);
        }
        let (done, status) = if access.memory == MemoryType::Uncached {
            self.map_mmio(cell, start, pages, access)
        } else {
            self.map_ram(cell, start, pages, access)
        };
        Ok(Outcome::Reps(done as u16, status))
    }

    /// Shares scattered 4 KiB frames: counted in the frame table, then in the SLAT, then in the identity domain, each in one
    /// sweep over the list. What a later sweep does not reach, the earlier ones take back.
    fn map_ram(
        &self,
        cell: &PartitionCell,
        start: u64,
        pages: &[u64],
        access: Access,
    ) -> (usize, Status) {
        let mut frames = self.frames.lock();
        let mut body = cell.body.lock();
        let partition = &mut *body;
        if partition.state != State::Initialized {
            return (0, Status::INVALID_PARTITION_STATE);
        }
        let (shared, result) = frames.share_all(pages, partition.holder);
        let mut status = result.map_or_else(IntoStatus::status, |()| Status::SUCCESS);
        let pages = &pages[..shared];
        let (done, failed) = self.map_both(partition, start, pages, access);
        if let Some(failed) = failed {
            status = failed;
            pages[done..].iter().for_each(|&page| {
                frames.unshare(page);
            });
        }
        partition.mapped_pages += done as u64;
        (done, status)
    }

    /// Maps pages in the SLAT and in the identity domain; returns how many are in both, and why no more.
    fn map_both(
        &self,
        partition: &mut Partition,
        start: u64,
        pages: &[u64],
        access: Access,
    ) -> (usize, Option<Status>) {
        let tables = self.machine.tables();
        let (id, holder) = (partition.id, partition.holder);
        let Partition { slat, pool, .. } = partition;
        let Some(slat) = slat.live_mut() else {
            return (0, Some(Status::INVALID_PARTITION_STATE));
        };
        let pool = &mut pool.source(tables);
        let (mapped, result) = slat.map_pages(tables, pool, start, pages, access);
        let mut status = result.err().map(IntoStatus::status);
        let mut devices = self.devices.lock();
        if !devices.has_domains() {
            return (mapped, status);
        }
        let rights = access.rights & DEVICE_RIGHTS;
        let (done, result) =
            devices.map_identity(id, Iova::new(start), &pages[..mapped], rights, pool);
        if let Err(error) = result {
            status = Some(error.status());
            drop(devices);
            let back = start + ((done as u64) << PAGE_SHIFT);
            let (token, _) = slat.unmap(tables, pool, back, (mapped - done) as u64);
            // A running VP may have used it already: the frames are the root's alone only once that is forgotten.
            if let Some(cell) = self.partitions.get(id) {
                let Ok(proof) = token.flush(&mut Processors {
                    kernel: self,
                    cell,
                    holder,
                });
                proof.release(pool);
            }
        }
        (done, status)
    }

    /// Gives pages of a BAR: the device is the child's, and none of its interrupt tables lies there.
    fn map_mmio(
        &self,
        cell: &PartitionCell,
        start: u64,
        pages: &[u64],
        access: Access,
    ) -> (usize, Status) {
        let tables = self.machine.tables();
        let mut body = cell.body.lock();
        let partition = &mut *body;
        if partition.state != State::Initialized {
            return (0, Status::INVALID_PARTITION_STATE);
        }
        let devices = self.devices.lock();
        let mut pci = self.pci.lock();
        let owned = |page: &u64| {
            pci.device_at(*page)
                .is_some_and(|device| devices.owner(device) == Ok(partition.id))
        };
        let allowed = pages.iter().take_while(|page| owned(page)).count();
        drop(devices);
        let mut status = if allowed < pages.len() {
            Status::ACCESS_DENIED
        } else {
            Status::SUCCESS
        };
        let Partition {
            slat,
            pool,
            mapped_pages,
            ..
        } = partition;
        let Some(slat) = slat.live_mut() else {
            return (0, Status::INVALID_PARTITION_STATE);
        };
        let access = Access {
            rights: access.rights & DEVICE_RIGHTS,
            ..access
        };
        let (done, result) = slat.map_pages(
            tables,
            &mut pool.source(tables),
            start,
            &pages[..allowed],
            access,
        );
        if let Err(error) = result {
            status = error.status();
        }
        *mapped_pages += done as u64;
        pages[..done].iter().for_each(|&page| pci.count(page, true));
        (done, status)
    }

    /// Shares 2 MiB pages, a few per execution.
    fn map_large(
        &self,
        cell: &PartitionCell,
        start: u64,
        pages: &[u64],
        access: Access,
    ) -> Result<Outcome, Status> {
        if access.memory == MemoryType::Uncached {
            return Err(Status::INVALID_PARAMETER);
        }
        for (index, &page) in pages.iter().take(LARGE_PER_SLICE).enumerate() {
            let at = start + ((index as u64) << PageSize::Size2M.shift());
            if let Err(status) = self.map_large_page(cell, at, page, access) {
                return Ok(Outcome::Reps(index as u16, status));
            }
        }
        let left = pages.len().saturating_sub(LARGE_PER_SLICE);
        if left > 0 {
            Ok(Outcome::Again(LARGE_PER_SLICE as u16))
        } else {
            Ok(Outcome::Reps(pages.len() as u16, Status::SUCCESS))
        }
    }

    fn map_large_page(
        &self,
        cell: &PartitionCell,
        start: u64,
        page: u64,
        access: Access,
    ) -> Result<(), Status> {
        let size = PageSize::Size2M;
        let target = Spa::from_page(page)
            .filter(|spa| spa.is_aligned(size))
            .ok_or(Status::INVALID_PARAMETER)?;
        let mut frames = self.frames.lock();
        let mut body = cell.body.lock();
        if body.state != State::Initialized {
            return Err(Status::INVALID_PARTITION_STATE);
        }
        let holder = body.holder;
        let range = page..page + size.frames();
        let shared = range
            .take_while(|&page| frames.share(page, holder).is_ok())
            .count() as u64;
        let result = if shared == size.frames() {
            self.map_large_both(cell, &mut body, start, target, access)
        } else {
            Err(Status::ACCESS_DENIED)
        };
        if result.is_err() {
            for page in page..page + shared {
                frames.unshare(page);
            }
        }
        result
    }

    /// Maps a 2 MiB page in the SLAT and in the identity domain, or in neither.
    fn map_large_both(
        &self,
        cell: &PartitionCell,
        partition: &mut Partition,
        start: u64,
        target: Spa,
        access: Access,
    ) -> Result<(), Status> {
        let size = PageSize::Size2M;
        let tables = self.machine.tables();
        let (id, holder) = (partition.id, partition.holder);
        let Partition {
            slat,
            pool,
            mapped_pages,
            ..
        } = partition;
        let pool = &mut pool.source(tables);
        let slat = slat.live_mut().ok_or(Status::INVALID_PARTITION_STATE)?;
        let (done, result) = slat.map(tables, pool, start, target, size, access);
        let result = result
            .map_err(IntoStatus::status)
            .and_then(|()| map_domain(&mut self.devices.lock(), id, start, target, access, pool));
        if result.is_err() {
            let (token, _) = slat.unmap(tables, pool, start, done);
            // A running VP may have used it already: the frames are the root's alone only once that is forgotten.
            let Ok(proof) = token.flush(&mut Processors {
                kernel: self,
                cell,
                holder,
            });
            proof.release(pool);
            return result;
        }
        *mapped_pages += done;
        Ok(())
    }
}

/// Maps a 2 MiB page in a partition's identity domain, or nothing of it.
fn map_domain<P: device::Platform>(
    devices: &mut Devices<P>,
    id: PartitionId,
    start: u64,
    target: Spa,
    access: Access,
    pool: &mut impl FrameSource,
) -> Result<(), Status> {
    if !devices.has_domains() {
        return Ok(());
    }
    let at = Iova::new(start);
    let rights = access.rights & DEVICE_RIGHTS;
    let (mapped, result) =
        devices.map_identity_range(id, at, target, PageSize::Size2M.frames(), rights, pool);
    result.map_err(|error| {
        if let Ok((owed, _)) = devices.unmap_identity(id, at, mapped, pool)
            && let Ok(proof) = devices.flush(owed)
        {
            proof.release(pool);
        }
        error.status()
    })
}

/// What MapGpaPages' flags ask for; `None` where they make no sense together.
fn access(flags: u32) -> Option<Access> {
    if flags & !map_flags::ALL != 0 || flags & map_flags::READ == 0 {
        return None;
    }
    let mut rights = Rights::READ;
    rights.set(Rights::WRITE, flags & map_flags::WRITE != 0);
    rights.set(
        Rights::EXECUTE,
        flags & (map_flags::KERNEL_EXECUTE | map_flags::USER_EXECUTE) != 0,
    );
    let memory = if flags & map_flags::NOT_CACHED != 0 {
        MemoryType::Uncached
    } else {
        MemoryType::WriteBack
    };
    Some(Access { rights, memory })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_rights() {
        assert_eq!(access(0), None);
        assert_eq!(
            access(map_flags::WRITE),
            None,
            "no page can be written and not read"
        );
        assert_eq!(access(1 << 4), None, "a flag that does not exist");
        assert_eq!(access(map_flags::READ), Some(Access::ram(Rights::READ)));
        let all = map_flags::READ | map_flags::WRITE | map_flags::KERNEL_EXECUTE;
        assert_eq!(access(all), Some(Access::ram(Rights::all())));
        assert_eq!(
            access(map_flags::READ | map_flags::NOT_CACHED).map(|it| it.memory),
            Some(MemoryType::Uncached)
        );
    }
}
