//! The life of a partition.

use core::sync::atomic::Ordering;

use abi::Status;
use abi::partition::{CreatePartition, NextChild, Target, flags, privilege};
use address::{PAGE_SHIFT, PartitionId, Spa};
use paging::{Next, Shape, Slat};

use super::{Outcome, Request};
use crate::Kernel;
use crate::memory::{Frames, Holder, Unshared};
use crate::partition::slat::PartitionSlat;
use crate::partition::{Partition, PartitionCell, Partitions, State};
use crate::seams::Machine;
use crate::shootdown::Processors;
use crate::status::IntoStatus;
use crate::vp::VpSlot;

const KNOWN_FLAGS: u64 = flags::GPA_SUPER_PAGES | flags::LAPIC_ENABLED | flags::X2APIC_CAPABLE;
/// Pages that one slice of finalizing takes out and scrubs: about 50 µs.
const FINALIZE_PAGES: u64 = 64;
/// Steps of a table's teardown in one slice.
pub(super) const TEARDOWN_STEPS: usize = 512;

impl<M: Machine> Kernel<M> {
    /// A child of the caller that an argument names.
    ///
    /// # Errors
    /// ACCESS_DENIED without the privilege, INVALID_PARTITION_ID where there is no such child.
    pub(super) fn child(&self, request: &Request<'_>, id: u64) -> Result<&PartitionCell, Status> {
        request.caller.needs(privilege::CREATE_PARTITIONS)?;
        let id = request.caller.resolve(id);
        if id == PartitionId::ROOT {
            return Err(Status::OPERATION_DENIED);
        }
        self.partitions.get(id).ok_or(Status::INVALID_PARTITION_ID)
    }

    pub(super) fn create_partition(&self, request: &mut Request<'_>) -> Result<Outcome, Status> {
        request.caller.needs(privilege::CREATE_PARTITIONS)?;
        let input: CreatePartition = request.parameters()?;
        let zeros = [
            input.disabled_features[0],
            input.disabled_features[1],
            input.disabled_xsave,
            input.isolation,
        ];
        if input.flags & !KNOWN_FLAGS != 0 || input.reserved != 0 || zeros != [0; 4] {
            return Err(Status::INVALID_PARAMETER);
        }
        let id = self
            .partitions
            .create(self.machine.now())
            .ok_or(Status::INSUFFICIENT_ROOT_MEMORY)?;
        if let Some(cell) = self.partitions.get(id) {
            let capable = input.flags & flags::X2APIC_CAPABLE != 0;
            cell.x2apic.store(capable, Ordering::Relaxed);
        }
        request.answer(0, &id.0);
        Ok(Outcome::Done)
    }

    pub(super) fn initialize_partition(
        &self,
        request: &mut Request<'_>,
    ) -> Result<Outcome, Status> {
        let input: Target = request.parameters()?;
        let cell = self.child(request, input.partition)?;
        let mut body = cell.body.lock();
        if body.state != State::Created {
            return Err(Status::INVALID_PARTITION_STATE);
        }
        let tables = self.machine.tables();
        let partition = &mut *body;
        let pool = &mut partition.pool.source(tables);
        let mut devices = self.devices.lock();
        let shape = Shape::processor(self.machine.physical_bits());
        if partition.slat.live().is_none() {
            // A first try that ran out of frames for the domain has left it here.
            let slat = Slat::new(self.machine.slat_kind(), shape, tables, pool)
                .map_err(IntoStatus::status)?;
            partition.slat = PartitionSlat::Live(slat);
        }
        if devices.has_domains() {
            devices
                .create_identity_domain(partition.id, pool)
                .map_err(IntoStatus::status)?;
        }
        partition.state = State::Initialized;
        Ok(Outcome::Done)
    }

    /// Takes everything from a partition, in slices: VPs, devices, domains, memory, tables. Each slice leaves its progress in
    /// the object, so that executing the call again goes on there.
    pub(super) fn finalize_partition(&self, request: &mut Request<'_>) -> Result<Outcome, Status> {
        let input: Target = request.parameters()?;
        let cell = self.child(request, input.partition)?;
        let state = cell.body.lock().state;
        match state {
            State::Created | State::Initialized => cell.body.lock().state = State::Finalizing,
            State::Finalizing => (),
            State::Free | State::Finalized => return Err(Status::INVALID_PARTITION_STATE),
        }
        self.finalize_slice(cell, request)
    }

    fn finalize_slice(
        &self,
        cell: &PartitionCell,
        request: &mut Request<'_>,
    ) -> Result<Outcome, Status> {
        if self.dismantle_some(cell) {
            return Ok(Outcome::Retry);
        }
        let (id, holder) = {
            let body = cell.body.lock();
            (body.id, body.holder)
        };
        if self.release_devices(cell, id)? {
            return Ok(Outcome::Retry);
        }
        // Only now: until here a device interrupt could still name one of them.
        self.forget_vps(cell);
        if self.empty_slat(cell, holder, request) {
            return Ok(Outcome::Retry);
        }
        if self.end_slat(cell, holder) {
            return Ok(Outcome::Retry);
        }
        cell.body.lock().state = State::Finalized;
        Ok(Outcome::Done)
    }

