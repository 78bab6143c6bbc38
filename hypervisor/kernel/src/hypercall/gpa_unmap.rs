//! UnmapGpaPages: pages leave a child's GPA map and identity domain, and are the root's alone again once every cache has
//! forgotten them.

use abi::Status;
use abi::memory::{UNMAP_LARGE, Unmap};
use address::{Iova, PAGE_SHIFT, PageSize};
use device::Owed;
use paging::Unmapped;

use super::gpa_map::LARGE_PER_SLICE;
use super::{Outcome, Request};
use crate::Kernel;
use crate::memory::Holder;
use crate::partition::{Partition, PartitionCell, State};
use crate::seams::Machine;
use crate::shootdown::Processors;
use crate::status::IntoStatus;

/// Repetitions that one execution of UnmapGpaPages handles.
const UNMAP_PER_SLICE: u16 = 512;

impl<M: Machine> Kernel<M> {
    /// Unmaps pages of a child, flushed everywhere when the call returns.
    pub(super) fn unmap_gpa_pages(&self, request: &mut Request<'_>) -> Result<Outcome, Status> {
        let input: Unmap = request.parameters()?;
        let cell = self.child(request, input.partition)?;
        if input.flags & !UNMAP_LARGE != 0 || input.reserved != 0 {
            return Err(Status::INVALID_PARAMETER);
        }
        let large = input.flags & UNMAP_LARGE != 0;
        let (step, slice) = if large {
            (PageSize::Size2M.frames(), LARGE_PER_SLICE as u16)
        } else {
            (1, UNMAP_PER_SLICE)
        };
        let reps = request.left().min(slice);
        let first = u64::from(request.control.start()) * step;
        let gpfn = input
            .gpfn
            .checked_add(first)
            .ok_or(Status::INVALID_PARAMETER)?;
        if gpfn >> (64 - PAGE_SHIFT) != 0 || gpfn % step != 0 {
            return Err(Status::INVALID_PARAMETER);
        }
        let (pages, status) =
            self.unmap_pages(cell, gpfn << PAGE_SHIFT, u64::from(reps) * step, request)?;
        let done = (pages / step) as u16;
        if status != Status::SUCCESS || reps == request.left() {
            return Ok(Outcome::Reps(done, status));
        }
        Ok(Outcome::Again(done))
    }

    /// Takes pages out of SLAT and identity domain, waits for the flushes, and only then gives the frames back. Returns the
    /// pages that are done, and why no more.
    fn unmap_pages(
        &self,
        cell: &PartitionCell,
        start: u64,
        wanted: u64,
        request: &mut Request<'_>,
    ) -> Result<(u64, Status), Status> {
        let taken = self.take_out(cell, start, wanted, request)?;
        let mut processors = Processors {
            kernel: self,
            cell,
            holder: taken.holder,
        };
        let Ok(proof) = taken.slat.flush(&mut processors);
        let mut frames = self.frames.lock();
        let mut body = cell.body.lock();
        let pool = &mut body.pool.source(self.machine.tables());
        if let Some(owed) = taken.domain {
            // Unconfirmed, the frames stay counted as mapped: nobody else gets them.
            let proof = self
                .devices
                .lock()
                .flush(owed)
                .map_err(IntoStatus::status)?;
            proof.release(pool);
        }
        let pci = &self.pci;
        frames.unshare_all(request.removed.entries(), taken.holder, |page| {
            pci.lock().count(page, false)
        });
        let (pages, gone) = (proof.pages(), proof.removed());
        proof.release(pool);
        body.mapped_pages = body.mapped_pages.saturating_sub(gone);
        Ok((pages, taken.status))
    }

    /// Takes pages out of both tables; what was there stands in the request.
    fn take_out(
        &self,
        cell: &PartitionCell,
        start: u64,
        wanted: u64,
        request: &mut Request<'_>,
    ) -> Result<Taken, Status> {
        let tables = self.machine.tables();
        let frames = self.frames.lock();
        let mut body = cell.body.lock();
        let partition = &mut *body;
        if partition.state != State::Initialized {
            return Err(Status::INVALID_PARTITION_STATE);
        }
        let (holder, id) = (partition.holder, partition.id);
        let free = self.before_pinned(&frames, partition, start, wanted);
        if free == 0 {
            return Err(Status::OBJECT_IN_USE);
        }
        let Partition { slat, pool, .. } = partition;
        let slat = slat.live_mut().ok_or(Status::INVALID_PARTITION_STATE)?;
        let pool = &mut pool.source(tables);
        let (domain, pages, refused) =
            match self
                .devices
                .lock()
                .unmap_identity(id, Iova::new(start), free, pool)
            {
                Ok((owed, result)) => {
                    let pages = owed.pages();
                    (Some(owed), pages, result.err().map(IntoStatus::status))
                }
                Err(device::Error::NoHardware) => (None, free, None),
                Err(error) => return Err(error.status()),
            };
        let removed = &mut *request.removed;
        removed.clear();
        let (token, result) =
            slat.unmap_with(tables, pool, start, pages, |entry| removed.push(&entry));
        let status = match result {
            Err(error) => error.status(),
            Ok(()) if free < wanted => refused.unwrap_or(Status::OBJECT_IN_USE),
            Ok(()) => refused.unwrap_or(Status::SUCCESS),
        };
        Ok(Taken {
            slat: token,
            domain,
            holder,
            status,
        })
    }
}

/// What left the tables, and is still owed two flushes.
struct Taken {
    slat: Unmapped,
    domain: Option<Owed>,
    holder: Holder,
    status: Status,
}
