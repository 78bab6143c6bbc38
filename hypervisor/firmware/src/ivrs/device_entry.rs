//! AMD I/O Virtualization Technology (IOMMU) Specification, "IVHD Device Entries". What an entry says about interrupt messages that
//! are to pass (its DTE setting) is read by nobody: none pass.

use address::RequesterId;

use super::SIGNATURE;
use crate::Error;
use crate::bytes::{u8_at, u16_at};

/// Bytes of an ACPI HID entry before its unique id.
const NAMESPACE_FIXED: usize = 22;

/// What raises interrupts without being a function of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SpecialKind {
    /// Variety 1: an IOAPIC; the handle is its MADT id.
    IoApic,
    /// Variety 2: an HPET block; the handle is its number.
    Hpet,
    /// A variety that later editions may define.
    Other(u8),
}

/// What entries say, ranges put together.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Entry {
    /// Requester ids `first` to `last` are the unit's (types 1 to 4, 46h, 47h), and are seen under `alias`, where there is one
    /// (types 42h, 43h).
    Devices {
        /// First id.
        first: RequesterId,
        /// Last id, not below the first.
        last: RequesterId,
        /// The one id under which they come.
        alias: Option<RequesterId>,
    },
    /// Type 48h.
    Special {
        /// What it is.
        kind: SpecialKind,
        /// Its number.
        handle: u8,
        /// Requester id of its messages.
        requester: RequesterId,
    },
    /// Type F0h: a device of the ACPI namespace that comes under a requester id.
    Namespace {
        /// The id.
        requester: RequesterId,
        /// Its hardware id.
        hid: [u8; 8],
    },
}

/// The entries of one block. After the first malformed one it ends.
#[derive(Clone, Debug)]
pub struct Devices<'a> {
    rest: &'a [u8],
    at: usize,
}

/// One entry as it stands.
#[derive(Clone, Copy)]
struct Raw<'a> {
    kind: u8,
    bytes: &'a [u8],
}

impl<'a> Devices<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, at: 0 }
    }

    fn raw(&mut self) -> Result<Raw<'a>, Error> {
        let (rest, at) = (self.rest, self.at);
        let kind = u8_at(rest, 0).unwrap_or(0);
        let length = length(rest).unwrap_or(0);
        let wrong = Error::RecordLength {
            table: SIGNATURE,
            kind: kind.into(),
            at,
            length,
            minimum: 4,
            available: rest.len(),
        };
        if length == 0 {
            return Err(wrong);
        }
        let (bytes, rest) = rest.split_at_checked(length).ok_or(wrong)?;
        self.rest = rest;
        self.at = at.saturating_add(length);
        Ok(Raw { kind, bytes })
    }

    fn take(&mut self) -> Result<Option<Entry>, Error> {
        let raw = self.raw()?;
        let short = Error::RecordLength {
            table: SIGNATURE,
            kind: raw.kind.into(),
            at: self.at,
            length: raw.bytes.len(),
            minimum: 4,
            available: raw.bytes.len(),
        };
        let id = u16_at(raw.bytes, 1).ok_or(short)?;
        let alias = || u16_at(raw.bytes, 5).ok_or(short).map(RequesterId);
        Ok(Some(match raw.kind {
            1 => devices(0, u16::MAX, None),
            2 | 0x46 => devices(id, id, None),
            0x42 => devices(id, id, Some(alias()?)),
            3 | 0x47 => devices(id, self.range_end(id)?, None),
            0x43 => {
                let alias = alias()?;
                devices(id, self.range_end(id)?, Some(alias))
            }
            // An end without a start.
            4 => return Err(reversed(id, id)),
            0x48 => Entry::Special {
                kind: special(u8_at(raw.bytes, 7).ok_or(short)?),
                handle: u8_at(raw.bytes, 4).ok_or(short)?,
                requester: alias()?,
            },
            0xf0 => Entry::Namespace {
                requester: RequesterId(id),
                hid: hid(raw.bytes).ok_or(short)?,
            },
            // Padding, and what later editions may define.
            _ => return Ok(None),
        }))
    }

    /// The entry that ends a range stands right behind the one that starts it.
    fn range_end(&mut self, first: u16) -> Result<u16, Error> {
        let raw = self.raw()?;
        let last = u16_at(raw.bytes, 1).unwrap_or(0);
        if raw.kind != 4 || last < first {
            return Err(reversed(first, last));
        }
        Ok(last)
    }
}

impl<'a> Iterator for Devices<'a> {
    type Item = Result<Entry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let taken = self.take().transpose();
            if let Some(Err(_)) = taken {
                self.rest = &[];
            }
            if taken.is_some() {
                return taken;
            }
        }
        None
    }
}

/// Length of the entry at the beginning; `None` where it cannot be known.
fn length(bytes: &[u8]) -> Option<usize> {
    Some(match u8_at(bytes, 0)? {
        0..=0x3f => 4,
        0x40..=0x7f => 8,
        0x80..=0xbf => 16,
        0xc0..=0xef => 32,
        0xf0 => NAMESPACE_FIXED + usize::from(u8_at(bytes, 21)?),
        _ => return None,
    })
}

const fn devices(first: u16, last: u16, alias: Option<RequesterId>) -> Entry {
    Entry::Devices {
        first: RequesterId(first),
        last: RequesterId(last),
        alias,
    }
}

const fn reversed(first: u16, last: u16) -> Error {
    Error::Range {
        table: SIGNATURE,
        first: first as u64,
        last: last as u64,
    }
}

const fn special(variety: u8) -> SpecialKind {
    match variety {
        1 => SpecialKind::IoApic,
        2 => SpecialKind::Hpet,
        other => SpecialKind::Other(other),
    }
}

fn hid(bytes: &[u8]) -> Option<[u8; 8]> {
    bytes.get(4..)?.first_chunk::<8>().copied()
}