    /// Takes a device, an interrupt or a part of the domains from a partition that ends; `false` where none is left.
    fn release_devices(&self, cell: &PartitionCell, id: PartitionId) -> Result<bool, Status> {
        let result = self.release_slice(cell, id);
        match result {
            Ok(progress) => Ok(progress == device::Progress::More),
            // What that slice was about is quarantined; the rest goes on.
            Err(device::Error::UnitFailed { .. }) => {
                self.stop_failed();
                Ok(true)
            }
            Err(error) => Err(error.status()),
        }
    }

    fn release_slice(
        &self,
        cell: &PartitionCell,
        id: PartitionId,
    ) -> Result<device::Progress, device::Error> {
        let tables = self.machine.tables();
        let mut frames = self.frames.lock();
        let mut body = cell.body.lock();
        let pool = &mut body.pool.source(tables);
        let mut devices = self.devices.lock();
        let unpin = |removed: paging::Removed| {
            for page in removed.spa.page()..removed.spa.page() + removed.size.frames() {
                frames.unpin(page);
            }
        };
        devices.release_some(id, pool, TEARDOWN_STEPS, unpin)
    }

    /// Takes a slice of pages out of a GPA map that ends, and scrubs what the root gets back; `false` where it is empty.
    fn empty_slat(&self, cell: &PartitionCell, holder: Holder, request: &mut Request<'_>) -> bool {
        let Some(token) = self.take_slice(cell, request) else {
            return false;
        };
        let mut processors = Processors {
            kernel: self,
            cell,
            holder,
        };
        let Ok(proof) = token.flush(&mut processors);
        let tables = self.machine.tables();
        let mut frames = self.frames.lock();
        let quarantined = self
            .devices
            .lock()
            .is_quarantined(PartitionId(cell.id.load(Ordering::Relaxed)));
        for page in request.removed.pages() {
            if quarantined {
                frames.quarantine(page);
            } else {
                self.give_back(&mut frames, page);
            }
        }
        let mut body = cell.body.lock();
        body.mapped_pages = body.mapped_pages.saturating_sub(proof.removed());
        proof.release(&mut body.pool.source(tables));
        true
    }

    /// Unmaps the next pages of a map that ends; what was there stands in the request. `None` at its end.
    fn take_slice(
        &self,
        cell: &PartitionCell,
        request: &mut Request<'_>,
    ) -> Option<paging::Unmapped> {
        let tables = self.machine.tables();
        let mut body = cell.body.lock();
        let Partition { slat, pool, .. } = &mut *body;
        if let PartitionSlat::Live(_) = slat {
            let PartitionSlat::Live(table) = core::mem::replace(slat, PartitionSlat::None) else {
                return None;
            };
            *slat = PartitionSlat::Emptying {
                slat: table,
                reached: 0,
            };
        }
        let PartitionSlat::Emptying { slat, reached } = slat else {
            return None;
        };
        let end = 1u64 << (u32::from(slat.input_bits()) - PAGE_SHIFT);
        if *reached >= end {
            return None;
        }
        let pages = match slat.next_mapped(tables, *reached << PAGE_SHIFT, TEARDOWN_STEPS) {
            Next::Page(address, found) => {
                *reached = address >> PAGE_SHIFT;
                // A large page goes as a whole: splitting it would take a frame.
                let span = found.size.frames().max(FINALIZE_PAGES);
                (span - *reached % span).min(end - *reached)
            }
            Next::More(address) => {
                *reached = address >> PAGE_SHIFT;
                0
            }
            Next::End => return None,
        };
        let removed = &mut *request.removed;
        removed.clear();
        let pool = &mut pool.source(tables);
        let (token, _) = slat.unmap_with(tables, pool, *reached << PAGE_SHIFT, pages, |entry| {
            removed.push(&entry);
        });
        *reached += token.pages();
        Some(token)
    }

    /// Takes the tables of an empty GPA map apart; `false` when they are gone.
    fn end_slat(&self, cell: &PartitionCell, holder: Holder) -> bool {
        let tables = self.machine.tables();
        let mut body = cell.body.lock();
        let Partition { slat, pool, .. } = &mut *body;
        match core::mem::replace(slat, PartitionSlat::None) {
            PartitionSlat::None => false,
            PartitionSlat::Live(table) | PartitionSlat::Emptying { slat: table, .. } => {
                // No VP is left that could enter, so nobody has to be waited for.
                let Ok(teardown) = table.into_teardown(&mut Processors {
                    kernel: self,
                    cell,
                    holder,
                });
                *slat = PartitionSlat::Ending(teardown);
                true
            }
            PartitionSlat::Ending(mut teardown) => {
                match teardown.step(tables, &mut pool.source(tables), TEARDOWN_STEPS) {
                    paging::Progress::Done => false,
                    paging::Progress::More => {
                        *slat = PartitionSlat::Ending(teardown);
                        true
                    }
                }
            }
        }
    }

