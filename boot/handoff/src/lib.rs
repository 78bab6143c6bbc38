//! What the loader hands to the hypervisor: one [`Handoff`] structure, and the arrays of [`Range`] and [`Module`]
//! that it points to.
//!
//! The loader enters the hypervisor on the boot processor, with interrupts off, in 64-bit mode, with the page tables
//! of [`Handoff::page_table`] loaded, `RDI` = [`DIRECT_MAP_BASE`] + the physical address of the structure, and `RSP` at
//! the upper end of the boot heap. All addresses in the structure are system physical.

#![no_std]
#![forbid(unsafe_code)]

mod module;
mod range;

pub use module::{Module, NAME_BYTES, NO_MODULE};
pub use range::{Extent, Kind, Range, is_reserved};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Virtual address at which the hypervisor sees physical address 0. Physical address `p` is at `DIRECT_MAP_BASE + p`.
pub const DIRECT_MAP_BASE: u64 = 0xffff_8000_0000_0000;

/// First physical address that the direct map never covers: 64 TiB.
pub const DIRECT_MAP_END: u64 = 1 << 46;

/// `PORTCULL` in ASCII, read as a little-endian number.
pub const MAGIC: u64 = u64::from_le_bytes(*b"PORTCULL");

/// Changes with every change of the structures in this crate.
pub const VERSION: u32 = 2;

/// Bytes of boot heap for what does not grow with memory.
pub const BOOT_HEAP_FIXED: u64 = 8 << 20;

/// Bytes of boot heap for a machine with this much RAM: the fixed part, and 1/256 of RAM for the
/// table that holds an owner for every frame. A multiple of 4096.
#[must_use]
pub const fn boot_heap_bytes(ram_bytes: u64) -> u64 {
    let table = ram_bytes / 256;
    table.saturating_add(BOOT_HEAP_FIXED) & !0xfff
}

/// The hypervisor's loaded image, by protection. Every part is page aligned; the parts do not overlap.
#[derive(
    Clone, Copy, Debug, Default, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq,
)]
#[repr(C)]
pub struct HypervisorImage {
    /// The whole image, gaps between the parts included.
    pub whole: Extent,
    /// Readable and executable.
    pub text: Extent,
    /// Readable only: constants and symbol tables.
    pub rodata: Extent,
    /// Readable only since the loader relocated it: constants that hold addresses.
    pub relro: Extent,
    /// Readable and writable, zero-initialised part included.
    pub data: Extent,
}

/// The root agent's program, loaded in memory that belongs to the root partition.
#[derive(
    Clone, Copy, Debug, Default, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq,
)]
#[repr(C)]
pub struct RootAgent {
    /// The image, zero-initialised part included.
    pub image: Extent,
    /// First instruction (64-bit mode), inside `image`.
    pub entry: u64,
    /// CR3 for the root's VPs: identity, writable, supervisor pages. The tables lie in `tables`.
    pub page_table: u64,
    /// The identity page tables.
    pub tables: Extent,
    /// A zeroed page in which the hypervisor tells the agent what there is.
    pub info: u64,
}

/// The screen as firmware set it up. `base` = 0: none.
#[derive(
    Clone, Copy, Debug, Default, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq,
)]
#[repr(C)]
pub struct Framebuffer {
    /// First pixel.
    pub base: u64,
    /// Bytes.
    pub len: u64,
    /// Pixels per line.
    pub width: u32,
    /// Lines.
    pub height: u32,
    /// Pixels from a line to the next.
    pub stride: u32,
    /// 0: red, green, blue, reserved; 1: blue, green, red, reserved. One byte each.
    pub format: u32,
}

/// The hand-over. See the crate's text for how it is passed.
#[derive(
    Clone, Copy, Debug, Default, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq,
)]
#[repr(C)]
pub struct Handoff {
    /// [`MAGIC`].
    pub magic: u64,
    /// [`VERSION`].
    pub version: u32,
    /// Bytes of this structure.
    pub size: u32,
    /// The memory map: `range_count` [`Range`]s, sorted by address, none overlapping another, page aligned.
    pub ranges: u64,
    /// The boot modules: `module_count` [`Module`]s.
    pub modules: u64,
    /// Length of the memory map.
    pub range_count: u32,
    /// Number of boot modules.
    pub module_count: u32,
    /// The hypervisor's own image.
    pub hypervisor: HypervisorImage,
    /// Memory for the hypervisor's boot-time allocator; mapped by 4 KiB pages. The boot stack lies at its upper end.
    pub boot_heap: Extent,
    /// Bytes at the upper end of `boot_heap` that are the boot processor's first stack, not the allocator's.
    pub boot_stack_bytes: u64,
    /// CR3 at entry: the direct map (all RAM, and MMIO uncached), W^X for the image, and the trampoline's identity page.
    pub page_table: u64,
    /// A page below 1 MiB, kept by the hypervisor, identity mapped executable and not writable: where processors start.
    pub trampoline: u64,
    /// The root agent.
    pub root_agent: RootAgent,
    /// The ACPI root pointer (RSDP), overrides from the boot volume included; 0: none.
    pub rsdp: u64,
    /// Ticks per second of the boot processor's TSC; 0: could not be measured.
    pub tsc_hz: u64,
    /// Ticks per second of the boot processor's local APIC timer with divider 1; 0: could not be measured.
    pub apic_timer_hz: u64,
    /// The screen.
    pub framebuffer: Framebuffer,
    /// First port of the 16550 on which the loader wrote its log; 0: none answered.
    pub serial_port: u16,
    /// Number of significant physical address bits (CPUID 8000_0008h).
    pub physical_bits: u16,
    /// Index of the start script among the modules, or [`NO_MODULE`].
    pub start_script: u32,
}

const _: () = assert!(size_of::<Handoff>() == 280);

/// What is wrong with a [`Handoff`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HandoffError {
    /// Not a hand-over structure at all.
    Magic,
    /// The loader is of another build than the hypervisor.
    Version,
}

impl Handoff {
    /// A structure with its identification set and all else zero.
    #[must_use]
    pub fn new() -> Self {
        Self {
            magic: MAGIC,
            version: VERSION,
            size: size_of::<Self>() as u32,
            start_script: NO_MODULE,
            ..Self::default()
        }
    }

    /// Whether the loader that made the structure is of the same build as the reader.
    ///
    /// # Errors
    /// Says which part of the identification differs.
    pub fn check(&self) -> Result<(), HandoffError> {
        if self.magic != MAGIC {
            return Err(HandoffError::Magic);
        }
        if self.version != VERSION || self.size as usize != size_of::<Self>() {
            return Err(HandoffError::Version);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_structure_passes_its_check() {
        assert_eq!(Handoff::new().check(), Ok(()));
        let mut other = Handoff::new();
        other.version += 1;
        assert_eq!(other.check(), Err(HandoffError::Version));
        assert_eq!(Handoff::default().check(), Err(HandoffError::Magic));
    }

    #[test]
    fn the_magic_reads_as_text_in_memory() {
        assert_eq!(&Handoff::new().as_bytes()[..8], b"PORTCULL");
    }

    #[test]
    fn the_heap_grows_by_a_256th_of_memory() {
        assert_eq!(boot_heap_bytes(0), 8 << 20);
        assert_eq!(boot_heap_bytes(2 << 30), 16 << 20);
        assert_eq!(boot_heap_bytes(u64::MAX) % 4096, 0);
    }
}
