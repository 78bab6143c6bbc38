//! PCI as a guest sees it: configuration space by ECAM or by ports, capabilities, and message-signalled interrupts.

#![no_std]
#![forbid(unsafe_code)]

mod acpi;
mod config;
mod msi;

pub use config::{Config, Function, open};
pub use msi::{Interrupts, Way};

/// Configuration registers and bits (PCI Local Bus Specification 3.0, chapter 6).
pub mod register {
    /// Vendor id, and device id above it.
    pub const IDS: u16 = 0x00;
    /// Command, and status above it.
    pub const COMMAND: u16 = 0x04;
    /// Class code above the revision.
    pub const CLASS: u16 = 0x08;
    /// Header type in bits 23:16.
    pub const HEADER: u16 = 0x0c;
    /// First base address register.
    pub const BAR0: u16 = 0x10;
    /// First capability.
    pub const CAPABILITIES: u16 = 0x34;

    /// Command: decodes memory.
    pub const MEMORY: u32 = 1 << 1;
    /// Command: masters the bus.
    pub const MASTER: u32 = 1 << 2;
    /// Command: does not raise INTx.
    pub const NO_INTX: u32 = 1 << 10;

    /// Capability id of MSI.
    pub const MSI: u8 = 0x05;
    /// Capability id of PCI Express.
    pub const EXPRESS: u8 = 0x10;
    /// Capability id of MSI-X.
    pub const MSIX: u8 = 0x11;
}
