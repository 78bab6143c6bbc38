//! ELF files (System V ABI, "Object Files"): what is loaded where.

use alloc::string::ToString;
use alloc::vec::Vec;

use super::{Image, Kind, Refusal, Segment, field};

/// Program headers that are read at most.
const HEADERS_MAX: u16 = 64;
const LOAD: u32 = 1;
const EXECUTABLE: u16 = 2;

/// Word size of the file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Class {
    /// 32-bit, for i386.
    Bits32,
    /// 64-bit, for x86-64.
    Bits64,
}

/// A loadable part of the file, as its program header says.
struct Load {
    offset: u64,
    virtual_address: u64,
    physical_address: u64,
    file_size: u64,
    memory_size: u64,
}

/// Whether the file is an ELF file at all.
#[must_use]
pub fn is_elf(file: &[u8]) -> bool {
    file.starts_with(b"\x7fELF")
}

/// Whether the file says that it is a 64-bit ELF file.
#[must_use]
pub fn is_elf64(file: &[u8]) -> bool {
    is_elf(file) && file.get(4) == Some(&2)
}

/// Reads the headers of an executable of this class.
pub fn parse(file: &[u8], class: Class) -> Result<Image<'_>, Refusal> {
    check_header(file, class)?;
    let loads = program_headers(file, class)?;
    let entry = match class {
        Class::Bits32 => field::u32(file, 24).map(u64::from),
        Class::Bits64 => field::u64(file, 24),
    };
    let entry = entry.ok_or("the ELF header is cut off")?;
    let segments = loads
        .iter()
        .map(|load| segment(file, load))
        .collect::<Result<Vec<_>, _>>()?;
    let holder = loads.iter().find(|load| {
        entry
            .checked_sub(load.virtual_address)
            .is_some_and(|into| into < load.memory_size)
    });
    let holder = holder.ok_or("the entry point lies in no loaded segment")?;
    let entry = holder
        .physical_address
        .checked_add(entry - holder.virtual_address)
        .ok_or("the entry point lies outside the address space")?;
    let kind = match class {
        Class::Bits32 => Kind::Multiboot1,
        Class::Bits64 => Kind::Long,
    };
    Ok(Image {
        kind,
        entry,
        segments,
        page_aligned_modules: true,
    })
}

fn check_header(file: &[u8], class: Class) -> Result<(), Refusal> {
    if !is_elf(file) {
        return Err("it is not an ELF file".to_string());
    }
    let (class_byte, machine) = match class {
        Class::Bits32 => (1, 3),
        Class::Bits64 => (2, 62),
    };
    if file.get(4) != Some(&class_byte) || file.get(5) != Some(&1) {
        return Err("its word size or byte order is not known here".to_string());
    }
    if field::u16(file, 18) != Some(machine) {
        return Err("it is for another processor".to_string());
    }
    if field::u16(file, 16) != Some(EXECUTABLE) {
        return Err("it is not an executable at fixed addresses: link it without PIE".to_string());
    }
    Ok(())
}

fn program_headers(file: &[u8], class: Class) -> Result<Vec<Load>, Refusal> {
    let cut = || "its program headers are cut off".to_string();
    let (offset, size, count, least) = match class {
        Class::Bits32 => (
            field::u32(file, 28).map(u64::from),
            field::u16(file, 42),
            field::u16(file, 44),
            32,
        ),
        Class::Bits64 => (
            field::u64(file, 32),
            field::u16(file, 54),
            field::u16(file, 56),
            56,
        ),
    };
    let offset = offset.ok_or_else(cut)?;
    let (size, count) = (size.ok_or_else(cut)?, count.ok_or_else(cut)?);
    if size < least || count > HEADERS_MAX {
        return Err("its program headers do not make sense".to_string());
    }
    let mut loads = Vec::new();
    for index in 0..u64::from(count) {
        let at = offset
            .checked_add(index * u64::from(size))
            .ok_or_else(cut)?;
        if field::u32(file, at).ok_or_else(cut)? == LOAD {
            let load = program_header(file, at, class).ok_or_else(cut)?;
            if load.memory_size > 0 {
                loads.push(load);
            }
        }
    }
    if loads.is_empty() {
        return Err("nothing in it is to be loaded".to_string());
    }
    Ok(loads)
}

