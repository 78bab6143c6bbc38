//! What the processor can do.

use core::arch::x86_64::__cpuid;

use x86_64::instructions::{hlt, interrupts};
use x86_64::registers::control::{Cr4, Cr4Flags};

use super::stop::Stop;

/// Facts that decide the layout of page tables.
#[derive(Clone, Copy, Debug)]
pub struct Features {
    /// Significant bits of a physical address.
    pub physical_bits: u32,
    /// 1 GiB pages.
    pub gigabyte_pages: bool,
}

/// Reads the facts.
///
/// # Errors
/// Where the hand-over's page tables could not be used.
pub fn check() -> Result<Features, Stop> {
    let highest = __cpuid(0x8000_0000).eax;
    if highest < 0x8000_0008 {
        return Err(Stop::Processor("no report of its address width"));
    }
    let features = __cpuid(0x8000_0001).edx;
    if features & 1 << 20 == 0 {
        return Err(Stop::Processor("no no-execute page protection"));
    }
    if Cr4::read().contains(Cr4Flags::L5_PAGING) {
        return Err(Stop::Processor(
            "five-level paging on; turn it off in the firmware's settings",
        ));
    }
    let physical_bits = __cpuid(0x8000_0008).eax & 0xff;
    Ok(Features {
        physical_bits: physical_bits.clamp(32, 52),
        gigabyte_pages: features & 1 << 26 != 0,
    })
}

/// Stops for good.
pub fn halt() -> ! {
    interrupts::disable();
    loop {
        hlt();
    }
}
