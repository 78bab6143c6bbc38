//! IA-PC HPET Specification 1.0a, section 3.2.4 "The ACPI 2.0 HPET Description Table".

use address::Spa;

use crate::bytes::{u8_at, u16_at, u64_at};
use crate::{Error, Signature, Table};

/// The table's signature.
pub const SIGNATURE: Signature = Signature(*b"HPET");
const FIXED: usize = 56;

/// One HPET block.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Hpet {
    /// Physical address of its registers.
    pub base: Spa,
    /// Its number; device scopes call it enumeration id.
    pub number: u8,
    /// Least period in ticks that does not lose interrupts.
    pub minimum_tick: u16,
}

impl Hpet {
    /// Reads the table.
    ///
    /// # Errors
    /// Those of [`Table::parse`]; [`Error::AddressSpace`] for registers that are not in memory; [`Error::Address`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let table = Table::parse(bytes, SIGNATURE, FIXED)?;
        let bytes = table.bytes();
        let space = u8_at(bytes, 40).unwrap_or(u8::MAX);
        if space != 0 {
            return Err(Error::AddressSpace {
                table: SIGNATURE,
                space,
            });
        }
        let base = u64_at(bytes, 44).unwrap_or(0);
        if base == 0 || !base.is_multiple_of(1024) {
            return Err(Error::Address {
                table: SIGNATURE,
                address: base,
            });
        }
        Ok(Self {
            base: Spa::new(base),
            number: u8_at(bytes, 52).unwrap_or(0),
            minimum_tick: u16_at(bytes, 53).unwrap_or(0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::table;

    const BODY: [u8; 20] = [
        1, 0xa2, 0x86, 0x80, 0, 0, 0, 0, 0, 0, 0xd0, 0xfe, 0, 0, 0, 0, 0, 0x64, 0, 0,
    ];

    #[test]
    fn the_block_of_an_emulated_machine_is_read() {
        let hpet = Hpet::parse(&table(b"HPET", 1, &BODY)).unwrap();
        assert_eq!(
            (hpet.base, hpet.number, hpet.minimum_tick),
            (Spa::new(0xfed0_0000), 0, 100)
        );
    }

    #[test]
    fn fw_01_a_block_in_ports_or_at_zero_is_refused() {
        let mut ports = BODY;
        ports[4] = 1;
        assert!(matches!(
            Hpet::parse(&table(b"HPET", 1, &ports)),
            Err(Error::AddressSpace { space: 1, .. })
        ));
        let mut zero = BODY;
        zero[8..16].fill(0);
        assert!(matches!(
            Hpet::parse(&table(b"HPET", 1, &zero)),
            Err(Error::Address { .. })
        ));
        assert!(matches!(
            Hpet::parse(&table(b"HPET", 1, &BODY[..19])),
            Err(Error::Cut { .. })
        ));
    }
}
