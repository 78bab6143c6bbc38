//! The software half of device interrupts: (LP, vector) to (VP, vector), one load.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use address::{LpIndex, Vector};

/// A VP, as the kernel names it to this crate: any 32-bit number that finds it without a search.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(transparent)]
pub struct VpRef(pub u32);

/// Name of a device interrupt: below 2^22. A name is not used again before its flush is confirmed (invariant 2).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(transparent)]
pub struct InterruptId(pub u32);

/// What an LP does with a vector that it was interrupted by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Delivery {
    /// The VP to raise it on.
    pub vp: VpRef,
    /// The vector to raise there.
    pub vector: Vector,
    /// Whether it is level-triggered: the VP's end of interrupt must reach the pin.
    pub level: bool,
    /// Whose interrupt it is, for the counters.
    pub interrupt: InterruptId,
}

const PRESENT: u64 = 1 << 63;
const LEVEL: u64 = 1 << 62;
const ID_SHIFT: u32 = 40;
const ID_MASK: u64 = (1 << 22) - 1;
const VECTOR_SHIFT: u32 = 32;

impl Delivery {
    const fn encode(self) -> u64 {
        let level = if self.level { LEVEL } else { 0 };
        let id = (self.interrupt.0 as u64 & ID_MASK) << ID_SHIFT;
        PRESENT | level | id | (self.vector.0 as u64) << VECTOR_SHIFT | self.vp.0 as u64
    }

    const fn decode(raw: u64) -> Option<Self> {
        if raw & PRESENT == 0 {
            return None;
        }
        Some(Self {
            vp: VpRef(raw as u32),
            vector: Vector((raw >> VECTOR_SHIFT) as u8),
            level: raw & LEVEL != 0,
            interrupt: InterruptId((raw >> ID_SHIFT & ID_MASK) as u32),
        })
    }
}

/// For each LP, what each of the 256 vectors means. Read by interrupt handlers without a lock; written by
/// [`Devices`](crate::Devices) only. A clone is the same table.
#[derive(Clone, Debug)]
pub struct SoftwareTable {
    lps: Arc<[[AtomicU64; 256]]>,
    /// How often each device interrupt has arrived, by its name.
    arrivals: Arc<[AtomicU64]>,
}

impl SoftwareTable {
    /// A table for this many LPs in which no vector means anything, and for this many device interrupts.
    #[must_use]
    pub fn new(lps: u16, interrupts: u16) -> Self {
        Self {
            lps: (0..lps)
                .map(|_| [const { AtomicU64::new(0) }; 256])
                .collect(),
            arrivals: (0..interrupts).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Number of LPs.
    #[must_use]
    pub fn lps(&self) -> u16 {
        self.lps.len() as u16
    }

    /// What the LP does with a vector; `None` where it belongs to no device interrupt (a stray: count, end, drop).
    #[inline]
    #[must_use]
    pub fn look_up(&self, lp: LpIndex, vector: Vector) -> Option<Delivery> {
        let slot = self
            .lps
            .get(usize::from(lp.0))?
            .get(usize::from(vector.0))?;
        Delivery::decode(slot.load(Ordering::Acquire))
    }

    /// As [`Self::look_up`], for a vector that the LP has just taken: counted for its interrupt.
    #[inline]
    #[must_use]
    pub fn arrive(&self, lp: LpIndex, vector: Vector) -> Option<Delivery> {
        let delivery = self.look_up(lp, vector)?;
        if let Some(arrivals) = self.arrivals.get(delivery.interrupt.0 as usize) {
            arrivals.fetch_add(1, Ordering::Relaxed);
        }
        Some(delivery)
    }

    /// How often an interrupt has arrived since it was made.
    #[must_use]
    pub fn arrivals(&self, id: InterruptId) -> u64 {
        let arrivals = self.arrivals.get(id.0 as usize);
        arrivals.map_or(0, |arrivals| arrivals.load(Ordering::Relaxed))
    }

    /// A name is a new interrupt's: nothing has arrived yet.
    pub(crate) fn forget_arrivals(&self, id: InterruptId) {
        if let Some(arrivals) = self.arrivals.get(id.0 as usize) {
            arrivals.store(0, Ordering::Relaxed);
        }
    }

    pub(crate) fn set(&self, lp: LpIndex, vector: Vector, delivery: Option<Delivery>) {
        let raw = delivery.map_or(0, Delivery::encode);
        if let Some(lp) = self.lps.get(usize::from(lp.0))
            && let Some(slot) = lp.get(usize::from(vector.0))
        {
            slot.store(raw, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOME: Delivery = Delivery {
        vp: VpRef(0xdead_beef),
        vector: Vector(0xa5),
        level: true,
        interrupt: InterruptId(0x3f_0f0f),
    };

    #[test]
    fn a_delivery_comes_back_as_it_went_in() {
        assert_eq!(Delivery::decode(SOME.encode()), Some(SOME));
        let edge = Delivery {
            level: false,
            ..SOME
        };
        assert_eq!(Delivery::decode(edge.encode()), Some(edge));
        assert_eq!(Delivery::decode(0), None);
    }

    #[test]
    fn a_vector_means_nothing_until_set_and_after_it_is_cleared() {
        let table = SoftwareTable::new(2, 4);
        let (lp, vector) = (LpIndex(1), Vector(0x31));
        assert_eq!(table.look_up(lp, vector), None);
        table.set(lp, vector, Some(SOME));
        assert_eq!(table.look_up(lp, vector), Some(SOME));
        assert_eq!(table.look_up(LpIndex(0), vector), None);
        table.set(lp, vector, None);
        assert_eq!(table.look_up(lp, vector), None);
    }

    #[test]
    fn arrivals_are_counted_by_interrupt_wherever_it_arrives() {
        let table = SoftwareTable::new(2, 4);
        let of = |id| Delivery {
            interrupt: InterruptId(id),
            ..SOME
        };
        table.set(LpIndex(0), Vector(0x31), Some(of(1)));
        table.set(LpIndex(1), Vector(0x40), Some(of(1)));
        table.set(LpIndex(1), Vector(0x31), Some(of(9)));
        for (lp, vector) in [(0, 0x31), (1, 0x40), (1, 0x31)] {
            assert!(table.arrive(LpIndex(lp), Vector(vector)).is_some());
        }
        assert_eq!(table.arrive(LpIndex(0), Vector(0x40)), None);
        let counts = [0, 1, 9].map(|id| table.arrivals(InterruptId(id)));
        assert_eq!(
            counts,
            [0, 2, 0],
            "a name past the end is delivered all the same"
        );
        table.forget_arrivals(InterruptId(1));
        assert_eq!(table.arrivals(InterruptId(1)), 0);
    }

    #[test]
    fn an_lp_that_does_not_exist_has_no_deliveries() {
        let table = SoftwareTable::new(1, 4);
        table.set(LpIndex(1), Vector(0x31), Some(SOME));
        assert_eq!(table.look_up(LpIndex(1), Vector(0x31)), None);
    }
}
