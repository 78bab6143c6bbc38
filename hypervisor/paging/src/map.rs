//! Mapping.

use address::{PAGE_SHIFT, PageSize, Spa};

use crate::format::{index, page_size};
use crate::tree::{InputCheck, Tree};
use crate::{ENTRIES, FrameSource, MapError, TableMemory, spare};

impl Tree {
    /// As [`PageTable::map_pages`](crate::PageTable::map_pages), with the bits of a leaf.
    pub(crate) fn map_pages<M: TableMemory, P: FrameSource>(
        &mut self,
        memory: &M,
        pool: &mut P,
        start: u64,
        pages: &[u64],
        leaf: Option<u64>,
    ) -> (usize, Result<(), MapError>) {
        let leaf = match self.check_map(start, pages.len() as u64, leaf) {
            Ok(leaf) => leaf,
            Err(error) => return (0, Err(error)),
        };
        let mut done = 0;
        let mut rest = pages;
        while !rest.is_empty() {
            let address = start + ((done as u64) << PAGE_SHIFT);
            let room = ENTRIES - index(address, 1);
            let (now, later) = rest.split_at(room.min(rest.len()));
            let (count, result) = self.fill(memory, pool, address, leaf, now.iter().copied());
            done += count;
            if result.is_err() {
                return (done, result);
            }
            rest = later;
        }
        (done, Ok(()))
    }

    /// As [`PageTable::map_range`](crate::PageTable::map_range), with the bits of a leaf.
    pub(crate) fn map_range<M: TableMemory, P: FrameSource>(
        &mut self,
        memory: &M,
        pool: &mut P,
        start: u64,
        target: Spa,
        pages: u64,
        leaf: Option<u64>,
    ) -> (u64, Result<(), MapError>) {
        let leaf = match self.check_range(start, target, pages, leaf) {
            Ok(leaf) => leaf,
            Err(error) => return (0, Err(error)),
        };
        let mut done = 0;
        while done < pages {
            let address = start + (done << PAGE_SHIFT);
            let page = target.page() + done;
            let left = pages - done;
            let largest = self.largest_step(address | page << PAGE_SHIFT, left);
            let (count, result) = self.map_step(memory, pool, address, page, left, largest, leaf);
            done += count;
            if result.is_err() {
                return (done, result);
            }
        }
        (done, Ok(()))
    }

    /// As [`PageTable::map`](crate::PageTable::map), with the bits of a leaf.
    pub(crate) fn map<M: TableMemory, P: FrameSource>(
        &mut self,
        memory: &M,
        pool: &mut P,
        start: u64,
        target: Spa,
        size: PageSize,
        leaf: Option<u64>,
    ) -> (u64, Result<(), MapError>) {
        if start & (size.bytes() - 1) != 0 {
            return (0, Err(MapError::Misaligned));
        }
        if !target.is_aligned(size) {
            return (0, Err(MapError::Target));
        }
        self.map_range(memory, pool, start, target, size.frames(), leaf)
    }

    /// Checks what can be checked before anything changes; returns the bits of a leaf, if the format has them.
    fn check_map(&self, start: u64, pages: u64, leaf: Option<u64>) -> Result<u64, MapError> {
        match self.check_input(start, pages) {
            InputCheck::Good => leaf.ok_or(MapError::Rights),
            InputCheck::Misaligned => Err(MapError::Misaligned),
            InputCheck::OutOfRange => Err(MapError::OutOfRange),
        }
    }

    fn check_range(
        &self,
        start: u64,
        target: Spa,
        pages: u64,
        leaf: Option<u64>,
    ) -> Result<u64, MapError> {
        let leaf = self.check_map(start, pages, leaf)?;
        let limit = self.target_limit();
        if target.page_offset() != 0 || target.page() > limit || pages > limit - target.page() {
            return Err(MapError::Target);
        }
        Ok(leaf)
    }

    /// Level of the largest page that may start at both addresses (their bits or-ed) and has `left` 4 KiB pages to cover.
    fn largest_step(&self, addresses: u64, left: u64) -> u8 {
        let mut level = self.shape.largest.level();
        while level > 1 {
            let size = page_size(level);
            if addresses & (size.bytes() - 1) == 0 && left >= size.frames() {
                break;
            }
            level -= 1;
        }
        level
    }

