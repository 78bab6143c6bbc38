//! PCI Firmware Specification 3.3, section 4.1.2 "MCFG Table Description".

use address::Spa;

use crate::bytes::{u8_at, u16_at, u64_at};
use crate::{Error, Signature, Table};

/// The table's signature.
pub const SIGNATURE: Signature = Signature(*b"MCFG");
const FIXED: usize = 44;
const ENTRY: usize = 16;
/// Bytes of configuration space per bus.
pub const BUS_BYTES: u64 = 1 << 20;

/// A checked MCFG.
#[derive(Clone, Copy, Debug)]
pub struct Mcfg<'a> {
    table: Table<'a>,
}

/// Memory-mapped configuration space of some buses of one segment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Segment {
    /// PCI segment group.
    pub segment: u16,
    /// Where bus 0 of the segment would stand, even where `first_bus` is another.
    pub base: Spa,
    /// First bus decoded.
    pub first_bus: u8,
    /// Last bus decoded; not below `first_bus`.
    pub last_bus: u8,
}

impl Segment {
    /// First byte decoded. [`Mcfg::segments`] yields only ranges that end below 2^64.
    #[must_use]
    pub const fn start(&self) -> Spa {
        Spa::new(
            self.base
                .as_u64()
                .saturating_add(self.first_bus as u64 * BUS_BYTES),
        )
    }

    /// Bytes decoded.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        (self.last_bus as u64 + 1).saturating_sub(self.first_bus as u64) * BUS_BYTES
    }

    fn end(&self) -> u64 {
        self.start().as_u64().saturating_add(self.bytes())
    }

    fn overlaps(&self, other: &Self) -> bool {
        let memory = self.start().as_u64() < other.end() && other.start().as_u64() < self.end();
        let buses = self.first_bus <= other.last_bus && other.first_bus <= self.last_bus;
        memory || (self.segment == other.segment && buses)
    }
}

impl<'a> Mcfg<'a> {
    /// Checks the table's header.
    ///
    /// # Errors
    /// Those of [`Table::parse`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        Table::parse(bytes, SIGNATURE, FIXED).map(|table| Self { table })
    }

    /// All segments; an unsound one is an error and the walk goes on, because entries have a fixed size.
    ///
    /// Refused: reversed bus range, base that is zero or not aligned to a bus, end past 2^64, and an entry that overlaps
    /// a sound one before it, in memory or in buses. Bytes after the last whole entry are ignored.
    pub fn segments(&self) -> impl Iterator<Item = Result<Segment, Error>> + use<'a> {
        let entries = self.table.from(FIXED);
        entries
            .chunks_exact(ENTRY)
            .enumerate()
            .map(move |(index, bytes)| {
                let segment = segment(bytes)?;
                let earlier = entries.chunks_exact(ENTRY).take(index);
                let clash = earlier
                    .filter_map(|bytes| self::segment(bytes).ok())
                    .any(|e| e.overlaps(&segment));
                if clash {
                    return Err(Error::Duplicate {
                        table: SIGNATURE,
                        what: segment.start().as_u64(),
                    });
                }
                Ok(segment)
            })
    }
}

fn segment(bytes: &[u8]) -> Result<Segment, Error> {
    decode(bytes)
        .ok_or(Error::Cut {
            table: SIGNATURE,
            needed: ENTRY,
            available: bytes.len(),
        })
        .and_then(check)
}

fn decode(bytes: &[u8]) -> Option<Segment> {
    Some(Segment {
        base: Spa::new(u64_at(bytes, 0)?),
        segment: u16_at(bytes, 8)?,
        first_bus: u8_at(bytes, 10)?,
        last_bus: u8_at(bytes, 11)?,
    })
}

fn check(segment: Segment) -> Result<Segment, Error> {
    let (base, first, last) = (segment.base.as_u64(), segment.first_bus, segment.last_bus);
    if first > last {
        return Err(Error::Range {
            table: SIGNATURE,
            first: first.into(),
            last: last.into(),
        });
    }
    if base == 0 || !base.is_multiple_of(BUS_BYTES) {
        return Err(Error::Address {
            table: SIGNATURE,
            address: base,
        });
    }
    if base
        .checked_add((u64::from(last) + 1) * BUS_BYTES)
        .is_none()
    {
        return Err(Error::Range {
            table: SIGNATURE,
            first: base,
            last: last.into(),
        });
    }
    Ok(segment)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::table;
    extern crate std;
    use std::vec::Vec;

    fn entry(base: u64, segment: u16, first: u8, last: u8) -> Vec<u8> {
        let mut bytes = Vec::from(base.to_le_bytes());
        bytes.extend(segment.to_le_bytes());
        bytes.extend([first, last, 0, 0, 0, 0]);
        bytes
    }

    fn read(entries: &[Vec<u8>]) -> Vec<Result<Segment, Error>> {
        let body = [&[0; 8][..], &entries.concat()].concat();
        let bytes = table(b"MCFG", 1, &body);
        Mcfg::parse(&bytes).unwrap().segments().collect()
    }

    #[test]
    fn segments_of_an_emulated_machine_are_read() {
        let found = read(&[
            entry(0xe000_0000, 0, 0, 255),
            entry(0x40_0000_0000, 1, 0x80, 0xff),
        ]);
        assert_eq!(
            found[0],
            Ok(Segment {
                segment: 0,
                base: Spa::new(0xe000_0000),
                first_bus: 0,
                last_bus: 255
            })
        );
        let second = found[1].unwrap();
        assert_eq!(
            (second.start(), second.bytes()),
            (Spa::new(0x40_0800_0000), 0x800_0000)
        );
    }

    #[test]
    fn fw_08_reversed_overflowing_misplaced_and_overlapping_segments_are_refused() {
        assert!(matches!(
            read(&[entry(0xe000_0000, 0, 9, 8)])[..],
            [Err(Error::Range { .. })]
        ));
        assert!(matches!(
            read(&[entry(!0xfffff, 0, 0, 0)])[..],
            [Err(Error::Range { .. })]
        ));
        assert!(matches!(
            read(&[entry(0, 0, 0, 0)])[..],
            [Err(Error::Address { .. })]
        ));
        assert!(matches!(
            read(&[entry(0xe000_1000, 0, 0, 0)])[..],
            [Err(Error::Address { .. })]
        ));
        let same_memory = read(&[entry(0xe000_0000, 0, 0, 9), entry(0xe000_0000, 1, 9, 12)]);
        assert!(matches!(
            same_memory[..],
            [Ok(_), Err(Error::Duplicate { .. })]
        ));
        let same_buses = read(&[entry(0xe000_0000, 0, 0, 9), entry(0x8_0000_0000, 0, 9, 12)]);
        assert!(matches!(
            same_buses[..],
            [Ok(_), Err(Error::Duplicate { .. })]
        ));
    }

    #[test]
    fn fw_08_half_an_entry_is_ignored() {
        let body = [&[0; 8][..], &entry(0xe000_0000, 0, 0, 255), &[1; 15]].concat();
        let bytes = table(b"MCFG", 1, &body);
        assert_eq!(Mcfg::parse(&bytes).unwrap().segments().count(), 1);
    }
}
