//! Counters, kept so that counting costs a load and a store.

use core::sync::atomic::{AtomicU64, Ordering};

use abi::vendor::EXIT_NAMES;
use guest::Exit;

/// A counter that one LP at a time increments and anybody reads.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one. Only the LP that owns the counter may.
    #[inline]
    pub fn count(&self) {
        self.add(1);
    }

    /// Adds. Only the LP that owns the counter may.
    #[inline]
    pub fn add(&self, more: u64) {
        let sum = self.0.load(Ordering::Relaxed).wrapping_add(more);
        self.0.store(sum, Ordering::Relaxed);
    }

    /// Adds one, from any LP.
    pub fn count_shared(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// What it says.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Begins again.
    pub fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// Counters of one VP, written by the LP that runs it.
#[derive(Debug, Default)]
pub struct VpCounters {
    /// Exits by reason, indexed as `abi::vendor::EXIT_NAMES`.
    pub exits: [Counter; 16],
    /// Interrupts injected.
    pub injections: Counter,
    /// Intercept messages.
    pub messages: Counter,
    /// TSC ticks that it had its LP, the hypervisor's work for it included; a turn counts when it ends.
    pub guest_ticks: Counter,
    /// Times it gave way at the end of its slice.
    pub preemptions: Counter,
    /// Device interrupts that arrived for it, counted by interrupt handlers.
    pub device_interrupts: Counter,
}

/// Counters of a partition that outlive its VPs.
#[derive(Debug, Default)]
pub struct PartitionCounters {
    /// DMA faults of its devices.
    pub dma_faults: Counter,
}

impl PartitionCounters {
    /// Begins again.
    pub fn clear(&self) {
        self.dma_faults.clear();
    }
}

impl VpCounters {
    /// Counts an exit.
    #[inline]
    pub fn exit(&self, exit: &Exit) {
        self.exits[exit_index(exit)].count();
    }

    /// Begins again.
    pub fn clear(&self) {
        for exit in &self.exits {
            exit.clear();
        }
        for counter in [
            &self.injections,
            &self.messages,
            &self.guest_ticks,
            &self.preemptions,
            &self.device_interrupts,
        ] {
            counter.clear();
        }
    }
}

/// Index of an exit's counter.
#[inline]
#[must_use]
pub const fn exit_index(exit: &Exit) -> usize {
    match exit {
        Exit::Host => 0,
        Exit::InterruptWindow => 1,
        Exit::Cpuid => 2,
        Exit::Hypercall => 3,
        Exit::ReadMsr => 4,
        Exit::WriteMsr | Exit::IllegalSelfInterrupt => 5,
        Exit::Halt => 6,
        Exit::Pause => 7,
        Exit::Port(_) => 8,
        Exit::Memory(_) => 9,
        Exit::Exception { .. } => 10,
        Exit::Xsetbv => 11,
        Exit::CacheFlush => 12,
        Exit::NoSuchInstruction => 13,
        Exit::Shutdown => 14,
        Exit::InvalidState | Exit::Unknown(_) => 15,
    }
}

const _: () = assert!(EXIT_NAMES.len() == 16);