fn program_header(file: &[u8], at: u64, class: Class) -> Option<Load> {
    let wide = |offset: u64| match class {
        Class::Bits32 => field::u32(file, at.checked_add(offset)?).map(u64::from),
        Class::Bits64 => field::u64(file, at.checked_add(offset)?),
    };
    let [
        offset,
        virtual_address,
        physical_address,
        file_size,
        memory_size,
    ] = match class {
        Class::Bits32 => [4, 8, 12, 16, 20],
        Class::Bits64 => [8, 16, 24, 32, 40],
    };
    Some(Load {
        offset: wide(offset)?,
        virtual_address: wide(virtual_address)?,
        physical_address: wide(physical_address)?,
        file_size: wide(file_size)?,
        memory_size: wide(memory_size)?,
    })
}

fn segment<'a>(file: &'a [u8], load: &Load) -> Result<Segment<'a>, Refusal> {
    if load.file_size > load.memory_size {
        return Err("a segment is larger in the file than in memory".to_string());
    }
    let data = field::range(file, load.offset, load.file_size)
        .ok_or("a segment lies outside the file: the file is cut off")?;
    Ok(Segment {
        address: load.physical_address,
        data,
        size: load.memory_size,
    })
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use alloc::vec;

    /// An ELF64 executable with these segments: address, bytes, memory size.
    pub fn elf64(entry: u64, segments: &[(u64, &[u8], u64)]) -> Vec<u8> {
        let mut file = vec![0u8; 64 + 56 * segments.len()];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[16..18].copy_from_slice(&2u16.to_le_bytes());
        file[18..20].copy_from_slice(&62u16.to_le_bytes());
        file[24..32].copy_from_slice(&entry.to_le_bytes());
        file[32..40].copy_from_slice(&64u64.to_le_bytes());
        file[54..56].copy_from_slice(&56u16.to_le_bytes());
        file[56..58].copy_from_slice(&(segments.len() as u16).to_le_bytes());
        for (index, (address, bytes, size)) in segments.iter().enumerate() {
            let at = 64 + 56 * index;
            let offset = file.len() as u64;
            file.extend_from_slice(bytes);
            file[at..at + 4].copy_from_slice(&1u32.to_le_bytes());
            let fields = [offset, *address, *address, bytes.len() as u64, *size];
            for (field, value) in fields.into_iter().enumerate() {
                let at = at + 8 + 8 * field;
                file[at..at + 8].copy_from_slice(&value.to_le_bytes());
            }
        }
        file
    }

    #[test]
    fn an_executable_is_read() {
        let file = elf64(0x10_0004, &[(0x10_0000, b"abcdefgh", 0x2000)]);
        let image = parse(&file, Class::Bits64).unwrap();
        assert_eq!((image.kind, image.entry), (Kind::Long, 0x10_0004));
        assert_eq!(image.segments[0].data, b"abcdefgh");
        assert_eq!(image.segments[0].size, 0x2000);
    }

    #[test]
    fn fw_13_every_cut_and_every_flipped_byte_is_refused_or_read_in_bounds() {
        let file = elf64(
            0x10_0004,
            &[
                (0x10_0000, b"abcdefgh", 0x2000),
                (0x20_0000, b"data", 0x1000),
            ],
        );
        for length in 0..file.len() {
            assert!(parse(&file[..length], Class::Bits64).is_err());
        }
        for at in 0..file.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut hostile = file.clone();
                hostile[at] = value;
                let _ = super::super::parse(&hostile, 64 << 20);
            }
        }
    }

    #[test]
    fn fw_13_numbers_that_wrap_are_refused() {
        for (field, value) in [(8, u64::MAX), (32, u64::MAX), (8, u64::MAX - 7)] {
            let mut file = elf64(0x10_0000, &[(0x10_0000, b"abcdefgh", 0x2000)]);
            file[64 + field..72 + field].copy_from_slice(&value.to_le_bytes());
            assert!(parse(&file, Class::Bits64).is_err());
        }
    }
}
