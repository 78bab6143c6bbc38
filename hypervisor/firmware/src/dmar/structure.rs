//! Intel VT-d specification 4.1, sections 8.3 to 8.7: the remapping structures.

use address::{PageSize, Spa};

use super::{SIGNATURE, Scopes};
use crate::Error;
use crate::bytes::{Record, u8_at, u16_at, u64_at};

/// DMA remapping hardware unit definition (section 8.3).
#[derive(Clone, Debug)]
pub struct Drhd<'a> {
    /// Flag 0: the unit covers every device of its segment that no other unit names.
    pub include_all: bool,
    /// Bytes of its register block: 4 KiB times a power of two.
    pub register_bytes: u64,
    /// PCI segment.
    pub segment: u16,
    /// Physical address of its register block; not zero, 4 KiB aligned, ends below 2^64.
    pub base: Spa,
    /// What it covers. IOAPICs and HPETs are named even with `include_all`.
    pub scopes: Scopes<'a>,
}

/// Reserved memory region (section 8.4): memory that firmware wants its devices to go on reaching.
#[derive(Clone, Debug)]
pub struct Rmrr<'a> {
    /// PCI segment.
    pub segment: u16,
    /// First byte, as stated.
    pub base: u64,
    /// Last byte, as stated.
    pub limit: u64,
    /// Its owners. They are known even where the range is nonsense: such a device is refused all the more.
    pub scopes: Scopes<'a>,
}

impl Rmrr<'_> {
    /// First byte and number of bytes, whole pages.
    ///
    /// # Errors
    /// [`Error::Range`] where the range is reversed or ends past 2^64; [`Error::Address`] where it is not whole pages.
    pub fn range(&self) -> Result<(Spa, u64), Error> {
        let wrong = Error::Range {
            table: SIGNATURE,
            first: self.base,
            last: self.limit,
        };
        let bytes = self.limit.checked_sub(self.base).ok_or(wrong)?;
        let bytes = bytes.checked_add(1).ok_or(wrong)?;
        self.base.checked_add(bytes).ok_or(wrong)?;
        if (self.base | bytes) & 0xfff != 0 {
            return Err(Error::Address {
                table: SIGNATURE,
                address: self.base,
            });
        }
        Ok((Spa::new(self.base), bytes))
    }
}

/// Root ports that support address translation services (section 8.5).
#[derive(Clone, Debug)]
pub struct Atsr<'a> {
    /// Flag 0: all root ports of the segment.
    pub all_ports: bool,
    /// PCI segment.
    pub segment: u16,
    /// The root ports.
    pub scopes: Scopes<'a>,
}

/// A device of the ACPI namespace (section 8.7).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Andd<'a> {
    /// Number by which a device scope names it.
    pub device_number: u8,
    /// Its ACPI path, as it stands: ASCII, ended by a zero byte or the end of the structure.
    pub name: &'a [u8],
}

/// One remapping structure.
#[derive(Clone, Debug)]
pub enum Structure<'a> {
    /// Type 0.
    Drhd(Drhd<'a>),
    /// Type 1.
    Rmrr(Rmrr<'a>),
    /// Type 2.
    Atsr(Atsr<'a>),
    /// Type 3, affinity of a unit: ignored.
    Rhsa,
    /// Type 4.
    Andd(Andd<'a>),
    /// A type that nobody here reads.
    Other(u16),
}

impl<'a> Structure<'a> {
    /// The device scopes, where the structure has some.
    #[must_use]
    pub fn scopes(&self) -> Option<Scopes<'a>> {
        match self {
            Self::Drhd(Drhd { scopes, .. })
            | Self::Rmrr(Rmrr { scopes, .. })
            | Self::Atsr(Atsr { scopes, .. }) => Some(scopes.clone()),
            _ => None,
        }
    }
}

pub(super) fn read<'a>(record: &Record<'a>) -> Result<Structure<'a>, Error> {
    let minimum = match record.kind {
        0 => 16,
        1 => 24,
        2 | 4 => 8,
        3 => 20,
        _ => 4,
    };
    if record.bytes.len() < minimum {
        return Err(record.short(SIGNATURE, minimum));
    }
    let structure = decode(record.kind, record.bytes, minimum)
        .ok_or_else(|| record.short(SIGNATURE, minimum))?;
    match &structure {
        Structure::Drhd(unit) => check(unit)?,
        _ => return Ok(structure),
    }
    Ok(structure)
}

fn decode(kind: u16, bytes: &[u8], fixed: usize) -> Option<Structure<'_>> {
    let scopes = Scopes::new(bytes.get(fixed..)?);
    Some(match kind {
        0 => Structure::Drhd(Drhd {
            include_all: u8_at(bytes, 4)? & 1 != 0,
            register_bytes: PageSize::Size4K.bytes() << (u8_at(bytes, 5)? & 0xf),
            segment: u16_at(bytes, 6)?,
            base: Spa::new(u64_at(bytes, 8)?),
            scopes,
        }),
        1 => Structure::Rmrr(Rmrr {
            segment: u16_at(bytes, 6)?,
            base: u64_at(bytes, 8)?,
            limit: u64_at(bytes, 16)?,
            scopes,
        }),
        2 => Structure::Atsr(Atsr {
            all_ports: u8_at(bytes, 4)? & 1 != 0,
            segment: u16_at(bytes, 6)?,
            scopes,
        }),
        3 => Structure::Rhsa,
        4 => Structure::Andd(Andd {
            device_number: u8_at(bytes, 7)?,
            name: bytes.get(8..)?.split(|byte| *byte == 0).next()?,
        }),
        other => Structure::Other(other),
    })
}

/// FW-02: registers at zero, unaligned or past the end of memory are touched by nobody.
fn check(unit: &Drhd<'_>) -> Result<(), Error> {
    let sound = unit.base.as_u64() != 0 && unit.base.is_aligned(PageSize::Size4K);
    if !sound || unit.base.checked_add(unit.register_bytes).is_none() {
        return Err(Error::Address {
            table: SIGNATURE,
            address: unit.base.as_u64(),
        });
    }
    Ok(())
}
