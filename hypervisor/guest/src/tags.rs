//! Whose translations an LP's TLB holds under a partition's tag: Intel SDM volume 3, "Virtual-processor identifiers (VPIDs)"; AMD64
//! APM volume 2, 15.16, "TLB control".
//!
//! The VPs of a partition share its tag, and what a linear address means differs between them. So an LP forgets the tag's
//! linear translations when another VP of the same partition begins its turn, and keeps them when the same one comes back.

use core::sync::atomic::{AtomicU64, Ordering};

use address::Spa;

const PLACES: usize = 64;

/// The VP that used each tag last, on one LP. Tags that share a place only cost more flushes.
#[derive(Debug)]
pub struct LastUsers([AtomicU64; PLACES]);

impl Default for LastUsers {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; PLACES])
    }
}

impl LastUsers {
    /// A VP begins a turn; `vp` is a frame that it alone has, `new`: it never ran. Whether the translations of its tag are to
    /// be forgotten first. Only the LP itself may ask.
    #[must_use]
    pub fn begin(&self, tag: u16, vp: Spa, new: bool) -> bool {
        let name = vp.page() << 16 | u64::from(tag);
        let place = &self.0[usize::from(tag) % PLACES];
        let other = place.load(Ordering::Relaxed) != name;
        place.store(name, Ordering::Relaxed);
        other || new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Spa = Spa::new(0x10_0000);
    const OTHER: Spa = Spa::new(0x20_0000);

    #[test]
    fn tlb_11_only_who_comes_back_first_keeps_translations() {
        let users = LastUsers::default();
        assert!(users.begin(1, ONE, true));
        assert!(!users.begin(1, ONE, false), "nobody came between");
        assert!(users.begin(2, OTHER, true));
        assert!(!users.begin(1, ONE, false), "another partition's tag");
        assert!(users.begin(1, OTHER, false), "a sibling");
        assert!(users.begin(1, ONE, false), "after a sibling");
        assert!(users.begin(1, ONE, true), "a new VP in an old frame");
        assert!(
            users.begin(65, ONE, false) && users.begin(1, ONE, false),
            "a shared place"
        );
    }
}
