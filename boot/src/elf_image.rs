//! ELF-64 static position-independent executables (System V gABI, "Program Header"; x86-64 psABI, "Relocation").

use alloc::vec::Vec;

use elf::ElfBytes;
use elf::abi::{
    DT_RELA, DT_RELAENT, DT_RELASZ, EM_X86_64, ET_DYN, PF_W, PF_X, PT_DYNAMIC, PT_GNU_RELRO,
    PT_INTERP, PT_LOAD, PT_TLS, R_X86_64_NONE, R_X86_64_RELATIVE,
};
use elf::endian::LittleEndian;
use elf::file::Class;
use elf::segment::ProgramHeader;
use handoff::Extent;
use thiserror::Error;

const PAGE: u64 = 4096;
/// No image of this project comes near this size; it keeps hostile headers from asking for all memory.
const LONGEST_IMAGE: u64 = 64 << 20;
const MOST_SEGMENTS: usize = 32;
const RELA_BYTES: u64 = 24;
/// Relative relocations in packed form.
const DT_RELR: i64 = 36;

/// Why a file is not an image that the loader can place.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum ElfError {
    /// The header or its tables are cut off or not ELF.
    #[error("it is not an ELF file, or it is cut short")]
    NotElf,
    /// Another class, machine or type.
    #[error("it is not a static position-independent executable for x86-64")]
    WrongType,
    /// It wants something of a dynamic loader.
    #[error("it needs an interpreter, thread-local storage or packed relocations")]
    NeedsLoader,
    /// Nothing to load, or too many segments.
    #[error("it has no segments to load, or more than 32")]
    SegmentCount,
    /// A segment reaches outside the file, wraps around, or the image is larger than 64 MiB.
    #[error("a segment reaches outside the file or past 64 MiB")]
    SegmentBounds,
    /// Segments out of order, overlapping, or of different protection on one page.
    #[error("its segments overlap, are out of order or share a page")]
    SegmentOverlap,
    /// A segment that is writable and executable.
    #[error("a segment is writable and executable")]
    WritableCode,
    /// The entry point is not in an executable segment.
    #[error("its entry point is not in an executable segment")]
    Entry,
    /// A relocation table or its target outside the image, or a type other than RELATIVE.
    #[error("a relocation is of an unknown type or reaches outside the image")]
    Relocation,
}

/// How the pages of a segment may be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protection {
    /// Read only.
    Read,
    /// Read and execute.
    Execute,
    /// Read and write.
    Write,
}

/// A loadable segment; offsets count from the lowest page of the image.
#[derive(Clone, Copy, Debug)]
struct Segment {
    file: Extent,
    memory: Extent,
    protection: Protection,
}

/// An image that has passed all checks that do not need its content in place.
#[derive(Debug)]
pub struct ElfImage<'a> {
    bytes: &'a [u8],
    segments: Vec<Segment>,
    relro: Extent,
    entry: u64,
    /// Lowest virtual address, page aligned: what offset 0 stands for.
    low: u64,
    span: u64,
    relocations: Extent,
}

