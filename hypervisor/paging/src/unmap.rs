//! Unmapping.

use address::{PAGE_SHIFT, PageSize, Spa};

use crate::format::{entry_shift, index, page_size, table_shift};
use crate::tree::{InputCheck, Tree};
use crate::{ENTRIES, FrameSource, TableMemory, UnmapError, Unmapped};

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

/// Where a walk towards an address stopped: at a leaf table, an empty entry or a page.
struct Stop {
    /// Tables on the way, by level minus one.
    path: [Spa; 5],
    /// Level of the last one.
    level: u8,
    /// Its entry; zero at level 1, where the caller reads for itself.
    entry: u64,
}

impl Stop {
    const fn table(&self, level: u8) -> Spa {
        self.path[level as usize - 1]
    }
}

impl Tree {
    /// As [`PageTable::unmap`](crate::PageTable::unmap).
    pub(crate) fn unmap<M: TableMemory, P: FrameSource>(
        &mut self,
        memory: &M,
        pool: &mut P,
        start: u64,
        pages: u64,
    ) -> (Unmapped, Result<(), UnmapError>) {
        self.unmap_with(memory, pool, start, pages, |_| ())
    }

    /// As [`PageTable::unmap_with`](crate::PageTable::unmap_with).
    pub(crate) fn unmap_with<M: TableMemory, P: FrameSource>(
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
            let stop = self.descend(memory, address);
            if stop.level == 1 {
                let count = left.min((ENTRIES - index(address, 1)) as u64) as usize;
                token.removed += self.empty(memory, stop.table(1), address, count, &mut removed);
                self.pass(memory, &stop, address, count, &mut token);
                continue;
            }
            match self.unmap_above(memory, pool, &stop, address, left, &mut token) {
                Ok(Some(page)) => removed(page),
                Ok(None) => (),
                Err(error) => return (token, Err(error)),
            }
        }
        (token, Ok(()))
    }

    /// Walks towards `address`.
    fn descend<M: TableMemory>(&self, memory: &M, address: u64) -> Stop {
        let mut stop = Stop {
            path: [self.root; 5],
            level: self.shape.levels,
            entry: 0,
        };
        let mut table = self.root;
        while stop.level > 1 {
            let entry = memory.read(table, index(address, stop.level));
            if entry == 0 || self.layout.is_page(entry) {
                stop.entry = entry;
                break;
            }
            table = self.layout.target(entry);
            stop.level -= 1;
            stop.path[usize::from(stop.level) - 1] = table;
        }
        stop
    }

    /// Zeroes `count` entries of a leaf table from the one for `address`; returns how many mapped a page.
    #[inline]
    fn empty<M: TableMemory>(
        &self,
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
                    spa: self.layout.target(entry),
                    size: PageSize::Size4K,
                });
            }
            address += 1 << PAGE_SHIFT;
        }
        gone
    }

    /// Counts entries of a leaf table that are done.
    fn pass<M: TableMemory>(
        &mut self,
        memory: &M,
        stop: &Stop,
        address: u64,
        count: usize,
        token: &mut Unmapped,
    ) {
        self.clean(memory, stop.table(1), index(address, 1), count);
        token.pages += count as u64;
        self.retire(memory, stop, token);
    }

    /// Does the part of the range that one entry above level 1 covers: passes it where it is empty, takes its page out, or splits
    /// the page where only a part of it goes.
    fn unmap_above<M: TableMemory, P: FrameSource>(
        &mut self,
        memory: &M,
        pool: &mut P,
        stop: &Stop,
        address: u64,
        left: u64,
        token: &mut Unmapped,
    ) -> Result<Option<Removed>, UnmapError> {
        let &Stop { level, entry, .. } = stop;
        if entry == 0 {
            let inside = (address & ((1 << entry_shift(level)) - 1)) >> PAGE_SHIFT;
            token.pages += left.min((1 << (entry_shift(level) - PAGE_SHIFT)) - inside);
            self.retire(memory, stop, token);
            return Ok(None);
        }
        let table = stop.table(level);
        let size = page_size(level);
        let within = largest_within(address, left, level);
        if within < level {
            self.split(memory, pool, table, entry, address, level, within)?;
            let whole = address >> PAGE_SHIFT & !(size.frames() - 1);
            token.was_split(whole, size.frames());
            return Ok(None);
        }
        self.publish(memory, table, index(address, level), 0);
        token.removed += size.frames();
        token.pages += size.frames();
        self.retire(memory, stop, token);
        let spa = self.layout.target(entry).as_u64() & !(size.bytes() - 1);
        Ok(Some(Removed {
            address,
            spa: Spa::new(spa),
            size,
        }))
    }

    /// Takes out the tables, from where the walk stopped up, whose whole span this call has just passed, as far as the token has
    /// room for their frames. Such a table is empty: its pages went, and its tables were retired, or else the token was full and
    /// still is.
    fn retire<M: TableMemory>(&mut self, memory: &M, stop: &Stop, token: &mut Unmapped) {
        let end = token.first + token.pages;
        for own in stop.level..self.shape.levels {
            let span = 1u64 << (table_shift(own) - PAGE_SHIFT);
            if end & (span - 1) != 0 || token.pages < span || token.retired.is_full() {
                return;
            }
            let inside = (end - 1) << PAGE_SHIFT;
            self.publish(memory, stop.table(own + 1), index(inside, own + 1), 0);
            self.tables -= 1;
            if token.retired.try_push(stop.table(own)).is_err() {
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
