//! The calls without a public layout: what the machine is and how it fares.

use abi::vendor::{
    BarInfo, BarOf, Counters, CountersOf, DeviceInfo, DomainInfo, Fault, Index, InterruptInfo,
    IommuInfo, LogBytes, Power, ReadLog, Sentence, SystemInfo, WriteConfig, WrittenConfig,
};
use abi::{Call, Status};
use address::DeviceId;
use alloc::string::String;
use alloc::vec::Vec;

use super::device::name;
use super::{order, query};
use crate::machine::Machine;

/// Describes the machine, and one LP.
pub fn system<M: Machine>(machine: &M, lp: u64) -> Result<SystemInfo, Status> {
    query(machine, Call::VendorSystemInfo, &Index { index: lp })
}

/// The device with an index; `None` past the last.
pub fn device<M: Machine>(machine: &M, index: u64) -> Option<DeviceInfo> {
    query(machine, Call::VendorDeviceInfo, &Index { index }).ok()
}

/// Every device.
pub fn devices<M: Machine>(machine: &M) -> impl Iterator<Item = DeviceInfo> {
    (0..).map_while(|index| device(machine, index))
}

/// The six base address registers of a device.
pub fn bars<M: Machine>(machine: &M, device: DeviceId) -> Result<Vec<BarInfo>, Status> {
    let device = name(device);
    (0..6)
        .map(|index| query(machine, Call::VendorBarInfo, &BarOf { device, index }))
        .collect()
}

/// Every IOMMU.
pub fn iommus<M: Machine>(machine: &M) -> impl Iterator<Item = IommuInfo> {
    (0..).map_while(|index| query(machine, Call::VendorIommuInfo, &Index { index }).ok())
}

/// Every device domain.
pub fn domains<M: Machine>(machine: &M) -> impl Iterator<Item = DomainInfo> {
    (0..).map_while(|index| query(machine, Call::VendorDomainInfo, &Index { index }).ok())
}

/// Every device interrupt.
pub fn interrupts<M: Machine>(machine: &M) -> impl Iterator<Item = InterruptInfo> {
    (0..).map_while(|index| query(machine, Call::VendorInterruptInfo, &Index { index }).ok())
}

/// Why a device cannot be assigned, in the hypervisor's words; empty where it can.
pub fn why_not<M: Machine>(machine: &M, device: u64) -> Result<String, Status> {
    let found: Sentence = query(machine, Call::VendorWhyNot, &Index { index: device })?;
    let length = (found.length as usize).min(found.text.len());
    let text = found.text.get(..length).unwrap_or(&[]);
    Ok(String::from_utf8_lossy(text).into_owned())
}

/// Takes the oldest recorded fault.
pub fn take_fault<M: Machine>(machine: &M) -> Option<Fault> {
    query(machine, Call::VendorTakeFault, &Index { index: 0 }).ok()
}

/// Counters of a partition.
pub fn partition_counters<M: Machine>(machine: &M, partition: u64) -> Result<Counters, Status> {
    query(
        machine,
        Call::VendorCounters,
        &CountersOf { partition, lp: 0 },
    )
}

/// Counters of an LP.
pub fn lp_counters<M: Machine>(machine: &M, lp: u64) -> Result<Counters, Status> {
    query(
        machine,
        Call::VendorCounters,
        &CountersOf { partition: 0, lp },
    )
}

/// Bytes of the hypervisor's log from a position on.
pub fn log<M: Machine>(machine: &M, position: u64) -> Result<LogBytes, Status> {
    let input = ReadLog {
        position,
        reserved: 0,
    };
    query(machine, Call::VendorReadLog, &input)
}

/// Writes configuration space through the guard; returns what the register held afterwards.
pub fn write_config<M: Machine>(
    machine: &M,
    device: DeviceId,
    offset: u16,
    size: u8,
    value: u32,
) -> Result<u32, Status> {
    let input = WriteConfig {
        device: name(device),
        offset: u32::from(offset),
        size: u32::from(size),
        value: u64::from(value),
    };
    let written: WrittenConfig = query(machine, Call::VendorWriteConfig, &input)?;
    Ok(written.value as u32)
}

/// Powers the machine off, or resets it.
pub fn power<M: Machine>(machine: &M, reset: bool) -> Result<(), Status> {
    let input = Power {
        action: u64::from(reset),
    };
    order(machine, Call::VendorPower, &input)
}
