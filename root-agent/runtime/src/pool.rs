//! Page frames with an owner: RAM for children, rings and buffers for devices, deposits.

use alloc::vec::Vec;
use core::arch::asm;

use spin::Mutex;

use crate::memory::{Outside, PAGE};

/// Sets of pages, as sorted extents `start..end` that do not touch.
#[derive(Debug, Default)]
struct Extents(Vec<(u64, u64)>);

impl Extents {
    const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds `start..end`, which must not be in the set.
    fn insert(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        let at = self.0.partition_point(|extent| extent.0 < start);
        self.0.insert(at, (start, end));
        self.join(at);
        if at > 0 {
            self.join(at - 1);
        }
    }

    /// Joins the extent at `at` with the next one where they touch.
    fn join(&mut self, at: usize) {
        if let (Some(&(_, end)), Some(&(next, next_end))) = (self.0.get(at), self.0.get(at + 1))
            && end == next
        {
            self.0[at].1 = next_end;
            self.0.remove(at + 1);
        }
    }

    /// Takes `start..end` out; false, with nothing changed, where a part of it is not in the set.
    fn remove(&mut self, start: u64, end: u64) -> bool {
        let Some(at) = self
            .0
            .iter()
            .position(|extent| extent.0 <= start && end <= extent.1)
        else {
            return false;
        };
        let (first, last) = self.0.remove(at);
        for (start, end) in [(end, last), (first, start)] {
            if start < end {
                self.0.insert(at, (start, end));
            }
        }
        true
    }

    /// Takes the lowest `bytes` at a multiple of `align` that end at or below `limit`.
    fn take(&mut self, bytes: u64, align: u64, limit: u64) -> Option<u64> {
        let start = self.0.iter().find_map(|&(first, last)| {
            let start = first.checked_next_multiple_of(align)?;
            let end = start.checked_add(bytes)?;
            (end <= last.min(limit)).then_some(start)
        })?;
        self.remove(start, start + bytes).then_some(start)
    }

    fn bytes(&self) -> u64 {
        self.0.iter().map(|(start, end)| end - start).sum()
    }
}

static FREE: Mutex<Extents> = Mutex::new(Extents::new());
static LENT: Mutex<Extents> = Mutex::new(Extents::new());

fn with_free<T>(f: impl FnOnce(&mut Extents) -> T) -> T {
    crate::cpu::without_interrupts(|| f(&mut FREE.lock()))
}

/// Adds RAM to the pool: whole pages of `start..end`.
pub(crate) fn give(start: u64, end: u64) {
    let (start, end) = (start.next_multiple_of(PAGE), end & !(PAGE - 1));
    // Page 0 stays out: a frame at address 0 looks like none.
    with_free(|free| free.insert(start.max(PAGE), end));
}

/// Bytes that are free.
#[must_use]
pub fn free_bytes() -> u64 {
    with_free(|free| free.bytes())
}

/// Owned page frames, one after the other. They return to the pool when dropped. A device or a child that can still
/// reach them must be stopped first: what it writes afterwards lands in somebody else's frames.
#[derive(Debug)]
pub struct Frames {
    start: u64,
    pages: u64,
}

impl Frames {
    /// Takes `pages` frames at a multiple of `align` bytes (a power of two, at least 4096); zeroed. `None` where the
    /// pool has none such.
    #[must_use]
    pub fn allocate(pages: u64, align: u64) -> Option<Self> {
        Self::allocate_below(pages, align, u64::MAX)
    }

    /// As [`Self::allocate`], all below the address `limit`.
    #[must_use]
    pub fn allocate_below(pages: u64, align: u64, limit: u64) -> Option<Self> {
        let frames = Self::take(pages, align, limit)?;
        let _ = frames.fill(0, frames.bytes(), 0);
        Some(frames)
    }

    /// As [`Self::allocate`], with whatever the frames held before: for probes of what a fresh partition finds.
    #[must_use]
    pub fn allocate_as_found(pages: u64) -> Option<Self> {
        Self::take(pages, PAGE, u64::MAX)
    }

    fn take(pages: u64, align: u64, limit: u64) -> Option<Self> {
        let bytes = pages.checked_mul(PAGE).filter(|&bytes| bytes > 0)?;
        let align = align.max(PAGE).checked_next_power_of_two()?;
        let start = with_free(|free| free.take(bytes, align, limit))?;
        Some(Self { start, pages })
    }

    /// Physical address of the first byte; for a device in the identity domain also its IOVA.
    #[must_use]
    pub const fn address(&self) -> u64 {
        self.start
    }

    /// Number of frames.
    #[must_use]
    pub const fn pages(&self) -> u64 {
        self.pages
    }

