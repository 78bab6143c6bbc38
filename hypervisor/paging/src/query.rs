//! Asking what an address translates to.

use address::{PageSize, Spa};

use crate::format::{entry_shift, index, page_size};
use crate::{Access, Format, PageTable, TableMemory};

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

impl<F: Format> PageTable<F> {
    /// Searches for the first mapped address from `from` on, in at most `steps` walks.
    #[must_use]
    pub fn next_mapped<M: TableMemory>(&self, memory: &M, from: u64, steps: usize) -> Next {
        let mut address = from;
        for _ in 0..steps {
            if address >> self.shape.input_bits != 0 {
                return Next::End;
            }
            match self.walk(memory, address) {
                Ok(translation) => return Next::Page(address, translation),
                // The last byte of the span that is empty, and one more; input widths end below 2^64.
                Err(level) => address = (address | ((1 << entry_shift(level)) - 1)) + 1,
            }
        }
        Next::More(address)
    }

    /// Translates one input address (any byte of a page); `None` where nothing is mapped or the address leaves the input
    /// width.
    #[must_use]
    pub fn query<M: TableMemory>(&self, memory: &M, address: u64) -> Option<Translation> {
        if address >> self.shape.input_bits != 0 {
            return None;
        }
        self.walk(memory, address).ok()
    }

    /// The translation of an address within the input width, or the level of the empty entry at which the walk ends.
    fn walk<M: TableMemory>(&self, memory: &M, address: u64) -> Result<Translation, u8> {
        let mut table = self.root;
        let mut level = self.shape.levels;
        loop {
            let entry = memory.read(table, index(address, level));
            if entry == 0 {
                return Err(level);
            }
            if level == 1 || F::is_page(entry, level) {
                let inside = (1u64 << entry_shift(level)) - 1;
                return Ok(Translation {
                    spa: Spa::new(entry & F::ADDRESS & !inside | address & inside),
                    size: page_size(level),
                    access: F::access(entry),
                });
            }
            table = Self::next(entry);
            level -= 1;
        }
    }
}
