//! Guest images: bytes from the boot volume, hostile until parsed.
//!
//! Two forms are known: ELF64 (entered in long mode) and Multiboot1 (entered in 32-bit protected mode). A Multiboot1 header
//! that gives addresses counts more than what file it stands in. All checks happen before anything is placed.

pub mod boot_info;
pub mod elf;
pub mod entry;
mod field;
pub mod long_mode;
pub mod multiboot1;
pub mod placement;

use alloc::string::String;
use alloc::vec::Vec;

/// How a guest is entered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// 64-bit mode, the first 4 GiB identity-mapped.
    Long,
    /// 32-bit protected mode without paging, as Multiboot1 says.
    Multiboot1,
}

impl Kind {
    /// Its name for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Long => "elf64",
            Self::Multiboot1 => "multiboot1",
        }
    }
}

/// Bytes that go to an address; what they do not fill is cleared.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Segment<'a> {
    /// Guest-physical address.
    pub address: u64,
    /// Bytes from the file.
    pub data: &'a [u8],
    /// Bytes in memory, at least as many.
    pub size: u64,
}

/// A checked image.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Image<'a> {
    /// How it is entered.
    pub kind: Kind,
    /// Guest-physical address of the first instruction.
    pub entry: u64,
    /// What to place, without overlaps.
    pub segments: Vec<Segment<'a>>,
    /// Whether modules begin at page boundaries (they always do here).
    pub page_aligned_modules: bool,
}

/// Why an image is refused.
pub type Refusal = String;

/// Reads an image and checks that it fits a guest with this much memory.
pub fn parse(file: &[u8], memory: u64) -> Result<Image<'_>, Refusal> {
    let image = if elf::is_elf64(file) && !multiboot1::gives_addresses(file) {
        elf::parse(file, elf::Class::Bits64)?
    } else {
        multiboot1::parse(file)?
    };
    placement::check(&image, memory)?;
    Ok(image)
}
