//! Interrupts between VPs of one partition.

use core::sync::atomic::Ordering;

use address::{ApicId, PartitionId};
use guest::apic::{Destination, IpiKind, IpiRequest, LogicalName};

use super::VpSlot;
use super::inbox::Request;
use super::run::Running;
use crate::Kernel;
use crate::partition::PartitionCell;
use crate::seams::Machine;

impl<M: Machine> Kernel<M> {
    /// Sends what a VP wrote to its interrupt command register.
    pub(crate) fn send_ipi(&self, running: &Running<'_, M>, request: &IpiRequest) {
        let sender = ApicId(running.vp.index.0);
        self.send_interrupt(running.partition, running.vp.partition, sender, request);
    }

    /// Leaves an interrupt with every VP of a partition that the destination includes; returns how many those were. The
    /// loop is bounded by the number of VPs, whatever the destination says.
    pub(crate) fn send_interrupt(
        &self,
        cell: &PartitionCell,
        partition: PartitionId,
        sender: ApicId,
        request: &IpiRequest,
    ) -> usize {
        let vps = cell.body.lock().vps;
        let mut reached = 0;
        for slot in vps.into_iter().flatten() {
            let vp = self.vp_cell(slot);
            let receiver = ApicId(u32::from(vp.index.load(Ordering::Relaxed)));
            let name = LogicalName::from_bits(vp.logical_name.load(Ordering::Relaxed));
            let meant = request.destination.includes(sender, receiver, name);
            if vp.partition() == partition && meant {
                self.deliver_ipi(slot, request.kind);
                reached += 1;
                if matches!(request.kind, IpiKind::LowestPriority(_)) {
                    break;
                }
            }
        }
        reached
    }

    fn deliver_ipi(&self, slot: VpSlot, kind: IpiKind) {
        match kind {
            IpiKind::Fixed(vector) | IpiKind::LowestPriority(vector) => {
                self.interrupt_vp(slot, vector.0);
            }
            IpiKind::Nmi => self.notify(slot, Request::Nmi),
            IpiKind::Init => self.notify(slot, Request::Init),
            IpiKind::Startup(vector) => {
                self.vp_cell(slot).inbox.startup(vector);
                self.wake(slot);
            }
        }
    }
}

/// An interrupt to one VP.
#[must_use]
pub const fn to_one(apic_id: u32, kind: IpiKind) -> IpiRequest {
    IpiRequest {
        kind,
        destination: Destination::Physical(ApicId(apic_id)),
    }
}
