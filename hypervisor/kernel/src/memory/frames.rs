//! Who owns a frame, and who shares it: the first check of every call that names memory.
//!
//! MapGpaPages *shares* frames of the root with one child at a time; DepositMemory *takes* them. A frame that somebody
//! maps cannot be taken, and a frame that one child maps cannot be given to another.

use alloc::vec::Vec;

use arrayvec::ArrayVec;

/// Slot of a partition in the kernel's table, 1 to 63; 0 stands for nobody.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(transparent)]
pub struct Holder(pub u8);

impl Holder {
    /// Nobody.
    pub const NOBODY: Self = Self(0);
}

/// To whom a frame belongs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Owner {
    /// The hypervisor, since boot.
    Kept,
    /// The root partition.
    Root,
    /// The hypervisor, as a deposit of the holder.
    Deposit,
    /// Nobody: hardware that failed could still reach it.
    Quarantined,
}

/// State of one 4 KiB frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Frame {
    owner: Owner,
    holder: Holder,
    /// Mappings in the holder's SLAT.
    slat: u16,
    /// Mappings in the holder's own device domains, the identity domain not counted.
    domain: u16,
}

/// Why a frame cannot be used as asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refused {
    /// It is not RAM, or not the root's.
    NotYours,
    /// Another partition maps it, or a count is at its end.
    InUse,
}

/// A run of RAM.
#[derive(Clone, Copy, Debug)]
struct Run {
    first: u64,
    count: u64,
    offset: usize,
}

/// Runs of RAM that a machine may have; further ones are left alone.
pub const MAX_RUNS: usize = 32;

/// The state of every frame of RAM.
#[derive(Debug)]
pub struct Frames {
    runs: ArrayVec<Run, MAX_RUNS>,
    frames: Vec<Frame>,
    /// Domain mappings by holder, so that a partition without any is spared the search.
    pins: [u64; crate::MAX_PARTITIONS],
}

impl Frames {
    /// A table over these runs of RAM (first page number, pages; ascending, apart), all owned by the root. Allocates, and so
    /// is for boot only.
    #[must_use]
    pub fn new(ram: &[(u64, u64)]) -> Self {
        let mut runs = ArrayVec::new();
        let mut offset = 0;
        for &(first, count) in ram.iter().take(MAX_RUNS) {
            runs.push(Run {
                first,
                count,
                offset,
            });
            offset += count as usize;
        }
        let frame = Frame {
            owner: Owner::Root,
            holder: Holder::NOBODY,
            slat: 0,
            domain: 0,
        };
        let mut frames = Vec::with_capacity(offset);
        frames.resize(offset, frame);
        Self {
            runs,
            frames,
            pins: [0; crate::MAX_PARTITIONS],
        }
    }

    /// Marks frames that the hypervisor keeps for good.
    pub fn keep(&mut self, first: u64, count: u64) {
        for page in first..first.saturating_add(count) {
            if let Some(frame) = self.frame_mut(page) {
                frame.owner = Owner::Kept;
            }
        }
    }

    #[inline]
    fn index(&self, page: u64) -> Option<usize> {
        for run in &self.runs {
            let inside = page.wrapping_sub(run.first);
            if inside < run.count {
                return Some(run.offset + inside as usize);
            }
        }
        None
    }

    #[inline]
    fn frame_mut(&mut self, page: u64) -> Option<&mut Frame> {
        let index = self.index(page)?;
        self.frames.get_mut(index)
    }

    fn frame(&self, page: u64) -> Option<&Frame> {
        self.frames.get(self.index(page)?)
    }

    /// Whether the page is RAM, whoever owns it.
    #[must_use]
    pub fn is_ram(&self, page: u64) -> bool {
        self.index(page).is_some()
    }

    /// Owner of a page of RAM.
    #[must_use]
    pub fn owner(&self, page: u64) -> Option<Owner> {
        self.frame(page).map(|frame| frame.owner)
    }

    /// Whether a holder's SLAT maps the page.
    #[must_use]
    pub fn is_shared_with(&self, page: u64, holder: Holder) -> bool {
        self.frame(page)
            .is_some_and(|frame| frame.holder == holder && frame.slat > 0)
    }

    /// Counts one more mapping of the root's frame in a child's SLAT.
    ///
    /// # Errors
    /// Where the frame is not the root's, or another child maps it.
    #[inline]
    pub fn share(&mut self, page: u64, holder: Holder) -> Result<(), Refused> {
        let frame = self.frame_mut(page).ok_or(Refused::NotYours)?;
        if frame.owner as u8 != Owner::Root as u8 {
            return Err(Refused::NotYours);
        }
        if (frame.holder.0 != 0 && frame.holder.0 != holder.0) || frame.slat == u16::MAX {
            return Err(Refused::InUse);
        }
        frame.holder = holder;
        frame.slat += 1;
        Ok(())
    }

    /// Takes one mapping back; `true` where it was the last.
    #[inline]
    pub fn unshare(&mut self, page: u64) -> bool {
        let Some(frame) = self.frame_mut(page) else {
            return false;
        };
        frame.slat = frame.slat.saturating_sub(1);
        if frame.slat == 0 && frame.domain == 0 {
            frame.holder = Holder::NOBODY;
            return true;
        }
        false
    }

    /// Counts one more mapping in a device domain of the partition that has the frame: for a child, one whose SLAT maps it.
    ///
    /// # Errors
    /// Where the partition does not have the frame.
    pub fn pin(&mut self, page: u64, holder: Holder, is_root: bool) -> Result<(), Refused> {
        let frame = self.frame_mut(page).ok_or(Refused::NotYours)?;
        let has_it = if is_root {
            frame.owner == Owner::Root
        } else {
            frame.holder == holder && frame.slat > 0
        };
        if !has_it {
            return Err(Refused::NotYours);
        }
        if (frame.holder != Holder::NOBODY && frame.holder != holder) || frame.domain == u16::MAX {
            return Err(Refused::InUse);
        }
        frame.holder = holder;
        frame.domain += 1;
        self.count_pins(holder, 1);
        Ok(())
    }

