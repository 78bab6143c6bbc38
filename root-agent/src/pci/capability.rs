//! The capability list (PCI Local Bus Specification 3.0, 6.7). A device may lie about it: the walk is bounded.

use alloc::vec::Vec;

use super::config::{ConfigSpace, register};

/// Capabilities that fit a configuration space of 256 bytes.
const CAPABILITIES_MAX: usize = 48;

/// Capability ids.
pub mod id {
    /// Power management.
    pub const POWER: u8 = 0x01;
    /// Message-signalled interrupts.
    pub const MSI: u8 = 0x05;
    /// PCI Express.
    pub const EXPRESS: u8 = 0x10;
    /// MSI-X.
    pub const MSIX: u8 = 0x11;
    /// Advanced features of conventional PCI.
    pub const ADVANCED: u8 = 0x13;
}

/// Where a capability stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Capability {
    /// Its id.
    pub id: u8,
    /// Its offset, 40h to FCh.
    pub offset: u8,
}

/// Walks the list: each offset once, none inside the header.
#[must_use]
pub fn list(config: &impl ConfigSpace) -> Vec<Capability> {
    let mut found: Vec<Capability> = Vec::new();
    if config.read(register::STATUS, 2) & 1 << 4 == 0 {
        return found;
    }
    let mut next = config.read(register::CAPABILITIES, 1) as u8 & !3;
    while next >= 0x40 && found.len() < CAPABILITIES_MAX {
        if found.iter().any(|capability| capability.offset == next) {
            break;
        }
        let word = config.read(u16::from(next), 2);
        found.push(Capability {
            id: word as u8,
            offset: next,
        });
        next = (word >> 8) as u8 & !3;
    }
    found
}
