//! Extended page tables. Intel SDM volume 3, "The Extended Page Table Mechanism (EPT)", formats of EPT entries.

use address::PAGE_SHIFT;
use bitfield_struct::bitfield;

use crate::{Access, Format, MemoryType, Rights};

/// An entry, of any level.
#[bitfield(u64)]
pub struct Entry {
    /// Reads are allowed.
    pub read: bool,
    /// Writes are allowed.
    pub write: bool,
    /// Instruction fetches are allowed.
    pub execute: bool,
    /// Of a page: memory type, 0 uncached, 6 write-back.
    #[bits(3)]
    pub memory_type: u8,
    /// Of a page: the guest's PAT does not count.
    pub ignore_pat: bool,
    /// Above level 1: the entry maps a page.
    pub large: bool,
    #[bits(4)]
    _ignored: u8,
    /// Number of the physical page, or of the next table.
    #[bits(40)]
    pub page: u64,
    #[bits(12)]
    _high: u16,
}

const UNCACHED: u8 = 0;
const WRITE_BACK: u8 = 6;

/// The format of extended page tables.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Ept;

impl Format for Ept {
    const MIN_LEVELS: u8 = 4;
    const MAX_LEVELS: u8 = 5;
    const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

    fn leaf(self, level: u8, access: Access) -> Option<u64> {
        // Write without read is a misconfiguration; execute without read depends on the processor.
        if !access.rights.contains(Rights::READ) {
            return None;
        }
        let uncached = matches!(access.memory, MemoryType::Uncached);
        let entry = Entry::new()
            .with_read(true)
            .with_write(access.rights.contains(Rights::WRITE))
            .with_execute(access.rights.contains(Rights::EXECUTE))
            .with_memory_type(if uncached { UNCACHED } else { WRITE_BACK })
            // Device registers stay uncached whatever the guest's own tables say; of RAM the guest may choose.
            .with_ignore_pat(uncached)
            .with_large(level > 1);
        Some(entry.into_bits())
    }

    fn table(self, _level: u8) -> u64 {
        TABLE.into_bits()
    }

    #[inline]
    fn is_page(entry: u64, _level: u8) -> bool {
        Entry::from_bits(entry).large()
    }

    fn access(entry: u64) -> Access {
        let entry = Entry::from_bits(entry);
        let mut rights = Rights::empty();
        rights.set(Rights::READ, entry.read());
        rights.set(Rights::WRITE, entry.write());
        rights.set(Rights::EXECUTE, entry.execute());
        let memory = if entry.memory_type() == WRITE_BACK {
            MemoryType::WriteBack
        } else {
            MemoryType::Uncached
        };
        Access { rights, memory }
    }
}

const TABLE: Entry = Entry::new()
    .with_read(true)
    .with_write(true)
    .with_execute(true);

const _: () = assert!(size_of::<Entry>() == 8);
const _: () = assert!(Entry::new().with_page((1 << 40) - 1).into_bits() == Ept::ADDRESS);
const _: () = assert!(Ept::ADDRESS.trailing_zeros() == PAGE_SHIFT);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_values() {
        assert_eq!(Ept.leaf(1, Access::ram(Rights::all())), Some(0x37));
        assert_eq!(Ept.leaf(3, Access::ram(Rights::all())), Some(0xb7));
        assert_eq!(Ept.leaf(1, Access::ram(Rights::READ)), Some(0x31));
        assert_eq!(Ept.leaf(1, Access::registers()), Some(0x43));
        assert_eq!(Ept.table(2), 0x7);
        assert!(Ept::is_page(0xb7, 3) && !Ept::is_page(0x7, 3));
    }

    #[test]
    fn misconfigurations_cannot_be_expressed() {
        assert_eq!(Ept.leaf(1, Access::ram(Rights::WRITE)), None);
        assert_eq!(Ept.leaf(1, Access::ram(Rights::EXECUTE)), None);
        assert_eq!(Ept.leaf(1, Access::ram(Rights::empty())), None);
    }

    #[test]
    fn access_reads_back() {
        for access in [
            Access::ram(Rights::all()),
            Access::ram(Rights::READ),
            Access::registers(),
        ] {
            assert_eq!(Ept.leaf(2, access).map(Ept::access), Some(access));
        }
    }
}
