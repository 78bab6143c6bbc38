//! What an unmapping took out of a table, kept until its flush is confirmed.

use address::{PAGE_SHIFT, PageSize};
use paging::Removed;

/// Mappings that one execution of a call takes out at most.
pub const MOST: usize = 512;

/// One mapping in one word: page number above, level of the page (1 to 3) in the low bits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(transparent)]
pub struct Entry(u64);

impl Entry {
    const fn new(removed: &Removed) -> Self {
        let page = removed.spa.page() & !(removed.size.frames() - 1);
        Self(page << PAGE_SHIFT | removed.size.level() as u64)
    }

    /// First page number.
    #[must_use]
    #[inline]
    pub const fn page(self) -> u64 {
        self.0 >> PAGE_SHIFT
    }

    /// Whether it is a single 4 KiB page.
    #[must_use]
    #[inline]
    pub const fn is_small(self) -> bool {
        self.0 & 3 == 1
    }

    /// 4 KiB pages.
    #[must_use]
    pub const fn frames(self) -> u64 {
        match self.0 & 3 {
            1 => 1,
            2 => PageSize::Size2M.frames(),
            _ => PageSize::Size1G.frames(),
        }
    }
}

/// Mappings in the order in which they were taken out.
#[derive(Debug)]
pub struct RemovedList {
    entries: [Entry; MOST],
    count: usize,
}

impl Default for RemovedList {
    fn default() -> Self {
        Self {
            entries: [Entry(0); MOST],
            count: 0,
        }
    }
}

impl RemovedList {
    /// Begins a new list.
    pub const fn clear(&mut self) {
        self.count = 0;
    }

    /// Adds a mapping. A call takes out no more than there is room for: its slices see to that.
    #[inline]
    pub fn push(&mut self, removed: &Removed) {
        if let Some(place) = self.entries.get_mut(self.count) {
            *place = Entry::new(removed);
            self.count += 1;
        }
    }

    /// The list.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        self.entries.get(..self.count).unwrap_or_default()
    }

    /// Page numbers of all of it.
    pub fn pages(&self) -> impl Iterator<Item = u64> + '_ {
        let pages = |entry: &Entry| entry.page()..entry.page() + entry.frames();
        self.entries().iter().flat_map(pages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use address::Spa;
    extern crate std;
    use std::vec::Vec;

    #[test]
    fn what_was_taken_out_comes_back() {
        let mut list = RemovedList::default();
        let mut push = |page, size| {
            let spa = Spa::from_page(page).unwrap();
            list.push(&Removed {
                address: 0,
                spa,
                size,
            });
        };
        push(7, PageSize::Size4K);
        push(0x200, PageSize::Size2M);
        push(3, PageSize::Size4K);
        assert!(list.entries()[0].is_small() && !list.entries()[1].is_small());
        let pages: Vec<u64> = list.pages().collect();
        assert_eq!(
            (pages[0], pages[1], pages[512], pages[513]),
            (7, 0x200, 0x3ff, 3)
        );
        list.clear();
        assert_eq!(list.pages().count(), 0);
    }
}
