//! One walker for every translation table of x86-64 that the hypervisor writes: the processor's second level
//! (nested page tables, extended page tables) and the IOMMUs'. The entry format is a type parameter of the table; the walk,
//! the superpages, the splits and the rules about flushes are here, once: the compiled code too knows a format by its values
//! ([`Layout`]).
//!
//! ```text
//!   root (level = Shape::levels)        input address, four levels:
//!    +-- table (level 3)                 47..39 | 38..30 | 29..21 | 20..12 | 11..0
//!    |    +-- 1 GiB page                 level 4  level 3  level 2  level 1  offset
//!    |    +-- table (level 2)
//!    |         +-- 2 MiB page
//!    |         +-- leaf table (level 1)
//!    |              +-- 4 KiB page
//! ```
//!
//! Rules that every operation keeps:
//! * an entry changes by one 64-bit store, and an entry that maps nothing is all zero;
//! * a table becomes visible only when it is whole (invariant 7: an operation does all, or says how much, or nothing);
//! * what was taken out is owed a flush: [`Unmapped`] is the debt, [`Flushed`] the proof, and only the proof gives table
//!   frames back (invariant 2).

#![no_std]
#![forbid(unsafe_code)]

mod access;
mod amdvi;
mod ept;
mod error;
mod format;
mod map;
mod memory;
mod npt;
mod query;
mod slat;
mod spare;
mod split;
mod table;
mod teardown;
#[cfg(test)]
mod tests;
mod token;
mod tree;
mod unmap;
mod vtd;

pub use access::{Access, MemoryType, Rights};
pub use amdvi::Amdvi;
pub use ept::Ept;
pub use error::{MapError, NewError, UnmapError};
pub use format::{Format, Layout, Shape};
pub use memory::{ENTRIES, FrameSource, TableMemory};
pub use npt::Npt;
pub use query::{Next, Translation};
pub use slat::{Slat, SlatKind};
pub use table::PageTable;
pub use teardown::{Progress, Teardown};
pub use token::{FlushRange, Flushed, Flusher, RETIRED_PER_CALL, Unmapped};
pub use unmap::Removed;
pub use vtd::Vtd;
