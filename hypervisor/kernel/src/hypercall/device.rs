//! The life of a device.

use abi::Status;
use abi::device::{Attach, DeviceName, Named};
use abi::partition::privilege;
use address::{DeviceId, PartitionId};

use super::domain::initialized;
use super::{Outcome, Request};
use crate::Kernel;
use crate::seams::Machine;
use crate::status::IntoStatus;

/// Flag of AttachDevice: the caller names the device by a logical id as well. Ignored.
const LOGICAL_ID: u32 = 1;
/// Interrupts that one execution of DetachDevice removes.
const DETACH_BUDGET: usize = 16;

/// The PCI function that an argument names.
pub(super) fn pci(raw: u64) -> Result<DeviceId, Status> {
    match DeviceName::decode(raw) {
        Some(DeviceName::Pci(id)) => Ok(id),
        _ => Err(Status::INVALID_DEVICE_ID),
    }
}

impl<M: Machine> Kernel<M> {
    pub(super) fn attach_device(&self, request: &mut Request<'_>) -> Result<Outcome, Status> {
        let input: Attach = request.parameters()?;
        request.caller.needs(privilege::CPU_MANAGEMENT)?;
        let device = pci(input.device)?;
        if input.flags & !LOGICAL_ID != 0 || input.vtl != 0 || input.reserved != [0; 3] {
            return Err(Status::INVALID_PARAMETER);
        }
        let owner = request.caller.resolve(input.partition);
        let cell = self
            .partitions
            .get(owner)
            .ok_or(Status::INVALID_PARTITION_ID)?;
        let mut body = initialized(cell)?;
        let pool = &mut body.pool.source(self.machine.tables());
        self.devices
            .lock()
            .attach(device, owner, pool)
            .map_err(IntoStatus::status)?;
        Ok(Outcome::Done)
    }

    pub(super) fn detach_device(&self, request: &mut Request<'_>) -> Result<Outcome, Status> {
        let (cell, owner, device) = self.named(request)?;
        let mut body = initialized(cell)?;
        // With the partition locked, nobody maps a page of its registers between the look and the end.
        if owner != PartitionId::ROOT && self.pci.lock().mapped(device) != 0 {
            return Err(Status::OBJECT_IN_USE);
        }
        let pool = &mut body.pool.source(self.machine.tables());
        let progress = self
            .devices
            .lock()
            .detach(device, owner, DETACH_BUDGET, pool)
            .map_err(IntoStatus::status)?;
        Ok(match progress {
            device::Progress::Done => Outcome::Done,
            device::Progress::More => Outcome::Retry,
        })
    }

    pub(super) fn detach_device_domain(
        &self,
        request: &mut Request<'_>,
    ) -> Result<Outcome, Status> {
        let (_, owner, device) = self.named(request)?;
        self.devices
            .lock()
            .detach_domain(device, owner)
            .map_err(IntoStatus::status)?;
        Ok(Outcome::Done)
    }

    pub(super) fn vendor_declare_reset(
        &self,
        request: &mut Request<'_>,
    ) -> Result<Outcome, Status> {
        let (_, _, device) = self.named(request)?;
        self.devices
            .lock()
            .declare_reset(device)
            .map_err(IntoStatus::status)?;
        Ok(Outcome::Done)
    }

    /// Partition and device of a call that takes those two.
    fn named(
        &self,
        request: &Request<'_>,
    ) -> Result<(&crate::partition::PartitionCell, PartitionId, DeviceId), Status> {
        let input: Named = request.parameters()?;
        request.caller.needs(privilege::CPU_MANAGEMENT)?;
        let owner = request.caller.resolve(input.partition);
        let cell = self
            .partitions
            .get(owner)
            .ok_or(Status::INVALID_PARTITION_ID)?;
        Ok((cell, owner, pci(input.device)?))
    }
}
