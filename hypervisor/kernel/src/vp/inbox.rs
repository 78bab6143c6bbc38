//! What other LPs and interrupt handlers may do to a VP: leave something in its inbox.
//!
//! Everything here is one atomic operation, so that it works from an interrupt handler and needs no lock. The LP that
//! runs the VP empties the inbox before every entry.

use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use address::Vector;
use guest::apic::Posted;

/// Requests that are not interrupts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u32)]
pub enum Request {
    /// Some interrupt bit is set; which words have one stands in the four bits from [`WORDS`] on.
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

/// First of the bits that say which word of the interrupts has bits.
const WORDS: u32 = 16;

/// Requests to one VP.
#[derive(Debug, Default)]
pub struct Inbox {
    interrupts: Posted,
    requests: AtomicU32,
    startup: AtomicU8,
}

impl Inbox {
    /// Leaves a request.
    pub fn request(&self, request: Request) {
        self.requests.fetch_or(request as u32, Ordering::Release);
    }

    /// Leaves an edge-triggered interrupt.
    pub fn interrupt(&self, vector: u8) {
        self.interrupts.post(Vector(vector));
        let flags = Request::Interrupts as u32 | 1 << (WORDS + u32::from(vector >> 6));
        self.requests.fetch_or(flags, Ordering::Release);
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

    /// Takes the interrupts that the requests speak of, lowest vector first.
    #[inline]
    pub fn take_interrupts(&self, requests: Requests, mut accept: impl FnMut(u8)) {
        let mut words = requests.0 >> WORDS & 0xf;
        while words != 0 {
            let word = words.trailing_zeros();
            words &= words - 1;
            let mut bits = self.interrupts.take(word as usize);
            while bits != 0 {
                accept((word * 64 + bits.trailing_zeros()) as u8);
                bits &= bits - 1;
            }
        }
    }

    /// Whatever hardware has posted since the last time is from now on as if [`Inbox::interrupt`] had left it.
    #[cold]
    pub fn collect(&self) {
        if self.interrupts.take_outstanding() {
            let flags = Request::Interrupts as u32 | 0xf << WORDS;
            self.requests.fetch_or(flags, Ordering::Release);
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
        self.interrupts.clear();
    }

    /// Where interrupts are left. A processor may take them from there before [`Inbox::take_interrupts`] does, which then
    /// finds none.
    #[must_use]
    pub const fn posted(&self) -> &Posted {
        &self.interrupts
    }
}

/// Requests that were taken out of an inbox.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Requests(u32);

impl Requests {
    /// Whether there are interrupts, and nothing else.
    #[inline]
    #[must_use]
    pub const fn only_interrupts(self) -> bool {
        self.0 & ((1 << WORDS) - 1) == Request::Interrupts as u32
    }

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
        inbox.take_interrupts(requests, |vector| vectors.push(vector));
        assert_eq!(vectors, [0x31, 0xff]);
        assert_eq!(inbox.startup_vector(), 9);
        assert!(inbox.is_empty());
    }

    #[test]
    fn what_hardware_posted_is_taken_once_it_was_told() {
        let inbox = Inbox::default();
        let [words @ .., notification] = inbox.posted().words().first_chunk::<5>().unwrap();
        words[3].store(1 << 63 | 1, Ordering::Relaxed);
        inbox.collect();
        assert!(inbox.is_empty(), "nobody was told");
        notification.store(1, Ordering::Relaxed);
        inbox.collect();
        assert!(!inbox.posted().is_outstanding());
        let mut vectors = Vec::new();
        inbox.take_interrupts(inbox.take(), |vector| vectors.push(vector));
        assert_eq!(vectors, [0xc0, 0xff]);
        inbox.collect();
        assert!(inbox.is_empty());
    }
}
