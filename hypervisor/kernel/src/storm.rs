//! The budget of device interrupts: one that arrives too often is held back at its remapping entry until the next period
//! begins, so that everybody else keeps their LP.
//!
//! The handler counts, and no more; what is over the budget is looked at after the exit.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use address::{LpIndex, Vector};
use arrayvec::ArrayVec;
use device::InterruptId;
use spin::Mutex;

use crate::lp::{Lp, chore};
use crate::seams::Machine;
use crate::vp::VpSlot;
use crate::{INTERRUPT_BUDGET, Kernel};

/// Vectors of an LP, and so interrupts that it can hold back at a time.
const VECTORS: usize = 256;

/// Arrivals at one LP.
#[derive(Debug)]
pub struct Storm {
    /// Arrivals of each vector in this period, counted by interrupt handlers.
    counts: [AtomicU32; VECTORS],
    /// When the period began.
    since: AtomicU64,
    /// When those that are held back go through again; `u64::MAX` where none is.
    until: AtomicU64,
    /// Interrupts that are held back.
    held: Mutex<ArrayVec<InterruptId, VECTORS>>,
}

impl Default for Storm {
    fn default() -> Self {
        Self {
            counts: [const { AtomicU32::new(0) }; VECTORS],
            since: AtomicU64::new(0),
            until: AtomicU64::new(u64::MAX),
            held: Mutex::default(),
        }
    }
}

impl Storm {
    /// Counts an arrival; `true` where the budget is spent. Only handlers of the LP itself count.
    #[inline]
    pub fn count(&self, vector: u8) -> bool {
        let count = &self.counts[usize::from(vector)];
        let arrivals = count.load(Ordering::Relaxed) + 1;
        count.store(arrivals, Ordering::Relaxed);
        arrivals >= INTERRUPT_BUDGET
    }

    /// When the LP must look here again.
    pub(crate) fn until(&self) -> u64 {
        self.until.load(Ordering::Relaxed)
    }

    fn begin_period(&self, now: u64) {
        self.since.store(now, Ordering::Relaxed);
        for count in &self.counts {
            count.store(0, Ordering::Relaxed);
        }
    }
}

impl<M: Machine> Kernel<M> {
    /// Some vector of this LP has spent its budget: holds its interrupt back, if that took less than a period.
    #[cold]
    pub(crate) fn hold_storms(&self, index: LpIndex, lp: &Lp) {
        let storm = &lp.storm;
        let now = self.machine.now();
        let since = storm.since.load(Ordering::Relaxed);
        if now.wrapping_sub(since) >= self.period {
            storm.begin_period(now);
            return;
        }
        for (vector, count) in (0..=u8::MAX).zip(&storm.counts) {
            if count.load(Ordering::Relaxed) >= INTERRUPT_BUDGET {
                count.store(0, Ordering::Relaxed);
                self.hold(index, lp, Vector(vector));
            }
        }
        if !storm.held.lock().is_empty() {
            let end = since.wrapping_add(self.period);
            storm.until.store(end, Ordering::Relaxed);
        }
    }

    fn hold(&self, index: LpIndex, lp: &Lp, vector: Vector) {
        let mut devices = self.devices.lock();
        let Some(delivery) = self.arrivals.look_up(index, vector) else {
            return;
        };
        let mut held = lp.storm.held.lock();
        // Where nothing remaps it, nothing can hold it back either.
        if !held.is_full() && devices.hold_interrupt(delivery.interrupt, true).is_ok() {
            let _ = held.try_push(delivery.interrupt);
        }
    }

    /// A new period: what was held back goes through again, and arrives once, because it may have been raised meanwhile.
    #[cold]
    pub(crate) fn release_storms(&self, lp: &Lp) {
        let storm = &lp.storm;
        storm.until.store(u64::MAX, Ordering::Relaxed);
        storm.begin_period(self.machine.now());
        let held = core::mem::take(&mut *storm.held.lock());
        for id in held {
            let mut devices = self.devices.lock();
            // It may be gone meanwhile, and its name somebody else's, who is not held back.
            let found = devices.interrupt_from(id.0 as u16);
            let Some((info, _)) = found.filter(|(info, _)| info.id == id && info.held) else {
                continue;
            };
            // Refused where the device is in no domain: then it goes through when the device enters one.
            let _ = devices.hold_interrupt(id, false);
            // Under the lock, so that the VP is still the one that the interrupt is for.
            self.interrupt_vp(VpSlot(info.target.vp.0 as u16), info.target.vector.0);
        }
    }

    /// The handler's side of an arrival past the budget.
    #[cold]
    pub(crate) fn over_budget(&self, lp: LpIndex) {
        if let Some(lp) = self.lps.get(usize::from(lp.0)) {
            lp.chores.fetch_or(chore::STORM, Ordering::Relaxed);
        }
    }
}
