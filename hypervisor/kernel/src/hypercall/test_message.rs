//! INT-03: a device that sends another device's message. Only in images for the suite.

use abi::Status;
use abi::partition::privilege;
use abi::vendor::TestMessage;
use core::sync::atomic::Ordering;
use zerocopy::IntoBytes;

use super::Outcome;
use super::convention::Registers;
use super::device::pci;
use crate::Kernel;
use crate::seams::Machine;
use crate::vp::run::Running;

impl<M: Machine> Kernel<M> {
    /// Puts a message into a device's MSI capability, whosever it is: the guard is not asked.
    pub(super) fn test_message(
        &self,
        running: &Running<'_, M>,
        registers: &Registers,
    ) -> Result<Outcome, Status> {
        if running.partition.privileges.load(Ordering::Relaxed) & privilege::CPU_MANAGEMENT == 0 {
            return Err(Status::ACCESS_DENIED);
        }
        let mut input = TestMessage::default();
        self.copy_in(running, registers, input.as_mut_bytes())?;
        let (address, data) = (input.message as u32, (input.message >> 32) as u16);
        let device = pci(input.device)?;
        let done = self.pci.lock().put_message(device, address, data);
        done.then_some(Outcome::Done)
            .ok_or(Status::INVALID_DEVICE_ID)
    }
}
