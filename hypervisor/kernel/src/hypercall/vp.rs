//! VPs: making and removing them.

use core::sync::atomic::Ordering;

use abi::Status;
use abi::vp::{CreateVp, DeleteVp};
use address::{ApicId, LpIndex, PartitionId, Spa, VpIndex};
use arrayvec::ArrayVec;
use guest::Vcpu;
use paging::FrameSource;

use super::lifecycle::Dismantled;
use super::{Outcome, Request};
use crate::memory::Holder;
use crate::partition::{Partition, PartitionCell, State};
use crate::seams::Machine;
use crate::status::IntoStatus;
use crate::synic::SynIc;
use crate::vp::{Activity, MAX_VP_FRAMES, Vp, VpSlot, local_apic};
use crate::{Kernel, MAX_VPS};

impl<M: Machine> Kernel<M> {
    pub(super) fn create_vp(&self, request: &mut Request<'_>) -> Result<Outcome, Status> {
        let input: CreateVp = request.parameters()?;
        let cell = self.child(request, input.partition)?;
        if input.reserved != [0; 3] {
            return Err(Status::INVALID_PARAMETER);
        }
        let lp = u16::try_from(input.flags).map_err(|_| Status::INVALID_LP_INDEX)?;
        self.make_vp(cell, VpIndex(input.vp), LpIndex(lp))?;
        Ok(Outcome::Done)
    }

    /// Makes the root's VP on an LP. The machine calls this once per LP at boot, in LP order, before anything runs.
    ///
    /// # Errors
    /// As CreateVp.
    pub fn make_root_vp(&self, lp: LpIndex) -> Result<(), Status> {
        let cell = self
            .partitions
            .get(PartitionId::ROOT)
            .ok_or(Status::INVALID_PARTITION_ID)?;
        self.make_vp(cell, VpIndex(u32::from(lp.0)), lp)
    }

    fn make_vp(&self, cell: &PartitionCell, index: VpIndex, lp: LpIndex) -> Result<(), Status> {
        let lp_state = self
            .lps
            .get(usize::from(lp.0))
            .ok_or(Status::INVALID_LP_INDEX)?;
        let mut body = cell.body.lock();
        if body.state != State::Initialized {
            return Err(Status::INVALID_PARTITION_STATE);
        }
        if body.vps.get(index.0 as usize).is_none_or(Option::is_some) {
            return Err(Status::INVALID_VP_INDEX);
        }
        let slat_root = body
            .slat
            .live()
            .ok_or(Status::INVALID_PARTITION_STATE)?
            .root();
        let (partition, holder, is_root) = (body.id, body.holder, body.is_root());
        let slot = self
            .claim_slot(partition)
            .ok_or(Status::INSUFFICIENT_ROOT_MEMORY)?;
        let frames = self.vp_frames(&mut body, is_root).inspect_err(|_| {
            self.vp_cell(slot).partition.store(0, Ordering::Release);
        })?;
        let (control, overlay) = frames.split_at(M::Vcpu::FRAMES);
        let mut vcpu = M::Vcpu::new(control, slat_root, u16::from(holder.0));
        vcpu.post_to(self.vp_cell(slot).inbox.posted());
        let x2apic = cell.x2apic.load(Ordering::Relaxed);
        let mut vp = Vp {
            partition,
            holder,
            index,
            slot,
            lp,
            vcpu,
            apic: local_apic::of(ApicId(index.0), is_root, x2apic),
            synic: SynIc::new(overlay.first().copied()),
            activity: Activity::WaitForStartup,
            explicit_suspend: !is_root,
            intercept_suspend: false,
            nmi: false,
            message: None,
            frames,
            cpuid: self.cpuid_facts(body.id, index, x2apic),
            assist_msr: 0,
        };
        let vp_cell = self.vp_cell(slot);
        vp_cell.inbox.clear();
        self.aim(lp_state, vp_cell, false);
        vp_cell.counters.clear();
        vp_cell.index.store(index.0 as u16, Ordering::Relaxed);
        vp_cell.lp.store(lp.0, Ordering::Relaxed);
        local_apic::publish(vp_cell, &mut vp);
        *vp_cell.body.lock() = Some(vp);
        lp_state.bound.insert(slot);
        cell.vp_count.fetch_max(index.0 + 1, Ordering::Relaxed);
        if let Some(place) = body.vps.get_mut(index.0 as usize) {
            *place = Some(slot);
        }
        Ok(())
    }

