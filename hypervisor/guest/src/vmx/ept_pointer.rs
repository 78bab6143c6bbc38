//! Intel SDM volume 3, section "extended-page-table pointer (EPTP)".

use address::Spa;
use bitfield_struct::bitfield;

/// Where the extended page tables are, and how they are walked.
#[bitfield(u64)]
pub struct EptPointer {
    /// Memory type of the tables: 6 write-back.
    #[bits(3)]
    pub memory_type: u8,
    /// Levels, less one.
    #[bits(3)]
    pub levels_less_one: u8,
    /// The processor notes accesses in the tables. Off: nobody reads the notes, and with them a guest's page walk would count
    /// as a write to its tables.
    pub accessed_dirty: bool,
    #[bits(5)]
    _reserved_7: u8,
    /// Number of the root table's frame.
    #[bits(52)]
    pub page: u64,
}

const WRITE_BACK: u8 = 6;
const LEVELS: u8 = 4;

impl EptPointer {
    /// For a table of four levels at `root`.
    #[must_use]
    pub const fn to_table(root: Spa) -> Self {
        Self::new()
            .with_memory_type(WRITE_BACK)
            .with_levels_less_one(LEVELS - 1)
            .with_page(root.page())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_value() {
        let pointer = EptPointer::to_table(Spa::new(0x1234_5000));
        assert_eq!(pointer.into_bits(), 0x1234_501e);
    }
}
