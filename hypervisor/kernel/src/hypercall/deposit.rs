//! Deposits: frames that leave the root for the hypervisor's tables, and come back.

use abi::Status;
use abi::memory::{Balance, Deposit, Withdraw};
use abi::partition::privilege;
use address::{Iova, PAGE_SHIFT, PartitionId, Spa};
use paging::{Access, Rights};

use super::gpa_map::DEVICE_RIGHTS;
use super::{Outcome, Request};
use crate::Kernel;
use crate::memory::Holder;
use crate::partition::{Partition, PartitionCell, State};
use crate::seams::Machine;
use crate::status::IntoStatus;

/// Frames that one execution of WithdrawMemory scrubs: about 50 µs.
const WITHDRAW_PER_SLICE: u16 = 64;

impl<M: Machine> Kernel<M> {
    /// The partition whose memory a call changes: a child, or the caller itself.
    fn memory_target(
        &self,
        request: &Request<'_>,
        id: u64,
        needs: u64,
    ) -> Result<&PartitionCell, Status> {
        request.caller.needs(needs)?;
        self.partitions
            .get(request.caller.resolve(id))
            .ok_or(Status::INVALID_PARTITION_ID)
    }

    /// Takes frames from the root: out of its map and domain, flushed, then the hypervisor's.
    pub(super) fn deposit_memory(&self, request: &mut Request<'_>) -> Result<Outcome, Status> {
        let input: Deposit = request.parameters()?;
        let target = self.memory_target(request, input.partition, privilege::ACCESS_MEMORY_POOL)?;
        let root = self
            .partitions
            .get(PartitionId::ROOT)
            .ok_or(Status::INVALID_PARTITION_STATE)?;
        let holder = {
            let body = target.body.lock();
            if matches!(body.state, State::Free | State::Finalized) {
                return Err(Status::INVALID_PARTITION_STATE);
            }
            body.holder
        };
        let pages: &[u64] = request.rest()?;
        let (marked, status) = self.mark_deposits(pages, holder);
        let (done, status) = match self.take_from_root(root, &pages[..marked]) {
            Ok(()) => (marked, status),
            Err((taken, failed)) => {
                let mut frames = self.frames.lock();
                pages[taken..marked]
                    .iter()
                    .for_each(|&page| frames.withdraw(page));
                (taken, failed)
            }
        };
        let tables = self.machine.tables();
        let mut body = target.body.lock();
        for frame in pages[..done]
            .iter()
            .filter_map(|&page| Spa::from_page(page))
        {
            body.pool.add(tables, frame);
        }
        Ok(Outcome::Reps(done as u16, status))
    }

    /// Marks frames as deposits, as many as may be: from here on nobody can map them any more.
    fn mark_deposits(&self, pages: &[u64], holder: Holder) -> (usize, Status) {
        let mut frames = self.frames.lock();
        for (index, &page) in pages.iter().enumerate() {
            // Page 0 ends the chain of free frames, and so is never in it.
            if page == 0 {
                return (index, Status::INVALID_PARAMETER);
            }
            if let Err(refused) = frames.deposit(page, holder) {
                return (index, refused.status());
            }
        }
        (pages.len(), Status::SUCCESS)
    }

    /// Takes frames out of the root's map and identity domain, flushed. On failure: how many are out, and why no more.
    fn take_from_root(&self, root: &PartitionCell, pages: &[u64]) -> Result<(), (usize, Status)> {
        let holder = root.body.lock().holder;
        let (out, mut status) = self.unmap_root_slat(root, pages);
        // The pages may be anywhere, so processors forget all of the root's map: one flush for the whole call.
        self.flush_processors(root, holder);
        let (done, failed) = self.unmap_root_domain(root, &pages[..out]);
        status = failed.or(status);
        if done < out {
            self.map_root_slat(root, &pages[done..out]);
        }
        status.map_or(Ok(()), |status| Err((done, status)))
    }

    /// Takes pages out of the root's map; returns how many are out, and why no more. Pages go one by one, so that no table
    /// is given up: the tokens hold no frames, and the caller flushes for all of them at once.
    fn unmap_root_slat(&self, root: &PartitionCell, pages: &[u64]) -> (usize, Option<Status>) {
        let tables = self.machine.tables();
        let mut body = root.body.lock();
        let Partition {
            slat,
            pool,
            mapped_pages,
            ..
        } = &mut *body;
        let pool = &mut pool.source(tables);
        let Some(slat) = slat.live_mut() else {
            return (0, Some(Status::INVALID_PARTITION_STATE));
        };
        for (index, &page) in pages.iter().enumerate() {
            let (token, result) = slat.unmap(tables, pool, page << PAGE_SHIFT, 1);
            *mapped_pages -= token.removed();
            if result.is_err() {
                return (index, Some(Status::INSUFFICIENT_ROOT_MEMORY));
            }
        }
        (pages.len(), None)
    }

