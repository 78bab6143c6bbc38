//! Interrupts left for a VP in memory, in the form that processors take them from by themselves: Intel SDM volume 3, section
//! "posted-interrupt processing"; Intel Virtualization Technology for Directed I/O, "Posted Interrupt Descriptor (PID)".

use core::sync::atomic::{AtomicU64, Ordering};

use address::{ApicId, Vector};
use bitfield_struct::bitfield;

/// Whom hardware that posts tells of it.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Notification {
    /// Somebody was told, and has not looked yet.
    pub outstanding: bool,
    /// Nobody is to be told.
    pub suppressed: bool,
    #[bits(14)]
    _reserved_2: u16,
    /// Vector that tells it.
    pub vector: u8,
    _reserved_24: u8,
    /// x2APIC id of the processor that is told.
    pub destination: u32,
}

/// The descriptor. Everything in it is atomic: processors and remapping hardware write it too.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Posted {
    /// One bit per vector; then the [`Notification`]; the rest is reserved.
    words: [AtomicU64; 8],
}

/// Word of the notification.
const NOTIFICATION: usize = 4;

const _: () = assert!(size_of::<Posted>() == 64);

impl Posted {
    /// Leaves a vector.
    #[inline]
    pub fn post(&self, vector: Vector) {
        let word = usize::from(vector.0 >> 6);
        self.words[word].fetch_or(1 << (vector.0 & 63), Ordering::Relaxed);
    }

    /// Takes the vectors `64 * word` to `64 * word + 63`, as bits.
    #[inline]
    pub fn take(&self, word: usize) -> u64 {
        self.words[word & 3].swap(0, Ordering::Relaxed)
    }

    /// Forgets all that was left.
    pub fn clear(&self) {
        self.take_outstanding();
        for word in &self.words[..NOTIFICATION] {
            word.store(0, Ordering::Relaxed);
        }
    }

    /// Has hardware that posts tell `lp` by this vector from now on.
    pub fn aim(&self, vector: Vector, lp: ApicId) {
        let aimed = Notification::new()
            .with_vector(vector.0)
            .with_destination(lp.0);
        // What is outstanding stays so; the rest is nobody's but the caller's.
        let outstanding = |old| u64::from(Notification::from_bits(old).outstanding());
        let _ = self.words[NOTIFICATION].fetch_update(Ordering::AcqRel, Ordering::Acquire, |old| {
            Some(aimed.into_bits() | outstanding(old))
        });
    }

    /// Whether hardware has posted something since the last time that this, or a processor in the guest, looked. Ask before
    /// [`Posted::take`].
    pub fn take_outstanding(&self) -> bool {
        let told = Notification::new().with_outstanding(true).into_bits();
        let old = self.words[NOTIFICATION].fetch_and(!told, Ordering::AcqRel);
        Notification::from_bits(old).outstanding()
    }

    /// The same, without having looked.
    pub fn is_outstanding(&self) -> bool {
        let now = self.words[NOTIFICATION].load(Ordering::Acquire);
        Notification::from_bits(now).outstanding()
    }

    /// All of it, as hardware knows it.
    pub const fn words(&self) -> &[AtomicU64; 8] {
        &self.words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_descriptor_has_these_raw_values() {
        let posted = Posted::default();
        posted.post(Vector(0x41));
        posted.post(Vector(0xff));
        posted.aim(Vector(0xf3), ApicId(0x0102_0304));
        let words = posted.words.each_ref().map(|it| it.load(Ordering::Relaxed));
        assert_eq!(words, [0, 2, 0, 1 << 63, 0x0102_0304_00f3_0000, 0, 0, 0]);
        assert_eq!(Notification::new().with_suppressed(true).into_bits(), 2);
        assert_eq!((posted.take(1), posted.take(1)), (2, 0));
    }

    #[test]
    fn what_hardware_said_is_heard_once_and_outlives_a_new_aim() {
        let posted = Posted::default();
        posted.words[NOTIFICATION].store(1, Ordering::Relaxed);
        posted.aim(Vector(0x30), ApicId(1));
        assert!(posted.is_outstanding() && posted.take_outstanding());
        assert!(!posted.take_outstanding());
        assert_eq!(
            posted.words[NOTIFICATION].load(Ordering::Relaxed),
            1 << 32 | 0x30 << 16
        );
    }
}
