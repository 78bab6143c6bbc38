//! The Multiboot1 header (Multiboot Specification version 0.6.96, 3.1 "OS image format").

use alloc::string::ToString;

use super::{Image, Kind, Refusal, Segment, elf, field};

const MAGIC: u32 = 0x1bad_b002;
/// The header lies within this many bytes of the file.
const SEARCH: u64 = 8192;
/// What EAX holds at the entry.
pub const LOADER_MAGIC: u32 = 0x2bad_b002;

/// Flags that the image requires.
mod flag {
    pub const VIDEO_MODE: u32 = 1 << 2;
    pub const REQUIRED: u32 = 0xffff;
    pub const KNOWN: u32 = 3;
    pub const ADDRESSES: u32 = 1 << 16;
}

/// Reads a Multiboot1 image: a 32-bit ELF file, or one whose header gives the addresses.
pub fn parse(file: &[u8]) -> Result<Image<'_>, Refusal> {
    let Some((at, flags)) = find_header(file) else {
        return Err(if elf::is_elf(file) {
            "it is a 32-bit ELF file without a Multiboot1 header".to_string()
        } else {
            "it is neither an ELF file nor has it a Multiboot1 header".to_string()
        });
    };
    if flags & flag::VIDEO_MODE != 0 {
        return Err("its Multiboot1 header requires a video mode, and there is none".to_string());
    }
    if flags & flag::REQUIRED & !flag::KNOWN != 0 {
        return Err("its Multiboot1 header requires a feature that is not known here".to_string());
    }
    if flags & flag::ADDRESSES != 0 {
        by_addresses(file, at)
    } else {
        elf::parse(file, elf::Class::Bits32)
    }
}

/// Whether the image is to be placed by the addresses of its header, whatever file it is otherwise (3.1.3 "The address
/// fields of Multiboot header").
pub fn gives_addresses(file: &[u8]) -> bool {
    find_header(file).is_some_and(|(_, flags)| flags & flag::ADDRESSES != 0)
}

/// Offset and flags of the header.
fn find_header(file: &[u8]) -> Option<(u64, u32)> {
    (0..SEARCH).step_by(4).find_map(|at| {
        let magic = field::u32(file, at)?;
        let flags = field::u32(file, at + 4)?;
        let checksum = field::u32(file, at + 8)?;
        let sum = magic.wrapping_add(flags).wrapping_add(checksum);
        (magic == MAGIC && sum == 0).then_some((at, flags))
    })
}

/// An image that is placed by the address fields of its header.
fn by_addresses(file: &[u8], at: u64) -> Result<Image<'_>, Refusal> {
    let cut = "its Multiboot1 header is cut off";
    let address = |index: u64| {
        let value = field::u32(file, at + 12 + 4 * index);
        value.map(u64::from).ok_or_else(|| cut.to_string())
    };
    let (header, load, load_end, bss_end, entry) = (
        address(0)?,
        address(1)?,
        address(2)?,
        address(3)?,
        address(4)?,
    );
    let nonsense = || "the addresses in its Multiboot1 header do not make sense".to_string();
    let before = header.checked_sub(load).ok_or_else(nonsense)?;
    let start = at.checked_sub(before).ok_or_else(nonsense)?;
    let length = if load_end == 0 {
        (file.len() as u64).checked_sub(start)
    } else {
        load_end.checked_sub(load)
    };
    let length = length.ok_or_else(nonsense)?;
    let data = field::range(file, start, length).ok_or_else(nonsense)?;
    let size = match bss_end {
        0 => length,
        end => end.checked_sub(load).ok_or_else(nonsense)?,
    };
    if size < length {
        return Err(nonsense());
    }
    Ok(Image {
        kind: Kind::Multiboot1,
        entry,
        segments: alloc::vec![Segment {
            address: load,
            data,
            size
        }],
        page_aligned_modules: true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn header(flags: u32, addresses: &[u32]) -> Vec<u8> {
        let checksum = 0u32.wrapping_sub(MAGIC).wrapping_sub(flags);
        let words = [MAGIC, flags, checksum];
        let all = words.iter().chain(addresses);
        all.flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn an_image_with_addresses_is_placed_by_them() {
        let mut file = header(1 << 16, &[0x10_0000, 0x10_0000, 0, 0x10_1000, 0x10_0020]);
        file.extend_from_slice(b"code");
        let image = parse(&file).unwrap();
        assert_eq!(image.entry, 0x10_0020);
        assert_eq!(image.segments[0].size, 0x1000);
        assert_eq!(image.segments[0].data.len(), file.len());
    }

    #[test]
    fn addresses_count_more_than_an_elf_file_of_64_bits() {
        let with = |flags| {
            let mut file = b"\x7fELF\x02\x01\x01\0".to_vec();
            file.extend(header(flags, &[0x10_0008, 0x10_0000, 0, 0, 0x10_0020]));
            file.resize(64, 0);
            file
        };
        let file = with(1 << 16);
        let image = super::super::parse(&file, 16 << 20).unwrap();
        assert_eq!((image.kind, image.entry), (Kind::Multiboot1, 0x10_0020));
        assert_eq!(image.segments[0].address, 0x10_0000);
        // Without them, it is what its file says.
        assert!(!gives_addresses(&with(0)));
    }

    #[test]
    fn fw_13_what_cannot_be_given_is_refused() {
        assert!(parse(&header(1 << 2, &[])).unwrap_err().contains("video"));
        assert!(parse(&header(1 << 5, &[])).unwrap_err().contains("feature"));
        assert!(parse(b"hello").unwrap_err().contains("neither"));
        let mut spoiled = header(1 << 16, &[0x10_0000, 0x10_0000, 0, 0, 0x10_0020]);
        spoiled[8] ^= 1;
        assert!(parse(&spoiled).is_err());
    }

    #[test]
    fn fw_13_addresses_that_contradict_each_other_are_refused() {
        for addresses in [
            [0, 0x10_0000, 0, 0, 0],
            [0x20_0000, 0x10_0000, 0, 0, 0],
            [0x10_0000, 0x10_0000, 0x0f_0000, 0, 0],
            [0x10_0000, 0x10_0000, 0x20_0000, 0, 0],
            [0x10_0000, 0x10_0000, 0, 0x10_0001, 0],
        ] {
            assert!(parse(&header(1 << 16, &addresses)).is_err());
        }
    }
}
