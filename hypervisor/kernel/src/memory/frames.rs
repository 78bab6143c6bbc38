//! Who owns a frame, and who shares it: the first check of every call that names memory.
//!
//! MapGpaPages *shares* frames of the root with one child at a time; DepositMemory *takes* them. A frame that somebody
//! maps cannot be taken, and a frame that one child maps cannot be given to another.

use alloc::vec::Vec;

use arrayvec::ArrayVec;

use super::frame::{Frame, Holder, Owner};
use super::runs::{Run, without_window};
use crate::hypercall::removed::Entry;

/// Why a frame cannot be used as asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refused {
    /// It is not RAM, or not the root's.
    NotYours,
    /// Another partition maps it, or a count is at its end.
    InUse,
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
        let apart = ram
            .iter()
            .flat_map(|&(first, count)| without_window(first, count));
        for (first, count) in apart.filter(|&(_, count)| count > 0).take(MAX_RUNS) {
            runs.push(Run {
                first,
                count,
                offset,
            });
            offset += count as usize;
        }
        let mut frames = Vec::with_capacity(offset);
        frames.resize(offset, Frame::new());
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
                frame.set_owner(Owner::Kept);
            }
        }
    }

    #[inline]
    fn index(&self, page: u64) -> Option<usize> {
        self.runs.iter().find_map(|run| run.index(page))
    }

    #[inline]
    fn frame_mut(&mut self, page: u64) -> Option<&mut Frame> {
        let index = self.index(page)?;
        self.frames.get_mut(index)
    }

    fn frame(&self, page: u64) -> Option<Frame> {
        self.frames.get(self.index(page)?).copied()
    }

    /// Whether the page is RAM, whoever owns it.
    #[must_use]
    pub fn is_ram(&self, page: u64) -> bool {
        self.index(page).is_some()
    }

    /// Owner of a page of RAM.
    #[must_use]
    pub fn owner(&self, page: u64) -> Option<Owner> {
        self.frame(page).map(|frame| frame.owner())
    }

    /// Whether a holder's SLAT maps the page.
    #[must_use]
    pub fn is_shared_with(&self, page: u64, holder: Holder) -> bool {
        self.frame(page)
            .is_some_and(|frame| frame.holder() == holder && frame.slat() > 0)
    }

    /// Counts one more mapping of each of the root's frames in a child's SLAT; returns how many may be mapped, and why no
    /// more.
    pub fn share_all(&mut self, pages: &[u64], holder: Holder) -> (usize, Result<(), Refused>) {
        let fresh = Frame::shared_once(holder);
        let mut done = 0;
        while let Some(&page) = pages.get(done) {
            let Some((first, frames)) = self.run_of(page) else {
                return (done, Err(Refused::NotYours));
            };
            // Lists seldom leave a run: this is the loop that counts.
            for &page in &pages[done..] {
                let Some(frame) = frames.get_mut(page.wrapping_sub(first) as usize) else {
                    break;
                };
                if *frame == Frame::new() {
                    *frame = fresh;
                } else if let Err(refused) = Self::share_again(frame, holder) {
                    return (done, Err(refused));
                }
                done += 1;
            }
        }
        (done, Ok(()))
    }

    /// The run that a page lies in: its first page number, and its frames.
    fn run_of(&mut self, page: u64) -> Option<(u64, &mut [Frame])> {
        let run = self.runs.iter().find(|run| run.index(page).is_some())?;
        let frames = self
            .frames
            .get_mut(run.offset..run.offset + run.count as usize)?;
        Some((run.first, frames))
    }

    /// Takes one mapping of each page back that a holder's SLAT had; what is no RAM goes to `mmio`.
    pub fn unshare_all(&mut self, entries: &[Entry], holder: Holder, mut mmio: impl FnMut(u64)) {
        let mut rest = entries;
        while let Some((entry, later)) = rest.split_first() {
            let usual = self.unshare_usual(rest, holder);
            if usual > 0 {
                rest = &rest[usual..];
                continue;
            }
            for page in entry.page()..entry.page() + entry.frames() {
                if self.unshare(page) == Unshared::NotRam {
                    mmio(page);
                }
            }
            rest = later;
        }
    }

    /// As [`Frames::unshare_all`], of single pages of one run that the holder mapped once; returns how many those were.
    fn unshare_usual(&mut self, entries: &[Entry], holder: Holder) -> usize {
        let usual = Frame::shared_once(holder);
        let Some((first, frames)) = entries.first().and_then(|entry| self.run_of(entry.page()))
        else {
            return 0;
        };
        for (done, entry) in entries.iter().enumerate() {
            match frames.get_mut(entry.page().wrapping_sub(first) as usize) {
                Some(frame) if *frame == usual && entry.is_small() => *frame = Frame::new(),
                _ => return done,
            }
        }
        entries.len()
    }

    /// Counts one more mapping of the root's frame in a child's SLAT.
    ///
    /// # Errors
    /// Where the frame is not the root's, or another child maps it.
    pub fn share(&mut self, page: u64, holder: Holder) -> Result<(), Refused> {
        let frame = self.frame_mut(page).ok_or(Refused::NotYours)?;
        Self::share_again(frame, holder)
    }

    fn share_again(frame: &mut Frame, holder: Holder) -> Result<(), Refused> {
        if frame.owner() != Owner::Root {
            return Err(Refused::NotYours);
        }
        let others = frame.holder() != Holder::NOBODY && frame.holder() != holder;
        if others || frame.slat() == u16::MAX {
            return Err(Refused::InUse);
        }
        frame.set_holder(holder);
        frame.set_slat(frame.slat() + 1);
        Ok(())
    }

    /// Takes one mapping back. The page may be anything that was mapped.
    #[inline]
    pub fn unshare(&mut self, page: u64) -> Unshared {
        let Some(frame) = self.frame_mut(page) else {
            return Unshared::NotRam;
        };
        if *frame == Frame::shared_once(frame.holder()) {
            *frame = Frame::new();
            return Unshared::Last;
        }
        frame.set_slat(frame.slat().saturating_sub(1));
        frame.forget_unused_holder();
        if frame.holder() == Holder::NOBODY {
            Unshared::Last
        } else {
            Unshared::Still
        }
    }

    /// Counts one more mapping in a device domain of the partition that has the frame: for a child, one whose SLAT maps it.
    ///
    /// # Errors
    /// Where the partition does not have the frame.
    pub fn pin(&mut self, page: u64, holder: Holder, is_root: bool) -> Result<(), Refused> {
        let frame = self.frame_mut(page).ok_or(Refused::NotYours)?;
        let has_it = if is_root {
            frame.owner() == Owner::Root
        } else {
            frame.holder() == holder && frame.slat() > 0
        };
        if !has_it {
            return Err(Refused::NotYours);
        }
        let others = frame.holder() != Holder::NOBODY && frame.holder() != holder;
        if others || frame.domain() == u16::MAX {
            return Err(Refused::InUse);
        }
        frame.set_holder(holder);
        frame.set_domain(frame.domain() + 1);
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

    /// Takes one domain mapping back.
    pub fn unpin(&mut self, page: u64) {
        let Some(frame) = self.frame_mut(page) else {
            return;
        };
        let holder = frame.holder();
        frame.set_domain(frame.domain().saturating_sub(1));
        frame.forget_unused_holder();
        self.count_pins(holder, -1);
    }

    /// Whether a domain maps the page, so that it must stay in the SLAT.
    #[must_use]
    pub fn is_pinned(&self, page: u64) -> bool {
        self.frame(page).is_some_and(|frame| frame.domain() > 0)
    }

    /// Takes an unshared frame of the root for a partition's deposits.
    ///
    /// # Errors
    /// Where it is not the root's, or somebody maps it.
    pub fn deposit(&mut self, page: u64, holder: Holder) -> Result<(), Refused> {
        let frame = self.frame_mut(page).ok_or(Refused::NotYours)?;
        if frame.owner() != Owner::Root {
            return Err(Refused::NotYours);
        }
        if frame.holder() != Holder::NOBODY {
            return Err(Refused::InUse);
        }
        *frame = Frame::new().with_owner(Owner::Deposit).with_holder(holder);
        Ok(())
    }

    /// Gives a frame of the deposits back to the root.
    pub fn withdraw(&mut self, page: u64) {
        if let Some(frame) = self.frame_mut(page) {
            debug_assert_eq!(frame.owner(), Owner::Deposit);
            *frame = Frame::new();
        }
    }

    /// Puts a frame out of everybody's reach, for good.
    pub fn quarantine(&mut self, page: u64) {
        if let Some(frame) = self.frame_mut(page) {
            frame.set_owner(Owner::Quarantined);
        }
    }
}