    /// Gives a page that an ended map had back: MMIO is counted, RAM that is the root's alone again is scrubbed.
    fn give_back(&self, frames: &mut Frames, page: u64) {
        match frames.unshare(page) {
            Unshared::NotRam => self.pci.lock().count(page, false),
            Unshared::Last => {
                if let Some(frame) = Spa::from_page(page) {
                    self.machine.scrub(frame);
                }
            }
            Unshared::Still => (),
        }
    }

    pub(super) fn delete_partition(&self, request: &mut Request<'_>) -> Result<Outcome, Status> {
        let input: Target = request.parameters()?;
        let cell = self.child(request, input.partition)?;
        let mut body = cell.body.lock();
        if body.state != State::Finalized {
            return Err(Status::INVALID_PARTITION_STATE);
        }
        if body.pool.free() + body.pool.in_use() != 0 {
            return Err(Status::OBJECT_IN_USE);
        }
        Partitions::free(cell, &mut body);
        Ok(Outcome::Done)
    }

    pub(super) fn get_partition_id(&self, request: &mut Request<'_>) -> Result<Outcome, Status> {
        request.caller.needs(privilege::ACCESS_PARTITION_ID)?;
        let id = request.caller.partition.0;
        request.answer(0, &id);
        Ok(Outcome::Done)
    }

    pub(super) fn get_next_child(&self, request: &mut Request<'_>) -> Result<Outcome, Status> {
        request.caller.needs(privilege::CREATE_PARTITIONS)?;
        let input: NextChild = request.parameters()?;
        if request.caller.resolve(input.parent) != PartitionId::ROOT {
            return Err(Status::INVALID_PARTITION_ID);
        }
        let children = self.partitions.ids().filter(|id| *id != PartitionId::ROOT);
        let next = match input.previous {
            0 => children.into_iter().next(),
            previous => children.skip_while(|id| id.0 != previous).nth(1),
        };
        request.answer(0, &next.map_or(0, |id| id.0));
        Ok(Outcome::Done)
    }

    /// Takes one more VP of a partition that ends off its LP; `false` where none is left.
    fn dismantle_some(&self, cell: &PartitionCell) -> bool {
        let mut body = cell.body.lock();
        let vps = body.vps;
        let mut left = vps.into_iter().flatten();
        left.any(|slot| self.dismantle_vp(&mut body, slot) != Dismantled::Before)
    }

    /// Takes the hypercall page away, and gives the slots of a partition's dismantled VPs to whoever makes the next VP.
    fn forget_vps(&self, cell: &PartitionCell) {
        let mut body = cell.body.lock();
        self.hide(cell, &mut body);
        let vps = body.vps;
        for slot in vps.into_iter().flatten() {
            self.forget_vp(&mut body, slot);
        }
    }

    /// Takes a VP's object and gives its frames back. Its slot stays taken: device interrupts may still name it.
    pub(super) fn dismantle_vp(&self, body: &mut Partition, slot: VpSlot) -> Dismantled {
        let vp_cell = self.vp_cell(slot);
        let Some(mut object) = vp_cell.body.try_lock() else {
            self.notify(slot, crate::vp::inbox::Request::Suspend);
            return Dismantled::Running;
        };
        let Some(vp) = object.take() else {
            return Dismantled::Before;
        };
        drop(object);
        if let Some(lp) = self.lps.get(usize::from(vp_cell.lp().0)) {
            for set in [&lp.ready, &lp.woken, &lp.bound, &lp.posted, &lp.senders] {
                set.remove(slot);
            }
        }
        vp_cell.deadline.store(u64::MAX, Ordering::Relaxed);
        let pool = &mut body.pool.source(self.machine.tables());
        for frame in vp.frames {
            self.machine.scrub(frame);
            paging::FrameSource::put(pool, frame);
        }
        Dismantled::Now
    }

    /// Gives a dismantled VP's slot to whoever makes the next VP.
    pub(super) fn forget_vp(&self, body: &mut Partition, slot: VpSlot) {
        // One that a failed unit may still post to stays named after a partition that is gone (INT-23).
        let vp = device::VpRef(u32::from(slot.0));
        if self.devices.lock().interrupts_of(vp) == 0 {
            self.vp_cell(slot).partition.store(0, Ordering::Release);
        }
        for entry in &mut body.vps {
            if *entry == Some(slot) {
                *entry = None;
            }
        }
    }
}

/// Whether a VP's object is gone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Dismantled {
    /// It was gone before.
    Before,
    /// It is gone.
    Now,
    /// The VP is on an LP, and was asked to leave.
    Running,
}
