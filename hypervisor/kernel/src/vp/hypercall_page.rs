//! The hypercall page: an overlay over one page of a partition's GPA map that holds the instruction of a hypercall (TLFS,
//! "Establishing the hypercall interface").
//!
//! The frame is the hypervisor's, from the partition's pool, shown by the SLAT alone and never writable (invariant 1). What
//! was mapped in its place stands in the partition, and comes back when the page goes.

use address::{PAGE_SHIFT, Spa};
use guest::Event;
use guest::Vcpu;
use paging::{Access, FrameSource, MemoryType, Rights};

use super::local_apic;
use super::run::Running;
use crate::Kernel;
use crate::memory::{Frames, Owner};
use crate::partition::{Partition, PartitionCell};
use crate::seams::Machine;
use crate::shootdown::Processors;

const ENABLED: u64 = 1;
const LOCKED: u64 = 2;
const RESERVED: u64 = 0xffc;

/// The page while it is shown.
#[derive(Clone, Copy, Debug)]
pub struct Overlay {
    /// Where: number of a page in the GPA map.
    pub page: u64,
    frame: Spa,
    /// What is mapped there otherwise.
    below: Option<(Spa, Access)>,
}

impl Overlay {
    /// Pages from `start` (a byte address) on, out of `pages`, that do not reach the overlay.
    #[must_use]
    pub fn pages_before(&self, start: u64, pages: u64) -> u64 {
        match self.page.checked_sub(start >> PAGE_SHIFT) {
            Some(before) => pages.min(before),
            None => pages,
        }
    }
}

impl<M: Machine> Kernel<M> {
    /// Writes HV_X64_MSR_HYPERCALL; `None` is #GP: reserved bits, a locked register, a page that is no RAM of the partition
    /// and not free either, no frames.
    pub(super) fn set_hypercall_page(&self, cell: &PartitionCell, value: u64) -> Option<()> {
        let frames = self.frames.lock();
        let mut body = cell.body.lock();
        if body.hypercall_msr & LOCKED != 0 || value & RESERVED != 0 {
            return None;
        }
        if value & ENABLED == 0 || body.guest_os_id == 0 {
            self.hide(cell, &mut body);
            body.hypercall_msr = value & !ENABLED;
            return Some(());
        }
        let page = value >> PAGE_SHIFT;
        if body.overlay.is_none_or(|overlay| overlay.page != page) {
            let allowed = may_stand(self, &frames, &body, page);
            if !allowed || !self.show(cell, &mut body, page) {
                return None;
            }
        }
        body.hypercall_msr = value;
        Some(())
    }

    /// Writes HV_X64_MSR_GUEST_OS_ID; none disables the page.
    pub(super) fn set_guest_os(&self, cell: &PartitionCell, value: u64) {
        let mut body = cell.body.lock();
        body.guest_os_id = value;
        if value == 0 {
            self.hide(cell, &mut body);
            body.hypercall_msr &= !ENABLED;
        }
    }

    /// Whether an access is a write to the page: #GP then, and not the parent's affair.
    pub(super) fn writes_hypercall_page(
        running: &mut Running<'_, M>,
        body: &Partition,
        page: u64,
    ) -> bool {
        let hit = body.overlay.is_some_and(|overlay| overlay.page == page);
        if hit {
            running.vp.vcpu.inject(Event::GENERAL_PROTECTION);
        }
        hit
    }

    /// Shows the page, and there only; `false` where it cannot be: nothing has changed then.
    fn show(&self, cell: &PartitionCell, body: &mut Partition, page: u64) -> bool {
        let tables = self.machine.tables();
        let Some(frame) = body.pool.source(tables).take() else {
            return false;
        };
        self.machine.scrub(frame);
        self.machine.write(frame, self.machine.hypercall_code());
        let Partition { slat, pool, .. } = &mut *body;
        let source = &mut pool.source(tables);
        let Some(slat) = slat.live_mut() else {
            source.put(frame);
            return false;
        };
        let at = page << PAGE_SHIFT;
        let below = slat
            .query(tables, at)
            .map(|found| (found.spa, found.access));
        let (token, result) = slat.unmap(tables, source, at, 1);
        let access = Access::ram(Rights::READ | Rights::EXECUTE);
        let mapped = result.is_ok()
            && slat
                .map_pages(tables, source, at, &[frame.page()], access)
                .1
                .is_ok();
        if let (false, true, Some((spa, access))) = (mapped, result.is_ok(), below) {
            // The table that held it is still there.
            let _ = slat.map_pages(tables, source, at, &[spa.page()], access);
        }
        let Ok(proof) = token.flush(&mut Processors {
            kernel: self,
            cell,
            holder: body.holder,
        });
        let source = &mut body.pool.source(tables);
        proof.release(source);
        if !mapped {
            source.put(frame);
            return false;
        }
        self.hide(cell, body);
        body.overlay = Some(Overlay { page, frame, below });
        true
    }

    /// Takes the page away, and shows again what was there before.
    pub(crate) fn hide(&self, cell: &PartitionCell, body: &mut Partition) {
        let Some(overlay) = body.overlay.take() else {
            return;
        };
        let tables = self.machine.tables();
        let Partition { slat, pool, .. } = &mut *body;
        let source = &mut pool.source(tables);
        let Some(slat) = slat.live_mut() else {
            return;
        };
        let at = overlay.page << PAGE_SHIFT;
        let (token, _) = slat.unmap(tables, source, at, 1);
        if let Some((spa, access)) = overlay.below {
            // The table that held the overlay is still there, so no frame is needed.
            let _ = slat.map_pages(tables, source, at, &[spa.page()], access);
        }
        let Ok(proof) = token.flush(&mut Processors {
            kernel: self,
            cell,
            holder: body.holder,
        });
        let source = &mut body.pool.source(tables);
        proof.release(source);
        // Nobody can have it in a TLB any more (invariant 2).
        source.put(overlay.frame);
    }
}

/// Whether the page may stand there: over RAM that the root has, or over nothing, inside the map.
fn may_stand<M: Machine>(kernel: &Kernel<M>, frames: &Frames, body: &Partition, page: u64) -> bool {
    let Some(slat) = body.slat.live() else {
        return false;
    };
    if page >> (u32::from(slat.input_bits()) - PAGE_SHIFT) != 0 || page == local_apic::PAGE {
        return false;
    }
    slat.query(kernel.machine.tables(), page << PAGE_SHIFT)
        .is_none_or(|found| {
            found.access.memory == MemoryType::WriteBack
                && frames.owner(found.spa.page()) == Some(Owner::Root)
        })
}