    /// Frames for a VP: its control structures, and for the root its message page, which its map then shows.
    fn vp_frames(
        &self,
        body: &mut Partition,
        is_root: bool,
    ) -> Result<ArrayVec<Spa, MAX_VP_FRAMES>, Status> {
        let tables = self.machine.tables();
        let Partition { pool, slat, .. } = body;
        let wanted = M::Vcpu::FRAMES + usize::from(is_root);
        let mut frames: ArrayVec<Spa, MAX_VP_FRAMES> = ArrayVec::new();
        let pool = &mut pool.source(tables);
        while frames.len() < wanted {
            let Some(frame) = pool.take() else {
                frames.into_iter().for_each(|frame| pool.put(frame));
                return Err(Status::INSUFFICIENT_MEMORY);
            };
            self.machine.scrub(frame);
            frames.push(frame);
        }
        if let (true, Some(&page), Some(slat)) = (is_root, frames.last(), slat.live_mut()) {
            // An overlay: the SLAT shows it, no domain does (invariant 1).
            let rights = paging::Rights::READ | paging::Rights::WRITE;
            let (_, result) = slat.map_pages(
                tables,
                pool,
                page.as_u64(),
                &[page.page()],
                paging::Access::ram(rights),
            );
            result.map_err(IntoStatus::status)?;
        }
        Ok(frames)
    }

    /// What CPUID shows a VP, as far as that does not change.
    fn cpuid_facts(
        &self,
        partition: PartitionId,
        index: VpIndex,
        x2apic: bool,
    ) -> guest::cpuid::Facts {
        let devices = self.devices.lock();
        let width = devices
            .unit_info(0)
            .and_then(|unit| unit.geometry)
            .map_or(0, |geometry| geometry.input_bits);
        let privileges = self
            .partitions
            .get(partition)
            .map_or(0, |cell| cell.privileges.load(Ordering::Relaxed));
        guest::cpuid::Facts {
            root: partition == PartitionId::ROOT,
            privileges,
            apic_id: index.0,
            vp_count: 1,
            apic: true,
            x2apic,
            osxsave: false,
            xstate: guest::xstate::Xstate::supported(M::Vcpu::host_cpuid),
            physical_bits: self.machine.physical_bits(),
            max_vps: crate::MAX_PARTITION_VPS as u32,
            lps: self.lps.len() as u32,
            interrupt_entries: if devices.remaps_interrupts() {
                0x8000
            } else {
                0
            },
            device_width: width,
        }
    }

    /// Takes a free VP slot for a partition.
    fn claim_slot(&self, partition: PartitionId) -> Option<VpSlot> {
        (0..MAX_VPS as u16).map(VpSlot).find(|&slot| {
            let name = &self.vp_cell(slot).partition;
            name.compare_exchange(0, partition.0, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
        })
    }

    pub(super) fn delete_vp(&self, request: &mut Request<'_>) -> Result<Outcome, Status> {
        let input: DeleteVp = request.parameters()?;
        let cell = self.child(request, input.partition)?;
        // With the partition locked, no interrupt is given to the VP between the look and its end.
        let mut body = cell.body.lock();
        let slot = slot_in(&body, input.vp)?;
        let vp = device::VpRef(u32::from(slot.0));
        if self.devices.lock().interrupts_of(vp) > 0 {
            return Err(Status::OBJECT_IN_USE);
        }
        if self.dismantle_vp(&mut body, slot) == Dismantled::Running {
            return Ok(Outcome::Retry);
        }
        self.forget_vp(&mut body, slot);
        Ok(Outcome::Done)
    }

    /// Slots that belong to a holder; for checks that nothing is left.
    #[must_use]
    pub fn vps_of(&self, holder: Holder) -> usize {
        self.partitions
            .cell(usize::from(holder.0))
            .map_or(0, |cell| cell.body.lock().vp_slots().count())
    }
}

/// Slot of a partition's VP.
pub(super) fn slot_of(cell: &PartitionCell, vp: u32) -> Result<VpSlot, Status> {
    slot_in(&cell.body.lock(), vp)
}

/// The same, with the partition locked.
pub(super) fn slot_in(body: &Partition, vp: u32) -> Result<VpSlot, Status> {
    body.vps
        .get(vp as usize)
        .copied()
        .flatten()
        .ok_or(Status::INVALID_VP_INDEX)
}
