//! Life of partitions.

use abi::partition::{CreatePartition, Target, flags};
use abi::{Call, Status};

use super::{order, query};
use crate::machine::Machine;

/// Makes a partition, whose VPs may have x2APIC mode, and returns its id.
pub fn create<M: Machine>(machine: &M, x2apic: bool) -> Result<u64, Status> {
    let mode = if x2apic { flags::X2APIC_CAPABLE } else { 0 };
    let input = CreatePartition {
        flags: flags::GPA_SUPER_PAGES | flags::LAPIC_ENABLED | mode,
        ..CreatePartition::default()
    };
    query(machine, Call::CreatePartition, &input)
}

/// Makes the partition ready for memory and VPs.
pub fn initialize<M: Machine>(machine: &M, partition: u64) -> Result<(), Status> {
    order(machine, Call::InitializePartition, &Target { partition })
}

/// Takes everything from the partition but its deposits.
pub fn finalize<M: Machine>(machine: &M, partition: u64) -> Result<(), Status> {
    order(machine, Call::FinalizePartition, &Target { partition })
}

/// Forgets a finalized partition.
pub fn delete<M: Machine>(machine: &M, partition: u64) -> Result<(), Status> {
    order(machine, Call::DeletePartition, &Target { partition })
}
