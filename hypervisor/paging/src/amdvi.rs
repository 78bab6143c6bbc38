//! Host page-table entries. AMD I/O Virtualization Technology (IOMMU) Specification, "I/O Page Tables for Host Translations",
//! "Page Translation Entry Fields".

use address::PAGE_SHIFT;
use bitfield_struct::bitfield;

use crate::{Access, Format, Layout, Rights};

/// An entry, of any level.
#[bitfield(u64)]
pub struct Entry {
    /// The entry is used.
    pub present: bool,
    #[bits(8)]
    _ignored_8_1: u8,
    /// Level of the table that the entry points to; 0: it maps a page of the size of its level. 7, a page of another size, is
    /// never written.
    #[bits(3)]
    pub next_level: u8,
    /// Number of the physical page, or of the next table.
    #[bits(40)]
    pub page: u64,
    #[bits(7)]
    _reserved_58_52: u8,
    /// Of a page: the attribute of what a device asks is not changed. Never set.
    pub untranslated: bool,
    /// Of a page: accesses are snooped whatever the device says.
    pub force_coherent: bool,
    /// Reads are allowed.
    pub read: bool,
    /// Writes are allowed.
    pub write: bool,
    _ignored_63: bool,
}

/// The format of host tables.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Amdvi;

impl Format for Amdvi {
    const MIN_LEVELS: u8 = 1;
    const MAX_LEVELS: u8 = 6;
    // No level is ever skipped: a pointer names the level below its own.
    const LAYOUT: Layout = Layout {
        address: 0x000f_ffff_ffff_f000,
        kind: Entry::new().with_next_level(7).into_bits(),
        page: Entry::new().with_next_level(0).into_bits(),
        table: TABLE.into_bits(),
        table_level: Entry::new().with_next_level(1).into_bits(),
    };

    fn leaf(self, access: Access) -> Option<u64> {
        // Execute has no meaning for a device: it is dropped, and alone it is nothing.
        if !access.rights.intersects(Rights::READ.union(Rights::WRITE)) {
            return None;
        }
        let entry = Entry::new()
            .with_present(true)
            .with_force_coherent(true)
            .with_read(access.rights.contains(Rights::READ))
            .with_write(access.rights.contains(Rights::WRITE));
        Some(entry.into_bits())
    }

    fn access(entry: u64) -> Access {
        let entry = Entry::from_bits(entry);
        let mut rights = Rights::empty();
        rights.set(Rights::READ, entry.read());
        rights.set(Rights::WRITE, entry.write());
        Access::ram(rights)
    }
}

/// A pointer takes no right away: the rights of a walk are those that all its entries allow.
const TABLE: Entry = Entry::new()
    .with_present(true)
    .with_read(true)
    .with_write(true);

const _: () = assert!(size_of::<Entry>() == 8);
const _: () = assert!(Entry::new().with_page((1 << 40) - 1).into_bits() == Amdvi::LAYOUT.address);
const _: () = assert!(Amdvi::LAYOUT.address.trailing_zeros() == PAGE_SHIFT);

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Access = Access::ram(Rights::READ.union(Rights::WRITE));

    #[test]
    fn dma_13_raw_values_of_pages_use_the_default_size_of_their_level() {
        for level in 1..=3 {
            let leaf = Amdvi::LAYOUT.leaf(Amdvi.leaf(BOTH).unwrap(), level);
            assert_eq!(leaf, 0x7000_0000_0000_0001, "level {level}");
            assert!(Amdvi::LAYOUT.is_page(leaf));
        }
        let read = Access::ram(Rights::READ);
        assert_eq!(Amdvi.leaf(read), Some(0x3000_0000_0000_0001));
        let write = Access::ram(Rights::WRITE);
        assert_eq!(Amdvi.leaf(write), Some(0x5000_0000_0000_0001));
    }

    #[test]
    fn dma_13_raw_values_of_pointers_name_the_level_below() {
        for (level, bits) in [(2, 0x200), (3, 0x400), (4, 0x600), (5, 0x800), (6, 0xa00)] {
            let pointer = Amdvi::LAYOUT.table(level);
            assert_eq!(pointer, 0x6000_0000_0000_0001 | bits, "level {level}");
            assert!(!Amdvi::LAYOUT.is_page(pointer));
        }
    }

    #[test]
    fn dma_13_reserved_and_ignored_bits_are_zero() {
        let known = Amdvi::LAYOUT.address | 0x7000_0000_0000_0e01;
        for level in 1..=6 {
            for rights in 0..8 {
                let access = Access::ram(Rights::from_bits_truncate(rights));
                assert_eq!(
                    Amdvi::LAYOUT.leaf(Amdvi.leaf(access).unwrap_or(0), level) & !known,
                    0
                );
            }
            assert_eq!(Amdvi::LAYOUT.table(level) & !known, 0);
        }
    }

    #[test]
    fn execute_is_dropped_and_alone_refused() {
        let all = Access::ram(Rights::all());
        assert_eq!(Amdvi.leaf(all), Amdvi.leaf(BOTH));
        assert_eq!(Amdvi.leaf(Access::ram(Rights::EXECUTE)), None);
        assert_eq!(Amdvi.leaf(Access::ram(Rights::empty())), None);
    }

    #[test]
    fn what_a_page_allows_is_read_back() {
        for rights in [Rights::READ, Rights::WRITE, Rights::READ | Rights::WRITE] {
            let leaf = Amdvi.leaf(Access::ram(rights)).unwrap();
            assert_eq!(Amdvi::access(leaf), Access::ram(rights));
        }
    }
}
