//! Little-endian reads and records of stated length, all bounded.

use crate::{Error, Signature};

/// `N` bytes from an offset on; `None` where they are not all there.
fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>().copied()
}

/// The byte at an offset.
pub(crate) fn u8_at(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

/// The 16-bit number at an offset.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_le_bytes)
}

/// The 32-bit number at an offset.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

/// The 64-bit number at an offset.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_le_bytes)
}

/// How a kind of record states its type and length.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RecordHeader {
    /// Type in byte 0, length in byte 1.
    Bytes,
    /// Type in bytes 0 and 1, length in bytes 2 and 3.
    Words,
    /// Type in byte 0, flags in byte 1, length in bytes 2 and 3.
    Flagged,
}

impl RecordHeader {
    const fn size(self) -> usize {
        match self {
            Self::Bytes => 2,
            Self::Words | Self::Flagged => 4,
        }
    }

    fn read(self, bytes: &[u8]) -> Option<(u16, usize)> {
        Some(match self {
            Self::Bytes => (u8_at(bytes, 0)?.into(), u8_at(bytes, 1)?.into()),
            Self::Words => (u16_at(bytes, 0)?, u16_at(bytes, 2)?.into()),
            Self::Flagged => (u8_at(bytes, 0)?.into(), u16_at(bytes, 2)?.into()),
        })
    }
}

/// One record: its type, all its bytes, and where it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    pub(crate) kind: u16,
    pub(crate) bytes: &'a [u8],
    pub(crate) at: usize,
}

/// Records one after another. After the first malformed one it ends.
#[derive(Clone, Debug)]
pub(crate) struct Records<'a> {
    table: Signature,
    header: RecordHeader,
    rest: &'a [u8],
    at: usize,
}

impl<'a> Records<'a> {
    pub(crate) const fn new(table: Signature, header: RecordHeader, bytes: &'a [u8]) -> Self {
        Self {
            table,
            header,
            rest: bytes,
            at: 0,
        }
    }

    fn take(&mut self) -> Result<Record<'a>, Error> {
        let (rest, at) = (core::mem::take(&mut self.rest), self.at);
        let minimum = self.header.size();
        let (kind, length) = self.header.read(rest).unwrap_or((0, 0));
        let wrong = Error::RecordLength {
            table: self.table,
            kind,
            at,
            length,
            minimum,
            available: rest.len(),
        };
        // A length below the header's own size is what would make a walk stand still.
        if length < minimum {
            return Err(wrong);
        }
        let (bytes, rest) = rest.split_at_checked(length).ok_or(wrong)?;
        self.rest = rest;
        self.at = at.saturating_add(length);
        Ok(Record { kind, bytes, at })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.rest.is_empty()).then(|| self.take())
    }
}

impl Record<'_> {
    /// The error of a record that is too short for its type.
    pub(crate) fn short(&self, table: Signature, minimum: usize) -> Error {
        Error::RecordLength {
            table,
            kind: self.kind,
            at: self.at,
            length: self.bytes.len(),
            minimum,
            available: self.bytes.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use std::vec::Vec;

    fn walk(header: RecordHeader, bytes: &[u8]) -> Vec<Result<usize, Error>> {
        Records::new(Signature(*b"TEST"), header, bytes)
            .map(|record| record.map(|record| record.bytes.len()))
            .collect()
    }

    #[test]
    fn fw_01_a_record_of_length_zero_ends_the_walk() {
        let found = walk(RecordHeader::Bytes, &[1, 3, 0, 2, 0, 0, 0]);
        assert_eq!(found[0], Ok(3));
        assert!(matches!(
            found[1],
            Err(Error::RecordLength {
                at: 3,
                length: 0,
                ..
            })
        ));
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn fw_01_a_record_past_the_end_ends_the_walk() {
        assert!(matches!(
            walk(RecordHeader::Words, &[0, 0, 9, 0, 1, 2])[..],
            [Err(Error::RecordLength {
                length: 9,
                available: 6,
                ..
            })]
        ));
        assert!(matches!(
            walk(RecordHeader::Words, &[0, 0, 4])[..],
            [Err(_)]
        ));
    }
}
