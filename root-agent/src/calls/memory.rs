//! Deposits and the GPA maps of children.

use abi::memory::{Balance, Deposit, Map, Unmap, Withdraw};
use abi::{Call, Status};
use alloc::vec::Vec;
use zerocopy::IntoBytes;

use super::{Progress, query, repeat};
use crate::machine::Machine;

/// Pages that one withdrawal asks for.
const WITHDRAW_BATCH: usize = 256;

/// Gives frames to the hypervisor for a partition's tables. `progress` counts `pages`.
pub fn deposit<M: Machine>(
    machine: &M,
    partition: u64,
    pages: &[u64],
    progress: &mut Progress,
) -> Result<(), Status> {
    let header = Deposit { partition };
    repeat(
        machine,
        Call::DepositMemory,
        &header,
        pages.as_bytes(),
        &mut [],
        progress,
    )
}

/// Takes unused frames of the deposits back: page numbers, empty when none is left.
pub fn withdraw<M: Machine>(machine: &M, partition: u64) -> Vec<u64> {
    let header = Withdraw {
        partition,
        proximity: 0,
    };
    let mut pages = alloc::vec![0u64; WITHDRAW_BATCH];
    let mut progress = Progress::new(WITHDRAW_BATCH);
    // The status says why it ended early; what counts is how far it came.
    let _ = repeat(
        machine,
        Call::WithdrawMemory,
        &header,
        &[],
        pages.as_mut_bytes(),
        &mut progress,
    );
    pages.truncate(progress.done);
    pages
}

/// Frames of the deposits: free and in use.
pub fn balance<M: Machine>(machine: &M, partition: u64) -> Result<Balance, Status> {
    let input = Withdraw {
        partition,
        proximity: 0,
    };
    query(machine, Call::GetMemoryBalance, &input)
}

/// Maps pages of the root into a partition from page `gpfn` on. `progress` counts `pages`.
pub fn map<M: Machine>(
    machine: &M,
    partition: u64,
    gpfn: u64,
    pages: &[u64],
    flags: u32,
    progress: &mut Progress,
) -> Result<(), Status> {
    let header = Map {
        partition,
        gpfn,
        flags,
        reserved: 0,
    };
    repeat(
        machine,
        Call::MapGpaPages,
        &header,
        pages.as_bytes(),
        &mut [],
        progress,
    )
}

/// Unmaps `count` pages of 4 KiB from page `gpfn` on.
pub fn unmap<M: Machine>(
    machine: &M,
    partition: u64,
    gpfn: u64,
    count: usize,
) -> Result<(), Status> {
    let header = Unmap {
        partition,
        gpfn,
        flags: 0,
        reserved: 0,
    };
    let mut progress = Progress::new(count);
    repeat(
        machine,
        Call::UnmapGpaPages,
        &header,
        &[],
        &mut [],
        &mut progress,
    )
}