    /// Maps one large page, or a run of small ones up to the end of their table.
    #[allow(
        clippy::too_many_arguments,
        reason = "one step of map_range, with its state"
    )]
    fn map_step<M: TableMemory, P: FrameSource>(
        &mut self,
        memory: &M,
        pool: &mut P,
        address: u64,
        page: u64,
        left: u64,
        largest: u8,
        leaf: u64,
    ) -> (u64, Result<(), MapError>) {
        let mut level = largest;
        while level > 1 {
            match self.map_large(memory, pool, address, page, level, leaf) {
                Ok(true) => return (page_size(level).frames(), Ok(())),
                Ok(false) => level -= 1,
                Err(error) => return (0, Err(error)),
            }
        }
        let room = (ENTRIES - index(address, 1)) as u64;
        let (count, result) = self.fill(memory, pool, address, leaf, page..page + left.min(room));
        (count as u64, result)
    }

    /// Maps one large page; `false` where a table is in its place, which may be empty but cannot go without a flush.
    fn map_large<M: TableMemory, P: FrameSource>(
        &mut self,
        memory: &M,
        pool: &mut P,
        address: u64,
        page: u64,
        level: u8,
        leaf: u64,
    ) -> Result<bool, MapError> {
        let table = self.table_for(memory, pool, address, level)?;
        let index = index(address, level);
        match memory.read(table, index) {
            0 => {
                self.publish(
                    memory,
                    table,
                    index,
                    self.layout.leaf(leaf, level) | page << PAGE_SHIFT,
                );
                Ok(true)
            }
            entry if self.layout.is_page(entry) => Err(MapError::AlreadyMapped),
            _ => Ok(false),
        }
    }

    /// Writes 4 KiB pages into one leaf table, from the entry for `address`; `pages` must not leave the table.
    #[inline]
    fn fill<M: TableMemory, P: FrameSource>(
        &mut self,
        memory: &M,
        pool: &mut P,
        address: u64,
        leaf: u64,
        pages: impl Iterator<Item = u64> + Clone,
    ) -> (usize, Result<(), MapError>) {
        let limit = self.target_limit();
        // Checked before a table is made for it, so that a refusal leaves no empty table.
        if pages.clone().next().is_some_and(|page| page >= limit) {
            return (0, Err(MapError::Target));
        }
        let table = match self.table_for(memory, pool, address, 1) {
            Ok(table) => table,
            Err(error) => return (0, Err(error)),
        };
        let first = index(address, 1);
        let mut at = first;
        let mut result = Ok(());
        for page in pages {
            if page >= limit {
                result = Err(MapError::Target);
                break;
            }
            if memory.read(table, at) != 0 {
                result = Err(MapError::AlreadyMapped);
                break;
            }
            memory.write(table, at, leaf | page << PAGE_SHIFT);
            at += 1;
        }
        self.clean(memory, table, first, at - first);
        (at - first, result)
    }

    /// The table of `level` that covers `address`; made, with those above it, where it is missing.
    fn table_for<M: TableMemory, P: FrameSource>(
        &mut self,
        memory: &M,
        pool: &mut P,
        address: u64,
        level: u8,
    ) -> Result<Spa, MapError> {
        let mut table = self.root;
        let mut at = self.shape.levels;
        while at > level {
            let entry = memory.read(table, index(address, at));
            if entry == 0 {
                return self.grow(memory, pool, table, address, at, level);
            }
            if self.layout.is_page(entry) {
                return Err(MapError::AlreadyMapped);
            }
            table = self.layout.target(entry);
            at -= 1;
        }
        Ok(table)
    }

    /// Hangs the tables from level `at - 1` down to `level` below the empty entry of `parent` (of level `at`). The last store
    /// makes them visible, whole. Returns the lowest one.
    fn grow<M: TableMemory, P: FrameSource>(
        &mut self,
        memory: &M,
        pool: &mut P,
        parent: Spa,
        address: u64,
        at: u8,
        level: u8,
    ) -> Result<Spa, MapError> {
        let spare = spare::take(pool, at - level).ok_or(MapError::OutOfFrames)?;
        self.tables += spare.len() as u64;
        let mut below: Option<Spa> = None;
        let mut lowest = parent;
        for (&frame, own) in spare.iter().rev().zip(level..at) {
            memory.zero(frame);
            match below {
                Some(next) => memory.write(
                    frame,
                    index(address, own),
                    self.layout.table(own) | next.as_u64(),
                ),
                None => lowest = frame,
            }
            self.clean(memory, frame, 0, ENTRIES);
            below = Some(frame);
        }
        if let Some(top) = below {
            let entry = self.layout.table(at) | top.as_u64();
            self.publish(memory, parent, index(address, at), entry);
        }
        Ok(lowest)
    }
}
