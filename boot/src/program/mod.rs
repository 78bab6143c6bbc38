//! The parts of the loader that talk to firmware and to the processor.

pub mod acpi;
pub mod clock;
pub mod config;
pub mod console;
pub mod enter;
pub mod files;
pub mod heap;
pub mod images;
pub mod memory;
pub mod processor;
pub mod stop;
