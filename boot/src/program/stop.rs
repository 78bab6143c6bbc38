//! Reasons to stop, each a sentence.

use alloc::string::String;
use core::fmt;
use core::time::Duration;

use boot::acpi::TableError;
use boot::elf_image::ElfError;
use boot::memory_map::Contradiction;
use boot::page_tables::MapError;
use uefi::Status;

use super::console;

/// Why the loader gives up.
#[derive(Debug)]
pub enum Stop {
    /// Firmware has no memory for what is named.
    Memory(&'static str, Status),
    /// The volume that the loader came from cannot be read.
    Volume(Status),
    /// A file that must be there is not.
    Missing(&'static str),
    /// A file cannot be read.
    File(String, Status),
    /// A program file is broken.
    Image(&'static str, ElfError),
    /// An ACPI override is broken.
    Override(String, TableError),
    /// The processor lacks something.
    Processor(&'static str),
    /// Page tables could not be built.
    Tables(MapError),
    /// The memory map cannot be trusted.
    Map(Contradiction),
    /// The memory map has more entries than room was kept for.
    MapGrew,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(what, status) => write!(f, "no memory for {what} ({status})"),
            Self::Volume(status) => write!(f, "the boot volume cannot be read ({status})"),
            Self::Missing(name) => write!(f, "the boot volume has no {name}"),
            Self::File(name, status) => write!(f, "{name} cannot be read ({status})"),
            Self::Image(name, error) => write!(f, "{name} cannot be used: {error}"),
            Self::Override(name, error) => write!(f, "{name} cannot be used: {error}"),
            Self::Processor(what) => write!(f, "this processor has {what}"),
            Self::Tables(error) => write!(f, "{error}"),
            Self::Map(error) => write!(f, "{error}"),
            Self::MapGrew => write!(f, "the memory map grew while boot services ended"),
        }
    }
}

impl Stop {
    /// Says it, leaves time to read it, and returns what firmware is told. After boot services have ended: says it and halts.
    pub fn report(&self) -> Status {
        console::say(format_args!("cannot start: {self}"));
        if super::memory::boot_services_ended() {
            super::processor::halt();
        }
        uefi::boot::stall(Duration::from_secs(10));
        Status::LOAD_ERROR
    }
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    console::say(format_args!("internal error: {info}"));
    super::processor::halt()
}
