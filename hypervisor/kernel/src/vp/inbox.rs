//! What other LPs and interrupt handlers may do to a VP: leave something in its inbox.
//!
//! Everything here is one atomic operation, so that it works from an interrupt handler and needs no lock. The LP that
//! runs the VP empties the inbox before every entry.

use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

/// Requests that are not interrupts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u32)]
pub enum Request {
    /// Some interrupt bit is set.
    Interrupts = 1,
    /// An NMI.
    Nmi = 2,
    /// INIT.
    Init = 4,
    /// A start-up IPI; its vector is in the inbox too.
    Startup = 8,
    /// Stop running: somebody wants the VP's state, or its end.
    Suspend = 0x10,
    /// The VP's timer may have expired.
    Timer = 0x20,
    /// The SynIC has a message to deliver.
    Message = 0x40,
}

/// Requests to one VP.
#[derive(Debug, Default)]
pub struct Inbox {
    requests: AtomicU32,
    startup: AtomicU8,
    interrupts: [AtomicU64; 4],
}

impl Inbox {
    /// Leaves a request.
    pub fn request(&self, request: Request) {
        self.requests.fetch_or(request as u32, Ordering::Release);
    }

    /// Leaves an edge-triggered interrupt.
    pub fn interrupt(&self, vector: u8) {
        self.interrupts[usize::from(vector >> 6)].fetch_or(1 << (vector & 63), Ordering::Relaxed);
        self.request(Request::Interrupts);
    }

    /// Leaves a start-up IPI; one that nobody took yet is replaced.
    pub fn startup(&self, vector: u8) {
        self.startup.store(vector, Ordering::Relaxed);
        self.request(Request::Startup);
    }

    /// Whether nothing waits.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requests.load(Ordering::Relaxed) == 0
    }

    /// Takes all requests that are no interrupts, and whether there are interrupts.
    pub fn take(&self) -> Requests {
        Requests(self.requests.swap(0, Ordering::Acquire))
    }

    /// Takes the interrupts, lowest vector first.
    pub fn take_interrupts(&self, mut accept: impl FnMut(u8)) {
        for (word, bits) in self.interrupts.iter().enumerate() {
            if bits.load(Ordering::Relaxed) == 0 {
                continue;
            }
            let mut bits = bits.swap(0, Ordering::Relaxed);
            while bits != 0 {
                accept((word * 64) as u8 + bits.trailing_zeros() as u8);
                bits &= bits - 1;
            }
        }
    }

    /// Vector of the start-up IPI.
    #[must_use]
    pub fn startup_vector(&self) -> u8 {
        self.startup.load(Ordering::Relaxed)
    }

    /// Forgets everything: for a slot that gets a new VP.
    pub fn clear(&self) {
        self.take();
        self.take_interrupts(|_| ());
    }
}

/// Requests that were taken out of an inbox.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Requests(u32);

impl Requests {
    /// Whether this one is among them.
    #[must_use]
    pub const fn has(self, request: Request) -> bool {
        self.0 & request as u32 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use std::vec::Vec;

    #[test]
    fn what_was_left_is_taken_once() {
        let inbox = Inbox::default();
        assert!(inbox.is_empty());
        inbox.interrupt(0x31);
        inbox.interrupt(0xff);
        inbox.interrupt(0x31);
        inbox.startup(9);
        let requests = inbox.take();
        assert!(requests.has(Request::Interrupts) && requests.has(Request::Startup));
        assert!(!requests.has(Request::Nmi));
        let mut vectors = Vec::new();
        inbox.take_interrupts(|vector| vectors.push(vector));
        assert_eq!(vectors, [0x31, 0xff]);
        assert_eq!(inbox.startup_vector(), 9);
        assert!(inbox.is_empty());
    }
}
