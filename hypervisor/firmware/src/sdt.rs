//! ACPI 6.5, section 5.2.6 "System Description Table Header".

use core::fmt;

use crate::Error;
use crate::bytes::{u8_at, u32_at};

/// Bytes in the header that every table starts with.
pub const HEADER_BYTES: usize = 36;

/// Four letters that name a table.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Signature(pub [u8; 4]);

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_ascii().fmt(f)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The fields of a header that somebody reads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SdtHeader {
    /// Four letters at offset 0.
    pub signature: Signature,
    /// Bytes in the whole table, header included; at offset 4. Believed by nobody before [`Table::parse`].
    pub length: u32,
    /// Revision at offset 8.
    pub revision: u8,
    /// OEM id at offset 10.
    pub oem: [u8; 6],
    /// OEM table id at offset 16.
    pub oem_table: [u8; 8],
}

impl SdtHeader {
    /// Reads a header, so that a caller who maps tables can learn how much to map.
    ///
    /// # Errors
    /// [`Error::Cut`] with fewer than [`HEADER_BYTES`] bytes, or where the table says that it is smaller than that.
    pub fn read(bytes: &[u8]) -> Result<Self, Error> {
        let cut = |needed, available| Error::Cut {
            table: Signature(*b"????"),
            needed,
            available,
        };
        let short = cut(HEADER_BYTES, bytes.len());
        let head = bytes.first_chunk::<HEADER_BYTES>().ok_or(short)?;
        let [s0, s1, s2, s3, ..] = *head;
        let length = u32_at(head, 4).ok_or(short)?;
        if (length as usize) < HEADER_BYTES {
            return Err(cut(HEADER_BYTES, length as usize));
        }
        Ok(Self {
            signature: Signature([s0, s1, s2, s3]),
            length,
            revision: u8_at(head, 8).ok_or(short)?,
            oem: head
                .get(10..)
                .and_then(|b| b.first_chunk())
                .copied()
                .ok_or(short)?,
            oem_table: head
                .get(16..)
                .and_then(|b| b.first_chunk())
                .copied()
                .ok_or(short)?,
        })
    }
}

/// A table whose signature, length and checksum are right.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    header: SdtHeader,
    bytes: &'a [u8],
}

impl<'a> Table<'a> {
    /// Checks a table of any signature. `bytes` may go on after the table's end.
    ///
    /// # Errors
    /// [`Error::Cut`], [`Error::Checksum`].
    pub fn parse_any(bytes: &'a [u8]) -> Result<Self, Error> {
        let header = SdtHeader::read(bytes)?;
        let table = header.signature;
        let bytes = bytes.get(..header.length as usize).ok_or(Error::Cut {
            table,
            needed: header.length as usize,
            available: bytes.len(),
        })?;
        match bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)) {
            0 => Ok(Self { header, bytes }),
            sum => Err(Error::Checksum { table, sum }),
        }
    }

    /// Checks a table of this signature with at least `minimum` bytes, header included.
    ///
    /// # Errors
    /// [`Error::Cut`], [`Error::WrongSignature`], [`Error::Checksum`].
    pub fn parse(bytes: &'a [u8], expected: Signature, minimum: usize) -> Result<Self, Error> {
        let found = SdtHeader::read(bytes)?.signature;
        if found != expected {
            return Err(Error::WrongSignature { expected, found });
        }
        let table = Self::parse_any(bytes)?;
        if table.bytes.len() < minimum {
            return Err(Error::Cut {
                table: expected,
                needed: minimum,
                available: table.bytes.len(),
            });
        }
        Ok(table)
    }

    /// The table's header.
    #[must_use]
    pub const fn header(&self) -> SdtHeader {
        self.header
    }

    /// All bytes of the table, header included.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The bytes from an offset on; none where the table ends before it.
    pub(crate) fn from(&self, offset: usize) -> &'a [u8] {
        self.bytes.get(offset..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::table;

    const TEST: Signature = Signature(*b"TEST");

    #[test]
    fn a_sound_table_is_read_and_its_tail_left_alone() {
        let mut bytes = table(b"TEST", 3, &[1, 2, 3]);
        bytes.extend([0xff; 9]);
        let found = Table::parse(&bytes, TEST, 39).unwrap();
        assert_eq!(found.bytes().len(), 39);
        assert_eq!(found.header().revision, 3);
        assert_eq!(found.from(HEADER_BYTES), [1, 2, 3]);
        assert_eq!(found.from(40), []);
    }

    #[test]
    fn fw_01_each_broken_header_has_its_error() {
        let good = table(b"TEST", 1, &[0; 4]);
        assert!(Table::parse(&good, TEST, 36).is_ok());
        for cut in 0..good.len() {
            assert!(matches!(
                Table::parse(&good[..cut], TEST, 36),
                Err(Error::Cut { .. })
            ));
        }
        assert!(matches!(
            Table::parse(&good, Signature(*b"MCFG"), 36),
            Err(Error::WrongSignature { found: TEST, .. })
        ));
        assert!(matches!(
            Table::parse(&good, TEST, 41),
            Err(Error::Cut { needed: 41, .. })
        ));
        let mut sum = good.clone();
        sum[9] = sum[9].wrapping_add(5);
        assert_eq!(
            Table::parse(&sum, TEST, 36).err(),
            Some(Error::Checksum {
                table: TEST,
                sum: 5
            })
        );
        for length in [0u32, 35, u32::MAX] {
            let mut wrong = good.clone();
            wrong[4..8].copy_from_slice(&length.to_le_bytes());
            assert!(matches!(
                Table::parse(&wrong, TEST, 36),
                Err(Error::Cut { .. })
            ));
        }
    }
}
