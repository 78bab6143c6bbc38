//! Device domains.

use abi::domain::{Attach, Domain, Map, Unmap, WithFlags};
use abi::{Call, Status};
use address::DeviceId;
use alloc::vec::Vec;
use zerocopy::IntoBytes;

use super::device::name;
use super::{Progress, order, repeat};
use crate::machine::Machine;

fn domain(partition: u64, id: u32) -> Domain {
    Domain {
        partition,
        vtl: 0,
        reserved: [0; 7],
        id: u64::from(id) << 32,
    }
}

fn flagless(partition: u64, id: u32) -> WithFlags {
    WithFlags {
        domain: domain(partition, id),
        flags: 0,
        reserved: 0,
    }
}

/// Makes a domain.
pub fn create<M: Machine>(machine: &M, partition: u64, id: u32) -> Result<(), Status> {
    order(machine, Call::CreateDeviceDomain, &flagless(partition, id))
}

/// Removes a domain without devices.
pub fn delete<M: Machine>(machine: &M, partition: u64, id: u32) -> Result<(), Status> {
    order(machine, Call::DeleteDeviceDomain, &domain(partition, id))
}

/// Moves a device into a domain of its owner.
pub fn attach<M: Machine>(
    machine: &M,
    partition: u64,
    id: u32,
    device: DeviceId,
) -> Result<(), Status> {
    let input = Attach {
        domain: domain(partition, id),
        device: name(device),
    };
    order(machine, Call::AttachDeviceDomain, &input)
}

/// Maps pages of the owner's GPA map at an IOVA. `progress` counts `pages`.
pub fn map<M: Machine>(
    machine: &M,
    (partition, id): (u64, u32),
    iova: u64,
    pages: &[u64],
    flags: u32,
    progress: &mut Progress,
) -> Result<(), Status> {
    let header = Map {
        domain: domain(partition, id),
        target_vtl: 0,
        reserved: [0; 3],
        flags,
        iova,
    };
    repeat(
        machine,
        Call::MapDeviceGpaPages,
        &header,
        pages.as_bytes(),
        &mut [],
        progress,
    )
}

/// Unmaps `count` pages at an IOVA; at most 4095.
pub fn unmap<M: Machine>(
    machine: &M,
    (partition, id): (u64, u32),
    iova: u64,
    count: usize,
) -> Result<(), Status> {
    let header = Unmap {
        domain: domain(partition, id),
        iova,
    };
    let mut progress = Progress::new(count);
    repeat(
        machine,
        Call::UnmapDeviceGpaPages,
        &header,
        &[],
        &mut [],
        &mut progress,
    )
}

/// Page numbers in the owner's GPA map behind IOVAs.
pub fn query<M: Machine>(
    machine: &M,
    (partition, id): (u64, u32),
    iovas: &[u64],
) -> Result<Vec<u64>, Status> {
    let mut pages = alloc::vec![0u64; iovas.len()];
    let mut progress = Progress::new(iovas.len());
    repeat(
        machine,
        Call::QueryDeviceDomain,
        &domain(partition, id),
        iovas.as_bytes(),
        pages.as_mut_bytes(),
        &mut progress,
    )?;
    Ok(pages)
}

/// Flushes what hardware caches of a domain.
pub fn flush<M: Machine>(machine: &M, partition: u64, id: u32) -> Result<(), Status> {
    order(machine, Call::FlushDeviceDomain, &flagless(partition, id))
}