    fn count_pins(&mut self, holder: Holder, change: i64) {
        if let Some(pins) = self.pins.get_mut(usize::from(holder.0)) {
            *pins = pins.saturating_add_signed(change);
        }
    }

    /// Whether domains of the holder's own map anything.
    #[must_use]
    pub fn holds_pins(&self, holder: Holder) -> bool {
        self.pins
            .get(usize::from(holder.0))
            .is_some_and(|&pins| pins > 0)
    }

    /// Takes all mappings of a page back, of a partition that has no domains any more; `true` where it had it.
    pub fn release(&mut self, page: u64) -> bool {
        let Some(frame) = self.frame_mut(page) else {
            return false;
        };
        let (holder, pinned) = (frame.holder, i64::from(frame.domain));
        let had = holder != Holder::NOBODY;
        *frame = Frame {
            holder: Holder::NOBODY,
            slat: 0,
            domain: 0,
            ..*frame
        };
        self.count_pins(holder, -pinned);
        had
    }

    /// Takes one domain mapping back.
    pub fn unpin(&mut self, page: u64) {
        let Some(frame) = self.frame_mut(page) else {
            return;
        };
        let holder = frame.holder;
        frame.domain = frame.domain.saturating_sub(1);
        if frame.slat == 0 && frame.domain == 0 {
            frame.holder = Holder::NOBODY;
        }
        self.count_pins(holder, -1);
    }

    /// Whether a domain maps the page, so that it must stay in the SLAT.
    #[must_use]
    pub fn is_pinned(&self, page: u64) -> bool {
        self.frame(page).is_some_and(|frame| frame.domain > 0)
    }

    /// Takes an unshared frame of the root for a partition's deposits.
    ///
    /// # Errors
    /// Where it is not the root's, or somebody maps it.
    pub fn deposit(&mut self, page: u64, holder: Holder) -> Result<(), Refused> {
        let frame = self.frame_mut(page).ok_or(Refused::NotYours)?;
        if frame.owner != Owner::Root {
            return Err(Refused::NotYours);
        }
        if frame.holder != Holder::NOBODY {
            return Err(Refused::InUse);
        }
        frame.owner = Owner::Deposit;
        frame.holder = holder;
        Ok(())
    }

    /// Gives a frame of the deposits back to the root.
    pub fn withdraw(&mut self, page: u64) {
        if let Some(frame) = self.frame_mut(page) {
            debug_assert_eq!(frame.owner, Owner::Deposit);
            frame.owner = Owner::Root;
            frame.holder = Holder::NOBODY;
        }
    }

    /// Puts a frame out of everybody's reach, for good.
    pub fn quarantine(&mut self, page: u64) {
        if let Some(frame) = self.frame_mut(page) {
            frame.owner = Owner::Quarantined;
        }
    }
}

const _: () = assert!(size_of::<Frame>() <= 16, "1/256 of RAM at most");

#[cfg(test)]
mod tests {
    use super::*;

    const A: Holder = Holder(2);
    const B: Holder = Holder(3);

    fn frames() -> Frames {
        let mut frames = Frames::new(&[(0, 16), (0x100, 16)]);
        frames.keep(0x108, 2);
        frames
    }

    #[test]
    fn mem_10_a_frame_is_given_to_one_child_at_a_time() {
        let mut frames = frames();
        assert_eq!(frames.share(3, A), Ok(()));
        assert_eq!(frames.share(3, A), Ok(()));
        assert_eq!(frames.share(3, B), Err(Refused::InUse));
        assert!(!frames.unshare(3));
        assert!(frames.unshare(3));
        assert_eq!(frames.share(3, B), Ok(()));
    }

    #[test]
    fn hc_18_what_the_hypervisor_keeps_and_what_is_no_ram_is_nobodys() {
        let mut frames = frames();
        assert_eq!(frames.share(0x108, A), Err(Refused::NotYours));
        assert_eq!(frames.deposit(0x109, A), Err(Refused::NotYours));
        assert_eq!(frames.share(0x50, A), Err(Refused::NotYours));
        assert_eq!(frames.share(u64::MAX, A), Err(Refused::NotYours));
        assert_eq!(frames.share(0x107, A), Ok(()));
    }

    #[test]
    fn hc_14_a_mapped_frame_is_not_deposited_and_a_deposit_not_mapped() {
        let mut frames = frames();
        frames.share(1, A).unwrap();
        assert_eq!(frames.deposit(1, B), Err(Refused::InUse));
        frames.unshare(1);
        assert_eq!(frames.deposit(1, B), Ok(()));
        assert_eq!(frames.deposit(1, B), Err(Refused::NotYours));
        assert_eq!(frames.share(1, A), Err(Refused::NotYours));
        frames.withdraw(1);
        assert_eq!(frames.share(1, A), Ok(()));
    }

    #[test]
    fn a_domain_pins_only_what_its_owner_has() {
        let mut frames = frames();
        assert_eq!(frames.pin(1, A, false), Err(Refused::NotYours));
        frames.share(1, A).unwrap();
        assert_eq!(frames.pin(1, A, false), Ok(()));
        assert!(frames.is_pinned(1));
        assert!(!frames.unshare(1), "still pinned");
        assert_eq!(frames.share(1, B), Err(Refused::InUse));
        frames.unpin(1);
        assert_eq!(frames.share(1, B), Ok(()));
    }
}