impl<'a> ElfImage<'a> {
    /// Reads and checks the headers of a file.
    ///
    /// # Errors
    /// Says what is wrong with the file; see [`ElfError`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ElfError> {
        let file = ElfBytes::<LittleEndian>::minimal_parse(bytes).map_err(|_| ElfError::NotElf)?;
        if file.ehdr.class != Class::ELF64
            || file.ehdr.e_machine != EM_X86_64
            || file.ehdr.e_type != ET_DYN
        {
            return Err(ElfError::WrongType);
        }
        let headers = file.segments().ok_or(ElfError::SegmentCount)?;
        if headers
            .iter()
            .any(|header| matches!(header.p_type, PT_INTERP | PT_TLS))
        {
            return Err(ElfError::NeedsLoader);
        }
        let loads: Vec<ProgramHeader> = headers
            .iter()
            .filter(|header| header.p_type == PT_LOAD)
            .collect();
        let first = loads.first().ok_or(ElfError::SegmentCount)?;
        if loads.len() > MOST_SEGMENTS {
            return Err(ElfError::SegmentCount);
        }
        let low = first.p_vaddr & !(PAGE - 1);
        let segments = segments(&loads, low, bytes.len() as u64)?;
        let span = segments
            .last()
            .map_or(0, |last| last.memory.end().next_multiple_of(PAGE));
        let entry = file.ehdr.e_entry.checked_sub(low).ok_or(ElfError::Entry)?;
        if !segments
            .iter()
            .any(|s| s.protection == Protection::Execute && s.memory.contains(entry))
        {
            return Err(ElfError::Entry);
        }
        let relro = relro(
            headers.iter().find(|header| header.p_type == PT_GNU_RELRO),
            low,
            &segments,
        );
        let relocations = relocations(&file, low, span)?;
        Ok(Self {
            bytes,
            segments,
            relro,
            entry,
            low,
            span,
            relocations,
        })
    }

    /// Bytes of memory that the image needs, a multiple of the page size.
    #[must_use]
    pub fn span(&self) -> u64 {
        self.span
    }

    /// Offset of the entry point.
    #[must_use]
    pub fn entry(&self) -> u64 {
        self.entry
    }

    /// Smallest extent of whole pages that holds all segments of this protection; empty where there is none. Constants
    /// that need relocation are not counted as writable: see [`Self::relro`].
    #[must_use]
    pub fn extent(&self, protection: Protection) -> Extent {
        let parts = self
            .segments
            .iter()
            .filter(|segment| segment.protection == protection);
        let mut whole: Option<(u64, u64)> = None;
        for segment in parts {
            let mut start = segment.memory.start & !(PAGE - 1);
            if protection == Protection::Write && self.relro.contains(start) {
                start = self.relro.end();
            }
            let end = segment.memory.end().next_multiple_of(PAGE);
            if start < end {
                whole = Some(whole.map_or((start, end), |(s, e)| (s.min(start), e.max(end))));
            }
        }
        whole.map_or(Extent::default(), |(start, end)| {
            Extent::new(start, end.saturating_sub(start))
        })
    }

    /// Whole pages that may be written only while relocating.
    #[must_use]
    pub fn relro(&self) -> Extent {
        self.relro
    }

    /// Places the image in `memory`, for execution at virtual address `base`.
    ///
    /// # Errors
    /// [`ElfError::SegmentBounds`] where `memory` is shorter than [`Self::span`], [`ElfError::Relocation`] where the
    /// table is broken; `memory` then holds no usable image.
    pub fn load(&self, memory: &mut [u8], base: u64) -> Result<(), ElfError> {
        let memory = memory
            .get_mut(..self.span as usize)
            .ok_or(ElfError::SegmentBounds)?;
        memory.fill(0);
        for segment in &self.segments {
            let source = slice(self.bytes, segment.file).ok_or(ElfError::SegmentBounds)?;
            let start = segment.memory.start as usize;
            let target = memory
                .get_mut(start..start.saturating_add(source.len()))
                .ok_or(ElfError::SegmentBounds)?;
            target.copy_from_slice(source);
        }
        let count = self.relocations.len / RELA_BYTES;
        for index in 0..count {
            let at = self.relocations.start.saturating_add(index * RELA_BYTES);
            self.relocate(memory, at, base)?;
        }
        Ok(())
    }

    /// Applies the `Elf64_Rela` at offset `at`.
    fn relocate(&self, memory: &mut [u8], at: u64, base: u64) -> Result<(), ElfError> {
        let word = |index: u64| {
            let bytes = slice(memory, Extent::new(at + index * 8, 8))?;
            Some(u64::from_le_bytes(bytes.try_into().ok()?))
        };
        let (Some(place), Some(info), Some(addend)) = (word(0), word(1), word(2)) else {
            return Err(ElfError::Relocation);
        };
        match info as u32 {
            R_X86_64_NONE => return Ok(()),
            R_X86_64_RELATIVE if info >> 32 == 0 => {}
            _ => return Err(ElfError::Relocation),
        }
        let place = place.checked_sub(self.low).ok_or(ElfError::Relocation)?;
        let offset = addend
            .checked_sub(self.low)
            .filter(|&offset| offset <= self.span);
        let value = base
            .checked_add(offset.ok_or(ElfError::Relocation)?)
            .ok_or(ElfError::Relocation)?;
        if !self.writable(place) {
            return Err(ElfError::Relocation);
        }
        let end = place.checked_add(8).ok_or(ElfError::Relocation)?;
        let target = memory
            .get_mut(place as usize..end as usize)
            .ok_or(ElfError::Relocation)?;
        target.copy_from_slice(&value.to_le_bytes());
        Ok(())
    }

    fn writable(&self, place: u64) -> bool {
        let fits = |s: &Segment| {
            s.protection == Protection::Write
                && s.memory.contains(place)
                && place + 8 <= s.memory.end()
        };
        self.segments.iter().any(fits)
    }
}

