//! Frames for the hypervisor's tables: deposited when it asks for them, taken back in the end.

use abi::Status;
use alloc::vec::Vec;

use crate::calls::{self, Progress};
use crate::machine::Machine;

/// Frames that a new partition begins with.
pub const FIRST: usize = 64;
/// Frames that are added when they are used up.
const STEP: usize = 32;
/// Frames for what a guest itself may bring about, when nobody can deposit more: its hypercall page, and tables down to it.
pub const SPARE: usize = 8;
/// Times that one call may ask for more.
const PATIENCE: usize = 1024;

/// Deposits frames. Those that the hypervisor does not take are kept.
pub fn deposit<M: Machine>(machine: &M, partition: u64, count: usize) -> Result<(), Status> {
    let mut pages = Vec::new();
    while pages.len() < count {
        match machine.lend_page() {
            Some(page) => pages.push(page),
            None => break,
        }
    }
    let mut progress = Progress::new(pages.len());
    let result = if pages.is_empty() {
        Err(Status::INSUFFICIENT_MEMORY)
    } else {
        calls::memory::deposit(machine, partition, &pages, &mut progress)
    };
    for page in pages.iter().skip(progress.done) {
        machine.reclaim_page(*page);
    }
    result
}

/// Makes a call, and deposits more as often as it asks for memory.
pub fn while_needed<M: Machine, T>(
    machine: &M,
    partition: u64,
    mut call: impl FnMut() -> Result<T, Status>,
) -> Result<T, Status> {
    for _ in 0..PATIENCE {
        match call() {
            Err(Status::INSUFFICIENT_MEMORY) => deposit(machine, partition, STEP)?,
            result => return result,
        }
    }
    Err(Status::INSUFFICIENT_MEMORY)
}

/// Takes all unused deposits back.
pub fn withdraw_all<M: Machine>(machine: &M, partition: u64) {
    loop {
        let pages = calls::memory::withdraw(machine, partition);
        if pages.is_empty() {
            return;
        }
        pages.iter().for_each(|page| machine.reclaim_page(*page));
    }
}
