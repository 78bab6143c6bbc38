//! Extended page tables. Intel SDM volume 3, "The Extended Page Table Mechanism (EPT)", formats of EPT entries.

use address::PAGE_SHIFT;
use bitfield_struct::bitfield;

use crate::{Access, Format, Layout, MemoryType, Rights};

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
    const LAYOUT: Layout = Layout {
        address: 0x000f_ffff_ffff_f000,
        kind: Entry::new().with_large(true).into_bits(),
        page: Entry::new().with_large(true).into_bits(),
        table: TABLE.into_bits(),
        table_level: 0,
    };

    fn leaf(self, access: Access) -> Option<u64> {
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
            .with_ignore_pat(uncached);
        Some(entry.into_bits())
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
const _: () = assert!(Entry::new().with_page((1 << 40) - 1).into_bits() == Ept::LAYOUT.address);
const _: () = assert!(Ept::LAYOUT.address.trailing_zeros() == PAGE_SHIFT);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_values() {
        assert_eq!(Ept.leaf(Access::ram(Rights::all())), Some(0x37));
        assert_eq!(Ept::LAYOUT.leaf(0x37, 3), 0xb7);
        assert_eq!(Ept.leaf(Access::ram(Rights::READ)), Some(0x31));
        assert_eq!(Ept.leaf(Access::registers()), Some(0x43));
        assert_eq!(Ept::LAYOUT.table(2), 0x7);
        assert!(Ept::LAYOUT.is_page(0xb7) && !Ept::LAYOUT.is_page(0x7));
    }

    #[test]
    fn misconfigurations_cannot_be_expressed() {
        assert_eq!(Ept.leaf(Access::ram(Rights::WRITE)), None);
        assert_eq!(Ept.leaf(Access::ram(Rights::EXECUTE)), None);
        assert_eq!(Ept.leaf(Access::ram(Rights::empty())), None);
    }

    #[test]
    fn access_reads_back() {
        for access in [
            Access::ram(Rights::all()),
            Access::ram(Rights::READ),
            Access::registers(),
        ] {
            assert_eq!(Ept.leaf(access).map(Ept::access), Some(access));
        }
    }
}
