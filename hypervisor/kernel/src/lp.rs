//! Logical processors: which VPs are ready there, and who runs.
//!
//! All of it is atomic: interrupt handlers and other LPs make VPs ready, only the LP itself chooses one.

use core::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering};

use address::ApicId;

use crate::MAX_VPS;
use crate::vp::VpSlot;

/// No VP.
pub const NOBODY: u16 = u16::MAX;

const WORDS: usize = MAX_VPS / 64;

/// A set of VP slots.
#[derive(Debug, Default)]
pub struct SlotSet([AtomicU64; WORDS]);

impl SlotSet {
    /// Puts a VP in.
    pub fn insert(&self, vp: VpSlot) {
        self.0[vp.word()].fetch_or(vp.bit(), Ordering::Release);
    }

    /// Takes a VP out; `true` where it was in.
    pub fn remove(&self, vp: VpSlot) -> bool {
        self.0[vp.word()].fetch_and(!vp.bit(), Ordering::AcqRel) & vp.bit() != 0
    }

    /// Whether a VP is in.
    pub fn contains(&self, vp: VpSlot) -> bool {
        self.0[vp.word()].load(Ordering::Acquire) & vp.bit() != 0
    }

    /// Those that are in, in slot order.
    pub fn iter(&self) -> impl Iterator<Item = VpSlot> {
        self.0.iter().enumerate().flat_map(|(word, bits)| {
            let mut bits = bits.load(Ordering::Acquire);
            core::iter::from_fn(move || {
                let first = bits.trailing_zeros();
                bits &= bits.checked_sub(1)?;
                Some(VpSlot((word * 64) as u16 + first as u16))
            })
        })
    }

    /// Whether none is in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| word.load(Ordering::Acquire) == 0)
    }

    /// The first VP after `last` in slot order, around the end: round robin.
    pub fn next_after(&self, last: VpSlot) -> Option<VpSlot> {
        let start = usize::from(last.0) + 1;
        for step in 0..=WORDS {
            let word = (start / 64 + step) % WORDS;
            let mut bits = self.0[word].load(Ordering::Acquire);
            if step == 0 {
                bits &= u64::MAX.checked_shl(start as u32 % 64).unwrap_or(0);
            }
            if bits != 0 {
                return Some(VpSlot((word * 64) as u16 + bits.trailing_zeros() as u16));
            }
        }
        None
    }
}

/// What an interrupt handler leaves to do.
pub mod chore {
    /// The one-shot timer fired.
    pub const TIMER: u32 = 1;
    /// A unit has recorded a fault.
    pub const FAULT: u32 = 2;
    /// A device interrupt has spent its budget.
    pub const STORM: u32 = 4;
    /// Hardware has posted something.
    pub const POSTED: u32 = 8;
}

/// State of one LP that others may see.
#[derive(Debug)]
pub struct Lp {
    /// Its local APIC id.
    pub apic_id: ApicId,
    /// VPs that could run.
    pub ready: SlotSet,
    /// VPs that an interrupt or a message woke, to be run next, each at most once per slice.
    pub woken: SlotSet,
    /// VPs bound here.
    pub bound: SlotSet,
    /// VPs here that remapping hardware may post to.
    pub posted: SlotSet,
    /// VPs here whose intercept message waits for the root VP of this LP.
    pub senders: SlotSet,
    /// The VP whose message was delivered last.
    pub served: AtomicU16,
    /// In guest mode: `entries << 8 | partition slot`; low byte 0 otherwise.
    pub in_guest: AtomicU64,
    /// Slot of the VP that runs here, [`NOBODY`] for none: it needs no waking.
    pub running: AtomicU16,
    /// The running VP should give way.
    pub preempt: AtomicBool,
    /// What interrupt handlers have left to do after the exit: bits of [`chore`].
    pub chores: AtomicU32,
    /// Arrivals of device interrupts, and those that are held back.
    pub storm: crate::storm::Storm,
    /// The flush generation of each partition slot that this LP has seen.
    pub flushed: [AtomicU64; crate::MAX_PARTITIONS],
}

impl Lp {
    /// An LP without VPs.
    #[must_use]
    pub fn new(apic_id: ApicId) -> Self {
        Self {
            apic_id,
            ready: SlotSet::default(),
            woken: SlotSet::default(),
            bound: SlotSet::default(),
            posted: SlotSet::default(),
            senders: SlotSet::default(),
            served: AtomicU16::new(0),
            in_guest: AtomicU64::new(0),
            running: AtomicU16::new(NOBODY),
            preempt: AtomicBool::new(false),
            chores: AtomicU32::new(0),
            storm: crate::storm::Storm::default(),
            flushed: [const { AtomicU64::new(0) }; crate::MAX_PARTITIONS],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_robin_goes_around() {
        let set = SlotSet::default();
        assert_eq!(set.next_after(VpSlot(0)), None);
        for slot in [3, 64, 255] {
            set.insert(VpSlot(slot));
        }
        assert_eq!(set.next_after(VpSlot(0)), Some(VpSlot(3)));
        assert_eq!(set.next_after(VpSlot(3)), Some(VpSlot(64)));
        assert_eq!(set.next_after(VpSlot(64)), Some(VpSlot(255)));
        assert_eq!(set.next_after(VpSlot(255)), Some(VpSlot(3)));
        assert!(set.remove(VpSlot(64)) && !set.remove(VpSlot(64)));
        assert_eq!(set.next_after(VpSlot(63)), Some(VpSlot(255)));
    }

    #[test]
    fn each_is_in_once() {
        let set = SlotSet::default();
        let all = [0, 63, 64, 200, 255].map(VpSlot);
        all.iter().for_each(|&slot| set.insert(slot));
        assert!(set.iter().eq(all));
    }

    #[test]
    fn the_only_one_follows_itself() {
        let set = SlotSet::default();
        set.insert(VpSlot(70));
        assert_eq!(set.next_after(VpSlot(70)), Some(VpSlot(70)));
    }
}
