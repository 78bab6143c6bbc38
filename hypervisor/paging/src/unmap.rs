//! Unmapping.

use address::{PAGE_SHIFT, PageSize, Spa};

use crate::format::{entry_shift, index, page_size, table_shift};
use crate::table::InputCheck;
use crate::{ENTRIES, Format, FrameSource, PageTable, TableMemory, UnmapError, Unmapped};

/// One mapping that was taken out: a page, of whatever size.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Removed {
    /// First input address.
    pub address: u64,
    /// First physical address.
    pub spa: Spa,
    /// Size of the page.
    pub size: PageSize,
}

/// Tables on the way from the root to where a walk stopped, by level minus one.
type Path = [Spa; 5];

impl<F: Format> PageTable<F> {
    /// Takes `pages` 4 KiB input pages from `start` out of the table. Pages of the range that are not mapped are skipped. A
    /// large page of which only a part goes is split.
    ///
    /// The token says how many pages of the range are done and owes the flush for them, error or not: after an error the pages
    /// that it counts are gone and all others translate as before.
    pub fn unmap<M: TableMemory, P: FrameSource>(
        &mut self,
        memory: &M,
        pool: &mut P,
        start: u64,
        pages: u64,
    ) -> (Unmapped, Result<(), UnmapError>) {
        self.unmap_with(memory, pool, start, pages, |_| ())
    }

    /// As [`Self::unmap`], and tells `removed` each mapping that was taken out, in order. What it is told is still in reach of
    /// caches until the token is flushed.
    #[inline]
    pub fn unmap_with<M: TableMemory, P: FrameSource>(
        &mut self,
        memory: &M,
        pool: &mut P,
        start: u64,
        pages: u64,
        mut removed: impl FnMut(Removed),
    ) -> (Unmapped, Result<(), UnmapError>) {
        let mut token = Unmapped::nothing(start >> PAGE_SHIFT);
        match self.check_input(start, pages) {
            InputCheck::Good => (),
            InputCheck::Misaligned => return (token, Err(UnmapError::Misaligned)),
            InputCheck::OutOfRange => return (token, Err(UnmapError::OutOfRange)),
        }
        while token.pages < pages {
            let address = start + (token.pages << PAGE_SHIFT);
            let left = pages - token.pages;
            if let Err(error) =
                self.unmap_step(memory, pool, address, left, &mut token, &mut removed)
            {
                return (token, Err(error));
            }
        }
        (token, Ok(()))
    }

    /// Does the part of the range that one entry, or the rest of one leaf table, covers.
    #[inline]
    fn unmap_step<M: TableMemory, P: FrameSource>(
        &mut self,
        memory: &M,
        pool: &mut P,
        address: u64,
        left: u64,
        token: &mut Unmapped,
        removed: &mut impl FnMut(Removed),
    ) -> Result<(), UnmapError> {
        let (path, level, entry) = self.descend(memory, address);
        let table = path[usize::from(level) - 1];
        if level == 1 {
            let first = index(address, 1);
            let count = left.min((ENTRIES - first) as u64) as usize;
            token.removed += Self::empty(memory, table, address, count, removed);
            self.clean(memory, table, first, count);
            token.pages += count as u64;
        } else if entry == 0 {
            let inside = (address & ((1 << entry_shift(level)) - 1)) >> PAGE_SHIFT;
            token.pages += left.min((1 << (entry_shift(level) - PAGE_SHIFT)) - inside);
        } else {
            let size = page_size(level);
            let within = largest_within(address, left, level);
            if within < level {
                self.split(memory, pool, table, entry, address, level, within)?;
                let whole = address >> PAGE_SHIFT & !(size.frames() - 1);
                token.was_split(whole, size.frames());
                return Ok(());
            }
            self.publish(memory, table, index(address, level), 0);
            removed(Removed {
                address,
                spa: Spa::new(entry & F::ADDRESS & !(size.bytes() - 1)),
                size,
            });
            token.removed += size.frames();
            token.pages += size.frames();
        }
        self.retire(memory, &path, level, token);
        Ok(())
    }

    /// Walks towards `address` until a leaf table, an empty entry or a page: the tables passed, the level of the last one, and
    /// its entry (zero at level 1, where the caller reads for itself).
    #[inline]
    fn descend<M: TableMemory>(&self, memory: &M, address: u64) -> (Path, u8, u64) {
        let mut path = [self.root; 5];
        let mut level = self.shape.levels;
        let mut table = self.root;
        loop {
            path[usize::from(level) - 1] = table;
            if level == 1 {
                return (path, level, 0);
            }
            let entry = memory.read(table, index(address, level));
            if entry == 0 || F::is_page(entry, level) {
                return (path, level, entry);
            }
            table = Self::next(entry);
            level -= 1;
        }
    }

    /// Zeroes `count` entries of a leaf table from the one for `address`; returns how many mapped a page.
    #[inline]
    fn empty<M: TableMemory>(
        memory: &M,
        table: Spa,
        mut address: u64,
        count: usize,
        removed: &mut impl FnMut(Removed),
    ) -> u64 {
        let first = index(address, 1);
        let mut gone = 0;
        for at in first..first + count {
            let entry = memory.read(table, at);
            if entry != 0 {
                memory.write(table, at, 0);
                gone += 1;
                removed(Removed {
                    address,
                    spa: Self::next(entry),
                    size: PageSize::Size4K,
                });
            }
            address += 1 << PAGE_SHIFT;
        }
        gone
    }

    /// Takes out the tables, from `level` up, whose whole span this call has just passed, as far as the token has room for their
    /// frames. Such a table is empty: its pages went, and its tables were retired, or else the token was full and still is.
    #[inline]
    fn retire<M: TableMemory>(&mut self, memory: &M, path: &Path, level: u8, token: &mut Unmapped) {
        let end = token.first + token.pages;
        for own in level..self.shape.levels {
            let span = 1u64 << (table_shift(own) - PAGE_SHIFT);
            if end & (span - 1) != 0 || token.pages < span || token.retired.is_full() {
                return;
            }
            let table = path[usize::from(own) - 1];
            let inside = (end - 1) << PAGE_SHIFT;
            let parent = path[usize::from(own)];
            self.publish(memory, parent, index(inside, own + 1), 0);
            self.tables -= 1;
            if token.retired.try_push(table).is_err() {
                return;
            }
        }
    }
}

/// Largest level, at most `level`, of which a whole entry from `address` lies within `left` pages.
const fn largest_within(address: u64, left: u64, level: u8) -> u8 {
    let mut within = level;
    while within > 1 {
        let size = page_size(within);
        if address & (size.bytes() - 1) == 0 && left >= size.frames() {
            break;
        }
        within -= 1;
    }
    within
}
