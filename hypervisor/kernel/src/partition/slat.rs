//! A partition's GPA map through its life.

use paging::{Slat, Teardown};

/// The GPA map: not made yet, in use, or being taken apart.
#[derive(Debug)]
pub enum PartitionSlat {
    /// There is none.
    None,
    /// In use.
    Live(Slat),
    /// Being emptied: all pages below `reached` (a page number) are out.
    Emptying {
        /// The table.
        slat: Slat,
        /// First page number that may still be mapped.
        reached: u64,
    },
    /// Empty, forgotten by all processors, its frames on their way back.
    Ending(Teardown),
}

impl PartitionSlat {
    /// The table, while processors may run on it.
    #[must_use]
    pub const fn live(&self) -> Option<&Slat> {
        match self {
            Self::Live(slat) => Some(slat),
            _ => None,
        }
    }

    /// The same, to be changed.
    pub const fn live_mut(&mut self) -> Option<&mut Slat> {
        match self {
            Self::Live(slat) => Some(slat),
            _ => None,
        }
    }
}