/// The bytes of an extent; `None` where it reaches outside.
fn slice(bytes: &[u8], extent: Extent) -> Option<&[u8]> {
    let end = extent.start.checked_add(extent.len)?;
    bytes.get(usize::try_from(extent.start).ok()?..usize::try_from(end).ok()?)
}

fn segments(loads: &[ProgramHeader], low: u64, file_bytes: u64) -> Result<Vec<Segment>, ElfError> {
    let mut segments: Vec<Segment> = Vec::with_capacity(loads.len());
    for header in loads.iter().filter(|header| header.p_memsz != 0) {
        let segment = segment(header, low, file_bytes)?;
        if let Some(last) = segments.last() {
            let gap =
                segment.memory.start & !(PAGE - 1) >= last.memory.end().next_multiple_of(PAGE);
            if segment.memory.start < last.memory.end()
                || !gap && segment.protection != last.protection
            {
                return Err(ElfError::SegmentOverlap);
            }
        }
        segments.push(segment);
    }
    Ok(segments)
}

fn segment(header: &ProgramHeader, low: u64, file_bytes: u64) -> Result<Segment, ElfError> {
    let file_end = header
        .p_offset
        .checked_add(header.p_filesz)
        .ok_or(ElfError::SegmentBounds)?;
    let start = header
        .p_vaddr
        .checked_sub(low)
        .ok_or(ElfError::SegmentOverlap)?;
    let end = start
        .checked_add(header.p_memsz)
        .ok_or(ElfError::SegmentBounds)?;
    if file_end > file_bytes || header.p_filesz > header.p_memsz || end > LONGEST_IMAGE {
        return Err(ElfError::SegmentBounds);
    }
    let protection = match (header.p_flags & PF_W != 0, header.p_flags & PF_X != 0) {
        (true, true) => return Err(ElfError::WritableCode),
        (true, false) => Protection::Write,
        (false, true) => Protection::Execute,
        (false, false) => Protection::Read,
    };
    Ok(Segment {
        file: Extent::new(header.p_offset, header.p_filesz),
        memory: Extent::new(start, header.p_memsz),
        protection,
    })
}

/// Whole pages of the relocated constants, where they stand at the start of a writable segment; else nothing.
fn relro(header: Option<ProgramHeader>, low: u64, segments: &[Segment]) -> Extent {
    let whole = header.and_then(|header| {
        let start = header.p_vaddr.checked_sub(low)?;
        let end = start.checked_add(header.p_memsz)? & !(PAGE - 1);
        let holder = segments
            .iter()
            .find(|s| s.protection == Protection::Write && s.memory.contains(start))?;
        let first = holder.memory.start & !(PAGE - 1);
        (start & !(PAGE - 1) == first
            && start < end
            && end <= holder.memory.end().next_multiple_of(PAGE))
        .then(|| Extent::new(first, end - first))
    });
    whole.unwrap_or_default()
}

/// Where the `Elf64_Rela` table lies in the image; empty where there is none.
fn relocations(file: &ElfBytes<'_, LittleEndian>, low: u64, span: u64) -> Result<Extent, ElfError> {
    let headers = file.segments().ok_or(ElfError::SegmentCount)?;
    if !headers.iter().any(|header| header.p_type == PT_DYNAMIC) {
        return Ok(Extent::default());
    }
    let table = file
        .dynamic()
        .map_err(|_| ElfError::Relocation)?
        .ok_or(ElfError::Relocation)?;
    let (mut start, mut bytes, mut entry) = (None, 0, RELA_BYTES);
    for item in table.iter() {
        match item.d_tag {
            DT_RELA => start = Some(item.d_ptr()),
            DT_RELASZ => bytes = item.d_val(),
            DT_RELAENT => entry = item.d_val(),
            DT_RELR => return Err(ElfError::NeedsLoader),
            _ => {}
        }
    }
    let Some(start) = start else {
        return Ok(Extent::default());
    };
    let start = start.checked_sub(low).ok_or(ElfError::Relocation)?;
    let end = start.checked_add(bytes).ok_or(ElfError::Relocation)?;
    if entry != RELA_BYTES || !bytes.is_multiple_of(RELA_BYTES) || end > span {
        return Err(ElfError::Relocation);
    }
    Ok(Extent::new(start, bytes))
}

#[cfg(test)]
mod tests;
