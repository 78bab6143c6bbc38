//! Where things lie in a guest's memory, and what must not overlap what.

use alloc::format;
use alloc::string::ToString;

use super::{Image, Refusal};
use crate::facts::Span;

/// What the agent itself puts into guest memory: page tables, descriptors, boot information, ACPI tables. Guests are
/// told that this range is not free.
pub const KEPT: Span = Span {
    start: 0x9_0000,
    length: 0x7_0000,
};
/// Page tables of the long-mode entry: six pages.
pub const PAGE_TABLES: u64 = 0x9_0000;
/// Descriptors.
pub const GDT: u64 = 0x9_6000;
/// Boot information.
pub const BOOT_INFO: u64 = 0x9_7000;
/// Bytes for it.
pub const BOOT_INFO_SIZE: u64 = 0x4000;
/// A stack for the first instructions, growing down from here.
pub const STACK_TOP: u64 = 0x9_f000;
/// Where RAM above the first MiB begins.
pub const HIGH: u64 = 0x10_0000;
/// Memory that a guest may have at most: above lie its MMIO window and its local APIC.
pub const MEMORY_MAX: u64 = 0xc000_0000;

/// Checks that every segment lies in free memory and that no two overlap.
pub fn check(image: &Image, memory: u64) -> Result<(), Refusal> {
    for (index, segment) in image.segments.iter().enumerate() {
        let span = Span {
            start: segment.address,
            length: segment.size,
        };
        let ram = Span {
            start: 0,
            length: memory,
        };
        if !ram.contains(span.start, span.length) {
            return Err(format!(
                "its segment at {:#x} with {:#x} bytes lies outside the guest's {} MiB of memory",
                span.start,
                span.length,
                memory >> 20
            ));
        }
        if span.overlaps(KEPT) {
            return Err(format!(
                "its segment at {:#x} overlaps {:#x} to {:#x}, which holds boot information",
                span.start,
                KEPT.start,
                KEPT.end() - 1
            ));
        }
        let others = image.segments.iter().take(index);
        for other in others {
            let other = Span {
                start: other.address,
                length: other.size,
            };
            if span.overlaps(other) {
                return Err(format!(
                    "its segments at {:#x} and {:#x} overlap",
                    other.start, span.start
                ));
            }
        }
    }
    let loaded = |segment: &super::Segment| {
        let into = image.entry.checked_sub(segment.address);
        into.is_some_and(|into| into < segment.size)
    };
    if !image.segments.iter().any(loaded) {
        return Err("its entry point lies in no loaded segment".to_string());
    }
    Ok(())
}

/// First page behind the image, where modules may lie.
#[must_use]
pub fn first_free(image: &Image) -> u64 {
    let ends = image.segments.iter().map(|s| s.address + s.size);
    ends.max().unwrap_or(HIGH).max(HIGH).next_multiple_of(4096)
}

#[cfg(test)]
mod tests {
    use super::super::elf::tests::elf64;
    use super::super::parse;

    const MEMORY: u64 = 16 << 20;

    #[test]
    fn an_image_that_fits_is_taken() {
        let file = elf64(0x10_0000, &[(0x10_0000, b"abcd", 4096)]);
        assert!(parse(&file, MEMORY).is_ok());
    }

    #[test]
    fn fw_13_segments_outside_memory_or_over_each_other_are_refused() {
        let refused = |segments: &[(u64, &[u8], u64)]| {
            parse(&elf64(0x10_0000, segments), MEMORY).unwrap_err()
        };
        let code: (u64, &[u8], u64) = (0x10_0000, b"abcd", 4096);
        assert!(refused(&[code, (MEMORY - 4, b"", 8)]).contains("outside"));
        assert!(refused(&[code, (u64::MAX - 4, b"", 8)]).contains("outside"));
        assert!(refused(&[code, (0x10_0ff0, b"x", 16)]).contains("overlap"));
        assert!(refused(&[code, (0x8_fff0, b"x", 17)]).contains("boot information"));
        assert!(parse(&elf64(0x20_0000, &[code]), MEMORY).is_err());
    }
}
