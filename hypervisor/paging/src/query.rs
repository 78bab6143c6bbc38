//! Asking what an address translates to.

use address::{PageSize, Spa};

use crate::format::{entry_shift, index, page_size};
use crate::tree::Tree;
use crate::{Access, Format, TableMemory};

/// What one input address translates to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Translation {
    /// Physical address of exactly the byte that was asked about.
    pub spa: Spa,
    /// Size of the page that maps it.
    pub size: PageSize,
    /// What is allowed there.
    pub access: Access,
}

/// What the search for the next mapping came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Next {
    /// The first mapping that ends above where the search began: its address (the beginning of the search, where that lies
    /// inside it), and its translation.
    Page(u64, Translation),
    /// Nothing is mapped up to this address; the search goes on there.
    More(u64),
    /// Nothing is mapped up to the end.
    End,
}

/// Where a walk found a page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    spa: Spa,
    size: PageSize,
    entry: u64,
}

impl Found {
    /// What it means in a format.
    pub(crate) fn translation<F: Format>(self) -> Translation {
        Translation {
            spa: self.spa,
            size: self.size,
            access: F::access(self.entry),
        }
    }
}

impl Tree {
    /// The first mapped address from `from` on, in at most `steps` walks; without a translation, where nothing is mapped up to
    /// there.
    pub(crate) fn next_mapped<M: TableMemory>(
        &self,
        memory: &M,
        from: u64,
        steps: usize,
    ) -> Option<(u64, Option<Found>)> {
        let mut address = from;
        for _ in 0..steps {
            if address >> self.shape.input_bits != 0 {
                return None;
            }
            match self.walk(memory, address) {
                Ok(found) => return Some((address, Some(found))),
                // The last byte of the span that is empty, and one more; input widths end below 2^64.
                Err(level) => address = (address | ((1 << entry_shift(level)) - 1)) + 1,
            }
        }
        Some((address, None))
    }

    /// The page that maps an address; `None` where nothing does or the address leaves the input width.
    pub(crate) fn find<M: TableMemory>(&self, memory: &M, address: u64) -> Option<Found> {
        if address >> self.shape.input_bits != 0 {
            return None;
        }
        self.walk(memory, address).ok()
    }

    /// The page that maps an address within the input width, or the level of the empty entry at which the walk ends.
    fn walk<M: TableMemory>(&self, memory: &M, address: u64) -> Result<Found, u8> {
        let mut table = self.root;
        let mut level = self.shape.levels;
        loop {
            let entry = memory.read(table, index(address, level));
            if entry == 0 {
                return Err(level);
            }
            if level == 1 || self.layout.is_page(entry) {
                let inside = (1u64 << entry_shift(level)) - 1;
                let target = self.layout.target(entry).as_u64();
                return Ok(Found {
                    spa: Spa::new(target & !inside | address & inside),
                    size: page_size(level),
                    entry,
                });
            }
            table = self.layout.target(entry);
            level -= 1;
        }
    }
}
