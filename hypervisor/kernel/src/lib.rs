//! The logic of the hypervisor: memory ownership, partitions, virtual processors, hypercalls, the software half of
//! interrupts, intercept messages. It knows no vendor and no hardware: the machine is a type parameter.
//!
//! Locks, in the order in which they may be taken: frames → partition → devices. A VP's lock is held by the LP that runs
//! it, and taken by others only without waiting. Nobody holds a lock while waiting for another LP (invariant 11).

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod counters;
pub mod faults;
pub mod gva;
pub mod hypercall;
pub mod kernel;
pub mod lp;
pub mod memory;
pub mod notices;
pub mod partition;
pub mod pci;
pub mod seams;
pub mod shootdown;
mod status;
pub mod storm;
pub mod synic;
pub mod vp;

pub use kernel::{Boot, Kernel};
pub use seams::{Facts, Machine, Posting};

/// Partitions at a time, the root and the unused slot 0 included. A slot is the tag of its SLAT in the processors' TLBs:
/// where those offer fewer tags, fewer slots are used.
pub const MAX_PARTITIONS: usize = 64;
/// VPs at a time, of all partitions.
pub const MAX_VPS: usize = 256;
/// VPs of one partition.
pub const MAX_PARTITION_VPS: usize = 64;
/// Time that a VP may keep its LP while another one is ready, in microseconds.
pub const SLICE_US: u64 = 2_000;
/// Arrivals of one device interrupt in a period; what comes above them is held back until the next period.
pub const INTERRUPT_BUDGET: u32 = 1_000;
/// Length of that period in microseconds.
pub const INTERRUPT_PERIOD_US: u64 = 10_000;
