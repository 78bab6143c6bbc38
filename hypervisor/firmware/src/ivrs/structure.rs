//! AMD I/O Virtualization Technology (IOMMU) Specification, "I/O Virtualization Hardware Definition (IVHD) Block" and "I/O
//! Virtualization Memory Definition (IVMD) Block".

use address::{PageSize, RequesterId, Spa};

use super::{Devices, SIGNATURE};
use crate::Error;
use crate::bytes::{Record, u8_at, u16_at, u64_at};

const IVHD_SHORT: usize = 24;
const IVHD_LONG: usize = 40;
const IVMD: usize = 32;

/// Registers of a unit without performance counters.
const REGISTER_BYTES: u64 = 0x4000;
/// Registers of a unit with them.
const COUNTER_BYTES: u64 = 0x8_0000;
/// Extended features: there are performance counters.
const COUNTERS: u64 = 1 << 9;

/// How a unit is described, from poor to rich.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// Type 10h.
    Basic,
    /// Type 11h: with the extended features.
    Extended,
    /// Type 40h: with devices of the ACPI namespace.
    Namespace,
}

/// A remapping unit and its devices.
#[derive(Clone, Debug)]
pub struct Ivhd<'a> {
    /// How it is described.
    pub kind: Kind,
    /// PCI segment.
    pub segment: u16,
    /// Requester id of the unit's own function.
    pub function: RequesterId,
    /// Offset of the unit's capability in that function's configuration space.
    pub capability: u16,
    /// Physical address of its register block; not zero, aligned to 16 KiB, ends below 2^64.
    pub base: Spa,
    /// Bytes of its register block.
    pub register_bytes: u64,
    /// What it covers.
    pub devices: Devices<'a>,
}

impl Ivhd<'_> {
    /// Whether both describe one unit.
    #[must_use]
    pub fn is_of(&self, other: &Self) -> bool {
        (self.segment, self.function) == (other.segment, other.function)
    }
}

/// Memory that firmware has plans with for the DMA of some devices.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ivmd {
    /// PCI segment.
    pub segment: u16,
    /// First of its devices.
    pub first: RequesterId,
    /// Last of its devices, not below the first.
    pub last: RequesterId,
    /// They want to read it, at its own address (flags 0 and 1) or untranslated (flag 3, "exclusion"): to whoever blocks devices,
    /// both are the same wish.
    pub read: bool,
    /// They want to write it (flags 0 and 2, or 3).
    pub write: bool,
    /// First byte, as stated.
    pub base: u64,
    /// Bytes, as stated.
    pub bytes: u64,
}

impl Ivmd {
    /// First byte and number of bytes, whole pages.
    ///
    /// # Errors
    /// [`Error::Range`] where the range is empty or ends past 2^64; [`Error::Address`] where it is not whole pages.
    pub fn range(&self) -> Result<(Spa, u64), Error> {
        let wrong = Error::Range {
            table: SIGNATURE,
            first: self.base,
            last: self.base.wrapping_add(self.bytes).wrapping_sub(1),
        };
        if self.bytes == 0 || self.base.checked_add(self.bytes).is_none() {
            return Err(wrong);
        }
        if (self.base | self.bytes) & (PageSize::Size4K.bytes() - 1) != 0 {
            return Err(Error::Address {
                table: SIGNATURE,
                address: self.base,
            });
        }
        Ok((Spa::new(self.base), self.bytes))
    }
}

/// One block.
#[derive(Clone, Debug)]
pub enum Structure<'a> {
    /// Types 10h, 11h, 40h.
    Ivhd(Ivhd<'a>),
    /// Types 20h (all devices), 21h (one), 22h (a range).
    Ivmd(Ivmd),
    /// A type that nobody here reads.
    Other(u8),
}

pub(super) fn read<'a>(record: &Record<'a>) -> Result<Structure<'a>, Error> {
    let minimum = match record.kind {
        0x10 => IVHD_SHORT,
        0x11 | 0x40 => IVHD_LONG,
        0x20..=0x22 => IVMD,
        _ => 4,
    };
    let short = record.short(SIGNATURE, minimum);
    if record.bytes.len() < minimum {
        return Err(short);
    }
    match record.kind {
        0x10 | 0x11 | 0x40 => {
            let unit = unit(record.kind, record.bytes, minimum).ok_or(short)?;
            check(&unit).map(|()| Structure::Ivhd(unit))
        }
        0x20..=0x22 => memory(record.kind, record.bytes)
            .ok_or(short)?
            .map(Structure::Ivmd),
        other => Ok(Structure::Other(other as u8)),
    }
}

fn unit(kind: u16, bytes: &[u8], fixed: usize) -> Option<Ivhd<'_>> {
    let (kind, features) = match kind {
        0x10 => (Kind::Basic, 0),
        0x11 => (Kind::Extended, u64_at(bytes, 24)?),
        _ => (Kind::Namespace, u64_at(bytes, 24)?),
    };
    Some(Ivhd {
        kind,
        segment: u16_at(bytes, 16)?,
        function: RequesterId(u16_at(bytes, 4)?),
        capability: u16_at(bytes, 6)?,
        base: Spa::new(u64_at(bytes, 8)?),
        register_bytes: if features & COUNTERS != 0 {
            COUNTER_BYTES
        } else {
            REGISTER_BYTES
        },
        devices: Devices::new(bytes.get(fixed..)?),
    })
}

/// FW-05: registers at zero, unaligned or past the end of memory are touched by nobody.
fn check(unit: &Ivhd<'_>) -> Result<(), Error> {
    let base = unit.base.as_u64();
    let sound = base != 0 && base & (REGISTER_BYTES - 1) == 0;
    if !sound || unit.base.checked_add(unit.register_bytes).is_none() {
        return Err(Error::Address {
            table: SIGNATURE,
            address: base,
        });
    }
    Ok(())
}

fn memory(kind: u16, bytes: &[u8]) -> Option<Result<Ivmd, Error>> {
    let (first, second) = (u16_at(bytes, 4)?, u16_at(bytes, 6)?);
    let (first, last) = match kind {
        0x20 => (0, u16::MAX),
        0x21 => (first, first),
        _ => (first, second),
    };
    let flags = u8_at(bytes, 1)?;
    let (unity, exclusion) = (flags & 1 != 0, flags & 1 << 3 != 0);
    let memory = Ivmd {
        segment: u16_at(bytes, 8)?,
        first: RequesterId(first),
        last: RequesterId(last),
        read: exclusion || unity && flags & 1 << 1 != 0,
        write: exclusion || unity && flags & 1 << 2 != 0,
        base: u64_at(bytes, 16)?,
        bytes: u64_at(bytes, 24)?,
    };
    if last < first {
        return Some(Err(Error::Range {
            table: SIGNATURE,
            first: first.into(),
            last: last.into(),
        }));
    }
    Some(Ok(memory))
}
