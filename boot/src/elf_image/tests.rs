//! A small image made by hand, and hostile variations of it.

extern crate std;

use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

const PF_R: u32 = 4;

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

fn header(
    bytes: &mut [u8],
    index: usize,
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    sizes: (u64, u64),
) {
    let at = 64 + index * 56;
    put(bytes, at, &kind.to_le_bytes());
    put(bytes, at + 4, &flags.to_le_bytes());
    for (field, value) in [offset, address, address, sizes.0, sizes.1, 4096]
        .into_iter()
        .enumerate()
    {
        put(bytes, at + 8 + field * 8, &value.to_le_bytes());
    }
}

/// Text at 0x1000, data at 0x2000 to 0x3800, dynamic section at 0x2000, one relocation at 0x2080 for 0x2100.
fn image() -> Vec<u8> {
    let mut bytes = vec![0_u8; 0x2200];
    put(&mut bytes, 0, b"\x7fELF\x02\x01\x01");
    put(&mut bytes, 16, &ET_DYN.to_le_bytes());
    put(&mut bytes, 18, &EM_X86_64.to_le_bytes());
    put(&mut bytes, 20, &1_u32.to_le_bytes());
    put(&mut bytes, 24, &0x1010_u64.to_le_bytes());
    put(&mut bytes, 32, &64_u64.to_le_bytes());
    put(&mut bytes, 52, &64_u16.to_le_bytes());
    put(&mut bytes, 54, &56_u16.to_le_bytes());
    put(&mut bytes, 56, &5_u16.to_le_bytes());
    header(&mut bytes, 0, PT_LOAD, PF_R, 0, 0, (0x400, 0x400));
    header(
        &mut bytes,
        1,
        PT_LOAD,
        PF_R | PF_X,
        0x1000,
        0x1000,
        (0x100, 0x100),
    );
    header(
        &mut bytes,
        2,
        PT_LOAD,
        PF_R | PF_W,
        0x2000,
        0x2000,
        (0x200, 0x1800),
    );
    header(
        &mut bytes,
        3,
        PT_DYNAMIC,
        PF_R,
        0x2000,
        0x2000,
        (0x40, 0x40),
    );
    header(
        &mut bytes,
        4,
        PT_GNU_RELRO,
        PF_R,
        0x2000,
        0x2000,
        (0x1000, 0x1000),
    );
    let dynamic: [u64; 8] = [7, 0x2080, 8, 24, 9, 24, 0, 0];
    for (index, word) in dynamic.into_iter().enumerate() {
        put(&mut bytes, 0x2000 + index * 8, &word.to_le_bytes());
    }
    for (index, word) in [0x2100_u64, 8, 0x1010].into_iter().enumerate() {
        put(&mut bytes, 0x2080 + index * 8, &word.to_le_bytes());
    }
    put(&mut bytes, 0x1010, b"\xeb\xfe");
    bytes
}

/// The error of the image with 8 bytes changed, from parsing or from loading.
fn error_with(at: usize, value: u64) -> Option<ElfError> {
    let mut bytes = image();
    put(&mut bytes, at, &value.to_le_bytes());
    let parsed = match ElfImage::parse(&bytes) {
        Ok(parsed) => parsed,
        Err(error) => return Some(error),
    };
    let mut memory = vec![0; parsed.span() as usize];
    parsed.load(&mut memory, 0x10_0000).err()
}

#[test]
fn an_image_is_placed_and_relocated() {
    let bytes = image();
    let parsed = ElfImage::parse(&bytes).unwrap();
    assert_eq!((parsed.span(), parsed.entry()), (0x4000, 0x1010));
    let mut memory = vec![0xaa; 0x4000];
    parsed.load(&mut memory, 0xffff_8000_0010_0000).unwrap();
    assert_eq!(
        memory[0x2100..0x2108],
        0xffff_8000_0010_1010_u64.to_le_bytes()
    );
    assert_eq!(memory[0x1010], 0xeb);
    assert!(memory[0x2200..].iter().all(|&byte| byte == 0));
    assert_eq!(
        parsed.extent(Protection::Execute),
        Extent::new(0x1000, 0x1000)
    );
    assert_eq!(parsed.extent(Protection::Read), Extent::new(0, 0x1000));
    assert_eq!(parsed.relro(), Extent::new(0x2000, 0x1000));
    assert_eq!(
        parsed.extent(Protection::Write),
        Extent::new(0x3000, 0x1000)
    );
}

#[test]
fn hostile_headers_are_refused_by_name() {
    let program = |index: usize, field: usize| 64 + index * 56 + field;
    let high = u64::MAX - 0xfff;
    assert_eq!(error_with(0, 0), Some(ElfError::NotElf));
    assert_eq!(error_with(16, 2 | 62 << 16), Some(ElfError::WrongType));
    assert_eq!(error_with(24, 0x2000), Some(ElfError::Entry));
    assert_eq!(
        error_with(program(1, 8), 0x2200),
        Some(ElfError::SegmentBounds)
    );
    assert_eq!(
        error_with(program(2, 40), high),
        Some(ElfError::SegmentBounds)
    );
    assert_eq!(
        error_with(program(2, 40), 65 << 20),
        Some(ElfError::SegmentBounds)
    );
    assert_eq!(
        error_with(program(2, 16), 0x1080),
        Some(ElfError::SegmentOverlap)
    );
    assert_eq!(
        error_with(program(2, 16), 0x1800),
        Some(ElfError::SegmentOverlap)
    );
    assert_eq!(
        error_with(program(0, 0), 1 | 7 << 32),
        Some(ElfError::WritableCode)
    );
    assert_eq!(
        error_with(program(0, 0), 3 | 4 << 32),
        Some(ElfError::NeedsLoader)
    );
    assert_eq!(error_with(0x2000 + 24, 23), Some(ElfError::Relocation));
    assert_eq!(
        error_with(0x2000 + 24, 24 << 20),
        Some(ElfError::Relocation)
    );
    assert_eq!(
        error_with(0x2080, 0x1000),
        Some(ElfError::Relocation),
        "target in text"
    );
    assert_eq!(
        error_with(0x2080, 0x37fc),
        Some(ElfError::Relocation),
        "target past the end"
    );
    assert_eq!(error_with(0x2088, 1), Some(ElfError::Relocation), "type 1");
    assert_eq!(
        error_with(0x2090, high),
        Some(ElfError::Relocation),
        "addend outside"
    );
    assert_eq!(error_with(24, 0x1010), None, "the unchanged image");
}

#[test]
fn memory_that_is_too_short_is_refused() {
    let bytes = image();
    let parsed = ElfImage::parse(&bytes).unwrap();
    assert_eq!(
        parsed.load(&mut [0; 0x3fff], 0),
        Err(ElfError::SegmentBounds)
    );
}

proptest! {
    #[test]
    fn no_bytes_panic(changes in proptest::collection::vec((0_usize..0x2200, any::<u8>()), 0..24), cut in 0_usize..0x2200, whole: bool) {
        let mut bytes = image();
        for (at, value) in changes {
            // Most changes should hit what is parsed.
            let at = if at % 4 == 0 { at } else { at % 0x160 };
            bytes[at] = value;
        }
        if !whole {
            bytes.truncate(cut);
        }
        if let Ok(parsed) = ElfImage::parse(&bytes) {
            let mut memory = vec![0; parsed.span() as usize];
            let _ = parsed.load(&mut memory, u64::MAX - 5);
        }
    }
}
