//! Second-stage paging entries. Intel Virtualization Technology for Directed I/O, "Second-Stage Paging Entries".

use address::PAGE_SHIFT;
use bitfield_struct::bitfield;

use crate::{Access, Format, Layout, Rights};

/// An entry, of any level.
#[bitfield(u64)]
pub struct Entry {
    /// Reads are allowed.
    pub read: bool,
    /// Writes are allowed.
    pub write: bool,
    #[bits(5)]
    _ignored_6_2: u8,
    /// Above level 1: the entry maps a page.
    pub large: bool,
    #[bits(3)]
    _ignored_10_8: u8,
    /// Of a page: accesses are snooped whatever the device says. Reserved where the unit has no snoop control.
    pub snoop: bool,
    /// Number of the physical page, or of the next table.
    #[bits(40)]
    pub page: u64,
    #[bits(12)]
    _high: u16,
}

/// The format of second-stage tables.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Vtd {
    /// Every unit that walks the table has snoop control.
    pub snoop: bool,
}

impl Format for Vtd {
    const MIN_LEVELS: u8 = 3;
    const MAX_LEVELS: u8 = 5;
    const LAYOUT: Layout = Layout {
        address: 0x000f_ffff_ffff_f000,
        kind: Entry::new().with_large(true).into_bits(),
        page: Entry::new().with_large(true).into_bits(),
        table: TABLE.into_bits(),
        table_level: 0,
    };

    fn leaf(self, access: Access) -> Option<u64> {
        // Execute has no meaning for a device: it is dropped, and alone it is nothing.
        if !access.rights.intersects(Rights::READ.union(Rights::WRITE)) {
            return None;
        }
        let entry = Entry::new()
            .with_read(access.rights.contains(Rights::READ))
            .with_write(access.rights.contains(Rights::WRITE))
            .with_snoop(self.snoop);
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

const TABLE: Entry = Entry::new().with_read(true).with_write(true);

const _: () = assert!(size_of::<Entry>() == 8);
const _: () = assert!(Entry::new().with_page((1 << 40) - 1).into_bits() == Vtd::LAYOUT.address);
const _: () = assert!(Vtd::LAYOUT.address.trailing_zeros() == PAGE_SHIFT);

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Vtd = Vtd { snoop: false };
    const SNOOP: Vtd = Vtd { snoop: true };

    #[test]
    fn raw_values() {
        let both = Access::ram(Rights::READ | Rights::WRITE);
        assert_eq!(PLAIN.leaf(both), Some(0x3));
        assert_eq!(Vtd::LAYOUT.leaf(0x3, 2), 0x83);
        assert_eq!(SNOOP.leaf(both), Some(0x803));
        assert_eq!(PLAIN.leaf(Access::ram(Rights::READ)), Some(0x1));
        assert_eq!(PLAIN.leaf(Access::ram(Rights::WRITE)), Some(0x2));
        assert_eq!(Vtd::LAYOUT.table(3), 0x3);
        assert!(Vtd::LAYOUT.is_page(0x83) && !Vtd::LAYOUT.is_page(0x3));
    }

    #[test]
    fn execute_is_dropped_and_alone_refused() {
        let all = Access::ram(Rights::all());
        assert_eq!(PLAIN.leaf(all), Some(0x3));
        assert_eq!(PLAIN.leaf(Access::ram(Rights::EXECUTE)), None);
        assert_eq!(PLAIN.leaf(Access::ram(Rights::empty())), None);
    }
}