/// What became of a page that was unmapped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unshared {
    /// It is no RAM: MMIO.
    NotRam,
    /// It is still mapped elsewhere, or pinned.
    Still,
    /// Only the root has it now.
    Last,
}

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
        assert_eq!(frames.unshare(3), Unshared::Still);
        assert_eq!(frames.unshare(3), Unshared::Last);
        assert_eq!(frames.share(3, B), Ok(()));
    }

    #[test]
    fn dma_18_the_interrupt_window_is_never_ram() {
        let mut frames = Frames::new(&[(0xfed00, 0x400)]);
        assert_eq!(frames.share(0xfedff, A), Ok(()));
        assert_eq!(frames.share(0xfee00, A), Err(Refused::NotYours));
        assert_eq!(frames.share(0xfeeff, A), Err(Refused::NotYours));
        assert_eq!(
            frames.share_all(&[0xfef00, 0xfee80], A),
            (1, Err(Refused::NotYours))
        );
        assert_eq!(without_window(0, 16), [(0, 16), (0xfef00, 0)]);
        assert_eq!(
            without_window(0x10_0000, 16),
            [(0xfee00, 0), (0x10_0000, 16)]
        );
    }

    #[test]
    fn a_list_is_shared_as_far_as_it_may_be() {
        let mut frames = frames();
        frames.share(5, B).unwrap();
        assert_eq!(
            frames.share_all(&[1, 0x101, 5, 2], A),
            (2, Err(Refused::InUse))
        );
        assert_eq!(frames.share_all(&[2, 0x50], A), (1, Err(Refused::NotYours)));
        assert_eq!(frames.share_all(&[1, 2, 3], A), (3, Ok(())));
        assert_eq!(frames.unshare(1), Unshared::Still);
        assert!(frames.is_shared_with(1, A) && !frames.is_shared_with(0x102, A));
        assert_eq!(frames.unshare(0x50), Unshared::NotRam);
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
        assert_eq!(frames.unshare(1), Unshared::Still, "still pinned");
        assert_eq!(frames.share(1, B), Err(Refused::InUse));
        frames.unpin(1);
        assert_eq!(frames.share(1, B), Ok(()));
    }
}