    /// Bytes.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.pages * PAGE
    }

    fn span(&self, offset: u64, length: u64) -> Result<*mut u8, Outside> {
        match offset.checked_add(length) {
            Some(end) if end <= self.bytes() => Ok((self.start + offset) as *mut u8),
            _ => Err(Outside),
        }
    }

    /// Copies bytes out.
    pub fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<(), Outside> {
        let from = self.span(offset, bytes.len() as u64)?;
        // SAFETY: the span is inside owned RAM, of which no reference exists.
        unsafe { copy(from, bytes.as_mut_ptr(), bytes.len()) };
        Ok(())
    }

    /// Copies bytes in.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Outside> {
        let to = self.span(offset, bytes.len() as u64)?;
        // SAFETY: as for `read`.
        unsafe { copy(bytes.as_ptr(), to, bytes.len()) };
        Ok(())
    }

    /// Sets `length` bytes.
    pub fn fill(&self, offset: u64, length: u64, byte: u8) -> Result<(), Outside> {
        let to = self.span(offset, length)?;
        // SAFETY: the span is inside owned RAM, of which no reference exists.
        unsafe {
            asm!("rep stosq", "mov rcx, {rest}", "rep stosb", rest = in(reg) length % 8,
                inout("rcx") length / 8 => _, inout("rdi") to => _,
                in("rax") u64::from(byte) * 0x0101_0101_0101_0101, options(nostack, preserves_flags));
        }
        Ok(())
    }

    /// Reads four bytes at a multiple of four, once.
    pub fn read_u32(&self, offset: u64) -> Result<u32, Outside> {
        let from = self.span(aligned(offset, 4)?, 4)?.cast::<u32>();
        // SAFETY: inside owned RAM, aligned.
        Ok(unsafe { from.read_volatile() })
    }

    /// Writes four bytes at a multiple of four, once.
    pub fn write_u32(&self, offset: u64, value: u32) -> Result<(), Outside> {
        let to = self.span(aligned(offset, 4)?, 4)?.cast::<u32>();
        // SAFETY: inside owned RAM, aligned.
        unsafe { to.write_volatile(value) };
        Ok(())
    }

    /// Reads eight bytes at a multiple of eight, once.
    pub fn read_u64(&self, offset: u64) -> Result<u64, Outside> {
        let from = self.span(aligned(offset, 8)?, 8)?.cast::<u64>();
        // SAFETY: inside owned RAM, aligned.
        Ok(unsafe { from.read_volatile() })
    }

    /// Writes eight bytes at a multiple of eight, once.
    pub fn write_u64(&self, offset: u64, value: u64) -> Result<(), Outside> {
        let to = self.span(aligned(offset, 8)?, 8)?.cast::<u64>();
        // SAFETY: inside owned RAM, aligned.
        unsafe { to.write_volatile(value) };
        Ok(())
    }

    /// Parts the frames: the first `pages`, and the rest. `Err` gives them back where there are not more than that.
    pub fn split(self, pages: u64) -> Result<(Self, Self), Self> {
        if pages == 0 || pages >= self.pages {
            return Err(self);
        }
        let rest = Self {
            start: self.start + pages * PAGE,
            pages: self.pages - pages,
        };
        let first = Self {
            start: self.start,
            pages,
        };
        core::mem::forget(self);
        Ok((first, rest))
    }

    /// Gives the frames away, to the hypervisor as a deposit; [`reclaim`] takes them back. Returns their first page
    /// number.
    pub fn lend(self) -> u64 {
        let (start, end) = (self.start, self.start + self.bytes());
        core::mem::forget(self);
        crate::cpu::without_interrupts(|| LENT.lock().insert(start, end));
        start / PAGE
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        with_free(|free| free.insert(self.start, self.start + self.bytes()));
    }
}

/// Takes lent frames back, once the hypervisor has returned them; `None` where they were not lent.
#[must_use]
pub fn reclaim(first_page: u64, pages: u64) -> Option<Frames> {
    let start = first_page.checked_mul(PAGE)?;
    let end = start.checked_add(pages.checked_mul(PAGE)?)?;
    let lent = pages > 0 && crate::cpu::without_interrupts(|| LENT.lock().remove(start, end));
    lent.then_some(Frames { start, pages })
}

fn aligned(offset: u64, size: u64) -> Result<u64, Outside> {
    if offset.is_multiple_of(size) {
        Ok(offset)
    } else {
        Err(Outside)
    }
}

/// Copies bytes that others may be changing: eight at a time, by instructions that the compiler does not look into.
///
/// # Safety
/// Both ranges are mapped, and no Rust object lies in the target but what the caller owns.
pub(crate) unsafe fn copy(from: *const u8, to: *mut u8, length: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!("rep movsq", "mov rcx, {rest}", "rep movsb", rest = in(reg) length % 8,
            inout("rcx") length / 8 => _, inout("rsi") from => _, inout("rdi") to => _,
            options(nostack, preserves_flags));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_end_where_they_should() {
        for length in 0..20 {
            let from: Vec<u8> = (1..=20).collect();
            let mut to = [0_u8; 20];
            // SAFETY: both have 20 bytes.
            unsafe { copy(from.as_ptr(), to.as_mut_ptr(), length) };
            assert_eq!(to[..length], from[..length]);
            assert!(to[length..].iter().all(|&byte| byte == 0));
        }
    }

    #[test]
    fn extents_join_and_part() {
        let mut set = Extents::new();
        set.insert(0x4000, 0x6000);
        set.insert(0x1000, 0x2000);
        set.insert(0x2000, 0x4000);
        assert_eq!(set.0, [(0x1000, 0x6000)]);
        assert!(set.remove(0x2000, 0x3000));
        assert_eq!(set.0, [(0x1000, 0x2000), (0x3000, 0x6000)]);
        assert!(!set.remove(0x1000, 0x4000));
        assert_eq!(set.bytes(), 0x4000);
    }

    #[test]
    fn taking_heeds_alignment_and_limit() {
        let mut set = Extents::new();
        set.insert(0x1000, 0x9000);
        assert_eq!(set.take(0x2000, 0x4000, u64::MAX), Some(0x4000));
        assert_eq!(set.take(0x2000, 0x1000, 0x2000), None);
        assert_eq!(set.take(0x3000, 0x1000, u64::MAX), Some(0x1000));
        assert_eq!(set.take(0x4000, 0x1000, u64::MAX), None);
        assert_eq!(set.take(u64::MAX, 0x1000, u64::MAX), None);
    }

    #[test]
    fn frames_that_were_not_lent_cannot_be_reclaimed() {
        assert!(reclaim(5, 1).is_none());
        assert!(reclaim(u64::MAX, 1).is_none());
        assert!(reclaim(5, 0).is_none());
    }
}
