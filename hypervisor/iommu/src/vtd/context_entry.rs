//! Context Entry. Intel Virtualization Technology for Directed I/O, "Context Entry" (legacy mode): 128 bits, one per device and
//! function of a bus.

use address::{RequesterId, Spa};
use bitfield_struct::bitfield;

use crate::DomainName;

/// Lower half.
#[bitfield(u64)]
pub(crate) struct ContextLow {
    /// The requester is attached.
    pub present: bool,
    /// Its faults are not recorded, attached or not.
    pub fault_disable: bool,
    /// 0: requests are translated; requests that claim to be translated already, and translation requests, are refused. No other
    /// value is ever written.
    #[bits(2)]
    pub translation_type: u8,
    #[bits(8)]
    __: u8,
    /// Frame number of the second-stage root table.
    #[bits(52)]
    pub table: u64,
}

/// Upper half.
#[bitfield(u64)]
pub(crate) struct ContextHigh {
    /// Depth of the table: levels less two.
    #[bits(3)]
    pub address_width: u8,
    #[bits(5)]
    __: u8,
    /// Name of the domain.
    pub domain: u16,
    #[bits(40)]
    __: u64,
}

/// The halves of an entry that translates through a table of `levels` (3 to 5).
pub(crate) const fn attached(root: Spa, levels: u8, name: DomainName) -> (ContextLow, ContextHigh) {
    let low = ContextLow::new().with_present(true).with_table(root.page());
    let high = ContextHigh::new()
        .with_address_width(levels.saturating_sub(2) & 7)
        .with_domain(name.0);
    (low, high)
}

/// Index of the lower half among the context table's 64-bit words.
pub(crate) const fn word(requester: RequesterId) -> usize {
    (requester.0 & 0xff) as usize * 2
}

const _: () = assert!(size_of::<ContextLow>() + size_of::<ContextHigh>() == 16);
const _: () = assert!(word(RequesterId(0xffff)) == 510);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_values() {
        let (low, high) = attached(Spa::new(0xabc_d000), 4, DomainName(0x1234));
        assert_eq!(low.into_bits(), 0xabc_d001);
        assert_eq!(high.into_bits(), 0x0012_3402);
        let (_, high) = attached(Spa::new(0), 3, DomainName(1));
        assert_eq!(high.into_bits(), 0x101);
        let (_, high) = attached(Spa::new(0), 5, DomainName(1));
        assert_eq!(high.into_bits(), 0x103);
        assert_eq!(ContextLow::new().with_fault_disable(true).into_bits(), 2);
        assert_eq!(ContextLow::new().with_translation_type(3).into_bits(), 0xc);
        assert_eq!(word(RequesterId(0x0118)), 0x30);
    }
}
