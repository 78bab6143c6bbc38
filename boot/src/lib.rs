//! The loader's logic, apart from the firmware and processor calls of the program itself, so that it runs in tests.
//!
//! Everything here reads bytes that the boot volume or firmware supplied, and treats them as hostile.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod acpi;
pub mod calibration;
pub mod elf_image;
pub mod memory_map;
pub mod page_tables;
pub mod pci;
