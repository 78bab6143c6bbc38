//! Device interrupts.

use abi::device::DeviceName;
use abi::interrupt::{
    Entry, MapInterrupt, MappedInterrupt, Retarget, Target, UnmapInterrupt, source,
};
use abi::{Call, Status};
use address::DeviceId;

use super::device::name;
use super::{order, query};
use crate::machine::Machine;

/// Gives a device a message interrupt to one vector of one VP; returns what to program into the device.
pub fn map<M: Machine>(
    machine: &M,
    partition: u64,
    device: DeviceId,
    vp: u32,
    vector: u8,
) -> Result<Entry, Status> {
    let input = MapInterrupt {
        partition,
        device: name(device),
        logical: Entry {
            source: source::MSI,
            ..Entry::default()
        },
        vector_count: 1,
        target: target(vp, vector),
        ..MapInterrupt::default()
    };
    let mapped: MappedInterrupt = query(machine, Call::MapDeviceInterrupt, &input)?;
    Ok(mapped.entry)
}

/// Asks for a pin of an IOAPIC for a vector of a VP of the root.
pub fn map_pin<M: Machine>(
    machine: &M,
    ioapic: u8,
    pin: u16,
    vp: u32,
    vector: u8,
) -> Result<Entry, Status> {
    let input = MapInterrupt {
        partition: address::PartitionId::SELF.0,
        device: DeviceName::IoApic(ioapic).encode(),
        logical: Entry {
            source: source::IOAPIC,
            reserved: 0,
            value: u64::from(pin),
        },
        vector_count: 1,
        target: target(vp, vector),
        ..MapInterrupt::default()
    };
    let mapped: MappedInterrupt = query(machine, Call::MapDeviceInterrupt, &input)?;
    Ok(mapped.entry)
}

/// Takes a device interrupt away.
pub fn unmap<M: Machine>(
    machine: &M,
    partition: u64,
    device: DeviceId,
    entry: Entry,
) -> Result<(), Status> {
    let input = UnmapInterrupt {
        partition,
        device: name(device),
        entry,
        flags: 0,
        reserved: 0,
    };
    order(machine, Call::UnmapDeviceInterrupt, &input)
}

/// Moves a device interrupt to another VP or vector.
pub fn retarget<M: Machine>(
    machine: &M,
    partition: u64,
    device: DeviceId,
    entry: Entry,
    (vp, vector): (u32, u8),
) -> Result<(), Status> {
    let input = Retarget {
        partition,
        device: name(device),
        entry,
        reserved: 0,
        target: target(vp, vector),
    };
    order(machine, Call::RetargetDeviceInterrupt, &input)
}

fn target(vp: u32, vector: u8) -> Target {
    Target {
        vector: u32::from(vector),
        flags: 0,
        mask: 1u64.checked_shl(vp).unwrap_or(0),
    }
}