    /// Takes pages out of the root's identity domain, flushed; returns how many are out, and why no more.
    fn unmap_root_domain(&self, root: &PartitionCell, pages: &[u64]) -> (usize, Option<Status>) {
        let mut body = root.body.lock();
        let pool = &mut body.pool.source(self.machine.tables());
        let mut devices = self.devices.lock();
        if !devices.has_domains() {
            return (pages.len(), None);
        }
        let (owed, result) = match devices.unmap_identity_scattered(PartitionId::ROOT, pages, pool)
        {
            Ok(taken) => taken,
            Err(error) => return (0, Some(error.status())),
        };
        let done = owed.pages() as usize;
        match devices.flush(owed) {
            Ok(proof) => {
                proof.release(pool);
                (done, result.err().map(|_| Status::INSUFFICIENT_ROOT_MEMORY))
            }
            // Nobody knows what the device can still reach: the frames stay deposits that nobody uses.
            Err(failed) => (0, Some(failed.status())),
        }
    }

    /// Puts pages back into the root's map that were to leave it and did not.
    fn map_root_slat(&self, root: &PartitionCell, pages: &[u64]) {
        let tables = self.machine.tables();
        let mut body = root.body.lock();
        let Partition {
            slat,
            pool,
            mapped_pages,
            ..
        } = &mut *body;
        let pool = &mut pool.source(tables);
        for &page in pages {
            if let Some(slat) = slat.live_mut() {
                // The table that held them is still there, so no frame is needed.
                let (done, _) = slat.map_pages(
                    tables,
                    pool,
                    page << PAGE_SHIFT,
                    &[page],
                    Access::ram(Rights::all()),
                );
                *mapped_pages += done as u64;
            }
        }
    }

    /// Gives free frames of a partition's deposits back to the root, scrubbed.
    pub(super) fn withdraw_memory(&self, request: &mut Request<'_>) -> Result<Outcome, Status> {
        let input: Withdraw = request.parameters()?;
        let target = self.memory_target(request, input.partition, privilege::ACCESS_MEMORY_POOL)?;
        let root = self
            .partitions
            .get(PartitionId::ROOT)
            .ok_or(Status::INVALID_PARTITION_STATE)?;
        if core::ptr::eq(target, root) {
            // What its pool began with is the hypervisor's reserve, not a deposit.
            return Err(Status::OPERATION_DENIED);
        }
        let start = usize::from(request.control.start());
        let wanted = request.left().min(WITHDRAW_PER_SLICE);
        for index in 0..wanted {
            let taken = target.body.lock().pool.remove(self.machine.tables());
            let Some(frame) = taken else {
                return Ok(Outcome::Reps(index, Status::NO_RESOURCES));
            };
            self.machine.scrub(frame);
            if let Err(status) = self.return_to_root(root, frame) {
                target.body.lock().pool.add(self.machine.tables(), frame);
                return Ok(Outcome::Reps(index, status));
            }
            request.answer(start + usize::from(index), &frame.page());
        }
        if wanted < request.left() {
            Ok(Outcome::Again(wanted))
        } else {
            Ok(Outcome::Done)
        }
    }

    /// Maps a frame that was a deposit into the root's map and domain again.
    fn return_to_root(&self, root: &PartitionCell, frame: Spa) -> Result<(), Status> {
        let tables = self.machine.tables();
        let mut frames = self.frames.lock();
        let mut body = root.body.lock();
        let Partition {
            slat,
            pool,
            mapped_pages,
            ..
        } = &mut *body;
        let pool = &mut pool.source(tables);
        let slat = slat.live_mut().ok_or(Status::INVALID_PARTITION_STATE)?;
        let pages = [frame.page()];
        let (done, _) = slat.map_pages(
            tables,
            pool,
            frame.as_u64(),
            &pages,
            Access::ram(Rights::all()),
        );
        if done == 0 {
            return Err(Status::INSUFFICIENT_ROOT_MEMORY);
        }
        *mapped_pages += 1;
        let mut devices = self.devices.lock();
        let at = Iova::new(frame.as_u64());
        let failed = devices.has_domains()
            && devices
                .map_identity(PartitionId::ROOT, at, &pages, DEVICE_RIGHTS, pool)
                .0
                == 0;
        if failed {
            // The processor's mapping goes again; it was never used, and leaves nothing to flush but its own entry.
            let (token, _) = slat.unmap(tables, pool, frame.as_u64(), 1);
            *mapped_pages -= token.removed();
            return Err(Status::INSUFFICIENT_ROOT_MEMORY);
        }
        frames.withdraw(frame.page());
        Ok(())
    }

    pub(super) fn get_memory_balance(&self, request: &mut Request<'_>) -> Result<Outcome, Status> {
        let input: Withdraw = request.parameters()?;
        let target = self.memory_target(request, input.partition, privilege::ACCESS_MEMORY_POOL)?;
        let body = target.body.lock();
        request.answer(
            0,
            &Balance {
                available: body.pool.free(),
                in_use: body.pool.in_use(),
            },
        );
        Ok(Outcome::Done)
    }
}
