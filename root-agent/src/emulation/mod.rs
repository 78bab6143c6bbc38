//! What a child finds where a PC would have devices. No part of it touches hardware but through
//! [`pci::hardware::Hardware`].

pub mod acpi;
pub mod board;
pub mod map;
pub mod pci;
pub mod uart;
