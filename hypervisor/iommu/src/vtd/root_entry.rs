//! Root Entry. Intel Virtualization Technology for Directed I/O, "Root Entry" (legacy mode): 128 bits, one per bus. The upper half
//! is reserved, zero.

use address::Spa;
use bitfield_struct::bitfield;

/// Lower half.
#[bitfield(u64)]
pub(crate) struct RootEntry {
    /// The bus has a context table.
    pub present: bool,
    #[bits(11)]
    __: u16,
    /// Frame number of the context table.
    #[bits(52)]
    pub context_table: u64,
}

impl RootEntry {
    /// The entry for a bus with this context table.
    pub(crate) const fn to(table: Spa) -> Self {
        Self::new()
            .with_present(true)
            .with_context_table(table.page())
    }

    /// The context table; `None` where the bus has none.
    pub(crate) const fn table(self) -> Option<Spa> {
        if self.present() {
            Spa::from_page(self.context_table())
        } else {
            None
        }
    }
}

/// Index of the lower half among the root table's 64-bit words.
pub(crate) const fn word(bus: u8) -> usize {
    bus as usize * 2
}

const _: () = assert!(size_of::<RootEntry>() == 8);
const _: () = assert!(word(255) == 510);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_values() {
        let entry = RootEntry::to(Spa::new(0x1234_5000));
        assert_eq!(entry.into_bits(), 0x1234_5001);
        assert_eq!(entry.table(), Some(Spa::new(0x1234_5000)));
        assert_eq!(RootEntry::from_bits(0x1234_5000).table(), None);
    }
}
