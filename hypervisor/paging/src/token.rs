//! The debt of a flush, and its proof.

use address::Spa;
use arrayvec::ArrayVec;

use crate::FrameSource;

/// Table frames that one unmapping gives back at most. Further tables that it empties stay in place, empty, and serve the next
/// mapping there or fall to the teardown: so a token has a fixed size and no allocation.
pub const RETIRED_PER_CALL: usize = 8;

/// What caches of translations must forget.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FlushRange {
    /// A range of input pages.
    Pages {
        /// Number of the first 4 KiB input page.
        first: u64,
        /// How many 4 KiB pages; zero owes nothing.
        count: u64,
        /// Whether a table went too, so that cached pointers to tables must be forgotten as well.
        tables: bool,
    },
    /// Everything that the table ever translated, pointers to its tables included.
    All,
}

/// Who makes caches forget: every processor that may run on the table, or every IOMMU unit that walks it.
pub trait Flusher {
    /// Why a flush could not be confirmed.
    type Error;

    /// Returns only when every cache that may hold a translation in the range has confirmed that it is gone, stores that
    /// were under way included.
    ///
    /// # Errors
    /// Where one did not confirm: what it could reach must stay out of use.
    fn flush(&mut self, range: FlushRange) -> Result<(), Self::Error>;
}

/// Pages that were taken out of a table, and the flush that is owed for them.
///
/// Dropping it leaks the retired table frames; it can never free them early.
#[must_use = "hardware may still use the old translations until they are flushed"]
#[derive(Debug)]
pub struct Unmapped {
    pub(crate) first: u64,
    pub(crate) pages: u64,
    pub(crate) removed: u64,
    /// Input pages, first and end, of the large pages that were split; empty where none was.
    split: (u64, u64),
    pub(crate) retired: ArrayVec<Spa, RETIRED_PER_CALL>,
}

impl Unmapped {
    pub(crate) fn nothing(first: u64) -> Self {
        Self {
            first,
            pages: 0,
            removed: 0,
            split: (u64::MAX, 0),
            retired: ArrayVec::new(),
        }
    }

    /// A large page of `pages` input pages from `first` was split. What cached it whole must forget it whole.
    pub(crate) fn was_split(&mut self, first: u64, pages: u64) {
        let (low, high) = self.split;
        self.split = (low.min(first), high.max(first + pages));
    }

    /// 4 KiB pages of the range that are done: none of them is mapped any more.
    #[must_use]
    pub const fn pages(&self) -> u64 {
        self.pages
    }

    /// How many of those were mapped before.
    #[must_use]
    pub const fn removed(&self) -> u64 {
        self.removed
    }

    /// What is owed. A range of which nothing was mapped owes nothing (`count` 0) unless a table went. Where a large page was
    /// split, the range is wide enough for all of it.
    #[must_use]
    pub fn range(&self) -> FlushRange {
        let tables = !self.retired.is_empty();
        if self.removed == 0 && !tables {
            return FlushRange::Pages {
                first: self.first,
                count: 0,
                tables,
            };
        }
        let (low, high) = self.split;
        let first = self.first.min(low);
        let end = (self.first + self.pages).max(high);
        FlushRange::Pages {
            first,
            count: end - first,
            tables: tables || low < high,
        }
    }

    /// Pays the debt.
    ///
    /// # Errors
    /// The token, still owing, and the flusher's reason.
    pub fn flush<T: Flusher>(self, flusher: &mut T) -> Result<Flushed, (Self, T::Error)> {
        let range = self.range();
        let owed = !matches!(range, FlushRange::Pages { count: 0, .. });
        if owed && let Err(error) = flusher.flush(range) {
            return Err((self, error));
        }
        Ok(Flushed {
            pages: self.pages,
            removed: self.removed,
            retired: self.retired,
        })
    }
}

/// Proof that a flush was confirmed.
#[must_use = "the retired table frames are lost unless they are released"]
#[derive(Debug)]
pub struct Flushed {
    pages: u64,
    removed: u64,
    retired: ArrayVec<Spa, RETIRED_PER_CALL>,
}

impl Flushed {
    /// 4 KiB pages of the range that are unmapped and forgotten.
    #[must_use]
    pub const fn pages(&self) -> u64 {
        self.pages
    }

    /// How many of those were mapped before.
    #[must_use]
    pub const fn removed(&self) -> u64 {
        self.removed
    }

    /// Gives the retired table frames back to the pool they came from, and says how many they were.
    pub fn release(self, pool: &mut impl FrameSource) -> usize {
        let count = self.retired.len();
        for frame in self.retired {
            pool.put(frame);
        }
        count
    }
}
