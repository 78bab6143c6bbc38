//! Nested page tables. AMD64 Architecture Programmer's Manual volume 2, "Long-Mode Page Translation" and "Nested Paging".

use address::PAGE_SHIFT;
use bitfield_struct::bitfield;

use crate::{Access, Format, Layout, MemoryType, Rights};

/// An entry, of any level.
#[bitfield(u64)]
pub struct Entry {
    /// The entry is used.
    pub present: bool,
    /// Writes are allowed.
    pub writable: bool,
    /// User accesses are allowed: a nested walk counts as one, so always set.
    pub user: bool,
    /// Write-through; with cache-disable it selects the uncached PAT entry 3.
    pub write_through: bool,
    /// Cache-disable.
    pub cache_disable: bool,
    /// Set by the processor; never read here.
    pub accessed: bool,
    /// Set by the processor; never read here.
    pub dirty: bool,
    /// Above level 1: the entry maps a page.
    pub large: bool,
    #[bits(4)]
    _available: u8,
    /// Number of the physical page, or of the next table.
    #[bits(40)]
    pub page: u64,
    #[bits(11)]
    _high: u16,
    /// Instruction fetches are refused.
    pub no_execute: bool,
}

/// The format of nested page tables.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Npt;

impl Format for Npt {
    const MIN_LEVELS: u8 = 4;
    const MAX_LEVELS: u8 = 5;
    const LAYOUT: Layout = Layout {
        address: 0x000f_ffff_ffff_f000,
        kind: Entry::new().with_large(true).into_bits(),
        page: Entry::new().with_large(true).into_bits(),
        table: TABLE.into_bits(),
        table_level: 0,
    };

    fn leaf(self, access: Access) -> Option<u64> {
        if !access.rights.contains(Rights::READ) {
            return None;
        }
        let uncached = matches!(access.memory, MemoryType::Uncached);
        let entry = Entry::new()
            .with_present(true)
            .with_writable(access.rights.contains(Rights::WRITE))
            .with_user(true)
            .with_write_through(uncached)
            .with_cache_disable(uncached)
            .with_no_execute(!access.rights.contains(Rights::EXECUTE));
        Some(entry.into_bits())
    }

    fn access(entry: u64) -> Access {
        let entry = Entry::from_bits(entry);
        let mut rights = Rights::READ;
        rights.set(Rights::WRITE, entry.writable());
        rights.set(Rights::EXECUTE, !entry.no_execute());
        let memory = if entry.cache_disable() {
            MemoryType::Uncached
        } else {
            MemoryType::WriteBack
        };
        Access { rights, memory }
    }
}

const TABLE: Entry = Entry::new()
    .with_present(true)
    .with_writable(true)
    .with_user(true);

const _: () = assert!(size_of::<Entry>() == 8);
const _: () = assert!(Entry::new().with_page((1 << 40) - 1).into_bits() == Npt::LAYOUT.address);
const _: () = assert!(Npt::LAYOUT.address.trailing_zeros() == PAGE_SHIFT);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_values() {
        let ram = Access::ram(Rights::all());
        assert_eq!(Npt.leaf(ram), Some(0x7));
        assert_eq!(Npt::LAYOUT.leaf(0x7, 2), 0x87);
        let read = Access::ram(Rights::READ);
        assert_eq!(Npt.leaf(read), Some(0x8000_0000_0000_0005));
        assert_eq!(Npt.leaf(Access::registers()), Some(0x8000_0000_0000_001f));
        assert_eq!(Npt::LAYOUT.table(4), 0x7);
        assert!(Npt::LAYOUT.is_page(0x87) && !Npt::LAYOUT.is_page(0x7));
    }

    #[test]
    fn what_cannot_be_read_cannot_be_expressed() {
        assert_eq!(Npt.leaf(Access::ram(Rights::WRITE)), None);
        assert_eq!(Npt.leaf(Access::ram(Rights::empty())), None);
    }

    #[test]
    fn access_reads_back() {
        for access in [
            Access::ram(Rights::all()),
            Access::ram(Rights::READ),
            Access::registers(),
        ] {
            assert_eq!(Npt.leaf(access).map(Npt::access), Some(access));
        }
    }
}
