//! Devices: who has them.

use abi::device::{Attach, DeviceName, Named};
use abi::{Call, Status};
use address::DeviceId;

use super::order;
use crate::machine::Machine;

/// A device by its name in hypercalls.
#[must_use]
pub const fn name(device: DeviceId) -> u64 {
    DeviceName::Pci(device).encode()
}

/// Gives a blocked, reset device to a partition.
pub fn attach<M: Machine>(machine: &M, partition: u64, device: DeviceId) -> Result<(), Status> {
    let input = Attach {
        partition,
        device: name(device),
        ..Attach::default()
    };
    order(machine, Call::AttachDevice, &input)
}

/// Takes a device from a partition: blocked, needing reset.
pub fn detach<M: Machine>(machine: &M, partition: u64, device: DeviceId) -> Result<(), Status> {
    order(machine, Call::DetachDevice, &named(partition, device))
}

/// Blocks a device; its owner stays.
pub fn block<M: Machine>(machine: &M, partition: u64, device: DeviceId) -> Result<(), Status> {
    order(machine, Call::DetachDeviceDomain, &named(partition, device))
}

/// Declares that the device has been reset.
pub fn declare_reset<M: Machine>(machine: &M, device: DeviceId) -> Result<(), Status> {
    let root = address::PartitionId::SELF.0;
    order(machine, Call::VendorDeclareReset, &named(root, device))
}

fn named(partition: u64, device: DeviceId) -> Named {
    Named {
        partition,
        device: name(device),
    }
}
