//! Partition properties.

use core::sync::atomic::Ordering;

use abi::Status;
use abi::partition::{GetProperty, SetProperty, privilege, property};
use address::PartitionId;

use super::{Outcome, Request};
use crate::Kernel;
use crate::partition::{PartitionCell, State};
use crate::seams::Machine;

impl<M: Machine> Kernel<M> {
    fn property_of(&self, request: &Request<'_>, id: u64) -> Result<&PartitionCell, Status> {
        request.caller.needs(privilege::CREATE_PARTITIONS)?;
        let id = request.caller.resolve(id);
        self.partitions.get(id).ok_or(Status::INVALID_PARTITION_ID)
    }

    pub(super) fn get_property(&self, request: &mut Request<'_>) -> Result<Outcome, Status> {
        let input: GetProperty = request.parameters()?;
        let cell = self.property_of(request, input.partition)?;
        let value = match input.code {
            property::PRIVILEGE_FLAGS => cell.privileges.load(Ordering::Relaxed),
            property::REFERENCE_TIME => self.reference_time(cell.body.lock().created),
            property::PHYSICAL_ADDRESS_WIDTH => u64::from(self.machine.physical_bits()),
            property::PROCESSOR_CLOCK_FREQUENCY => self.machine.tsc_hz(),
            property::GUEST_OS_ID => cell.body.lock().guest_os_id,
            _ => return Err(Status::UNKNOWN_PROPERTY),
        };
        request.answer(0, &value);
        Ok(Outcome::Done)
    }

    pub(super) fn set_property(&self, request: &mut Request<'_>) -> Result<Outcome, Status> {
        let input: SetProperty = request.parameters()?;
        let cell = self.property_of(request, input.partition)?;
        let body = cell.body.lock();
        match input.code {
            property::PRIVILEGE_FLAGS if body.id == PartitionId::ROOT => {
                Err(Status::OPERATION_DENIED)
            }
            // A child gets no more than children may have, and not while it might be using it.
            property::PRIVILEGE_FLAGS if input.value & !privilege::CHILD != 0 => {
                Err(Status::PROPERTY_VALUE_OUT_OF_RANGE)
            }
            property::PRIVILEGE_FLAGS if body.state != State::Created => {
                Err(Status::INVALID_PARTITION_STATE)
            }
            property::PRIVILEGE_FLAGS => {
                cell.privileges.store(input.value, Ordering::Relaxed);
                Ok(Outcome::Done)
            }
            _ => Err(Status::UNKNOWN_PROPERTY),
        }
    }
}
