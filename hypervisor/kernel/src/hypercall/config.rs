//! Configuration space writes of the root.

use abi::Status;
use abi::partition::privilege;
use abi::vendor::{WriteConfig, WrittenConfig};
use address::{DeviceId, PartitionId};
use arrayvec::ArrayVec;
use device::{DeviceState, Devices, Source, Wire};
use topology::guard::{Holder, Message, Refusal, Write};

use super::device::pci;
use super::{Outcome, Request};
use crate::Kernel;
use crate::seams::Machine;

/// Messages of one function that the guard gets to see. Only MSI, which has one, is written through the guard.
const MESSAGES: usize = 32;

impl<M: Machine> Kernel<M> {
    pub(super) fn vendor_write_config(&self, request: &mut Request<'_>) -> Result<Outcome, Status> {
        let input: WriteConfig = request.parameters()?;
        request.caller.needs(privilege::CPU_MANAGEMENT)?;
        let device = pci(input.device)?;
        let small = |value: u32| u16::try_from(value).map_err(|_| Status::INVALID_PARAMETER);
        let (offset, size) = (small(input.offset)?, small(input.size)?.min(255) as u8);
        let value = u32::try_from(input.value).map_err(|_| Status::INVALID_PARAMETER)?;
        let write = Write::new(offset, size, value).map_err(|_| Status::INVALID_PARAMETER)?;
        let mut devices = self.devices.lock();
        let holder = holder(&devices, device)?;
        let messages = messages(&mut devices, device);
        let value = self
            .pci
            .lock()
            .write(device, holder, write, &messages, (offset, size))
            .map_err(|refusal| status(&refusal))?;
        request.answer(
            0,
            &WrittenConfig {
                value: u64::from(value),
            },
        );
        Ok(Outcome::Done)
    }
}

fn holder<P: device::Platform>(devices: &Devices<P>, device: DeviceId) -> Result<Holder, Status> {
    let info = devices
        .device_info(device)
        .ok_or(Status::INVALID_DEVICE_ID)?;
    Ok(match info.state {
        DeviceState::Attached(_) if info.owner == PartitionId::ROOT => Holder::Root,
        DeviceState::Attached(_) => Holder::Child,
        DeviceState::NeedsReset => Holder::NeedsReset,
        DeviceState::Blocked | DeviceState::Ready | DeviceState::Failed => Holder::Blocked,
    })
}

/// What the hypervisor has handed out for a function.
fn messages<P: device::Platform>(
    devices: &mut Devices<P>,
    device: DeviceId,
) -> ArrayVec<Message, MESSAGES> {
    let mut found = ArrayVec::new();
    let mut from = 0;
    while let Some((info, next)) = devices.interrupt_from(from) {
        from = next;
        if info.source != Source::Message(device) {
            continue;
        }
        if let Some(Wire::Message { address, data }) = devices.wire_of(info.id) {
            // Where there are more, the rest is left out.
            let _ = found.try_push(Message {
                address: u64::from(address),
                data,
            });
        }
    }
    found
}

const fn status(refusal: &Refusal) -> Status {
    match refusal {
        Refusal::Shape => Status::INVALID_PARAMETER,
        Refusal::NoFunction => Status::INVALID_DEVICE_ID,
        Refusal::NotBlocked | Refusal::Blocked | Refusal::BarInUse => Status::INVALID_DEVICE_STATE,
        _ => Status::ACCESS_DENIED,
    }
}
