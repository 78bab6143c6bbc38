//! Base address registers (PCI Local Bus Specification 3.0, 6.2.5). The hypervisor sized them at boot: to ask it moves
//! nothing and turns nothing off.

use abi::vendor::{BarInfo, bar_flags};

/// A memory range that a function answers to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bar {
    /// Which register holds it; a 64-bit one takes the next as well.
    pub index: u8,
    /// System-physical address.
    pub address: u64,
    /// Bytes, a power of two.
    pub size: u64,
    /// Whether it takes two registers.
    pub wide: bool,
    /// Whether reads have no side effects.
    pub prefetchable: bool,
}

impl Bar {
    /// The BAR that the hypervisor describes; `None` where there is none, or where firmware has not placed it: what
    /// stands nowhere cannot be shown.
    #[must_use]
    pub fn new(index: u8, info: &BarInfo) -> Option<Self> {
        let placed = info.size != 0 && info.address != 0;
        placed.then_some(Self {
            index,
            address: info.address,
            size: info.size,
            wide: info.flags & bar_flags::WIDE != 0,
            prefetchable: info.flags & bar_flags::PREFETCHABLE != 0,
        })
    }
}
