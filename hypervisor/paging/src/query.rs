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

impl<F: Format> PageTable<F> {
    /// Translates one input address (any byte of a page); `None` where nothing is mapped or the address leaves the input
    /// width.
    #[must_use]
    pub fn query<M: TableMemory>(&self, memory: &M, address: u64) -> Option<Translation> {
        if address >> self.shape.input_bits != 0 {
            return None;
        }
        let mut table = self.root;
        let mut level = self.shape.levels;
        loop {
            let entry = memory.read(table, index(address, level));
            if entry == 0 {
                return None;
            }
            if level == 1 || F::is_page(entry, level) {
                let inside = (1u64 << entry_shift(level)) - 1;
                return Some(Translation {
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
