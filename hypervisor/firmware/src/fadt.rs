//! ACPI 6.5, section 5.2.9 "Fixed ACPI Description Table".

use crate::bytes::{u8_at, u16_at, u32_at, u64_at};
use crate::{Error, Signature, Table};

/// The table's signature.
pub const SIGNATURE: Signature = Signature(*b"FACP");
/// Length of the table in ACPI 1.0; later fields are optional.
const FIXED: usize = 116;

/// Where a register stands (section 5.2.3.2 "Generic Address Structure").
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Register {
    /// In physical memory.
    Memory(u64),
    /// A port.
    Port(u16),
    /// In configuration space of bus 0, segment 0: device, function, offset.
    Config(u8, u8, u16),
}

/// What the hypervisor reads from the FADT.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Fadt {
    /// The power-management timer, 3.579545 MHz.
    pub pm_timer: Option<Register>,
    /// Whether the timer counts 32 bits, not 24.
    pub pm_timer_32_bit: bool,
    /// How a byte resets the machine: register and value.
    pub reset: Option<(Register, u8)>,
    /// Ports of the PM1 control registers, which start sleep and power-off; 0: none.
    pub pm1_control: [u16; 2],
    /// Port by which system management takes orders; 0: none.
    pub smi_command: u16,
}

impl Fadt {
    /// Reads the table. A register that is absent or nonsense is `None`: nothing here is worth a refusal.
    ///
    /// # Errors
    /// Those of [`Table::parse`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let table = Table::parse(bytes, SIGNATURE, FIXED)?;
        let bytes = table.bytes();
        let flags = u32_at(bytes, 112).unwrap_or(0);
        let reset = (flags & 1 << 10 != 0).then(|| generic(bytes, 116).zip(u8_at(bytes, 128)));
        Ok(Self {
            pm_timer: generic(bytes, 208).or(narrow(bytes, 76).map(Register::Port)),
            pm_timer_32_bit: flags & 1 << 8 != 0,
            reset: reset.flatten(),
            pm1_control: [pm1(bytes, 172, 64), pm1(bytes, 184, 68)],
            smi_command: narrow(bytes, 48).unwrap_or(0),
        })
    }
}

/// A port in one of the 32-bit fields of ACPI 1.0.
fn narrow(bytes: &[u8], at: usize) -> Option<u16> {
    u32_at(bytes, at)
        .and_then(|port| u16::try_from(port).ok())
        .filter(|port| *port != 0)
}

fn pm1(bytes: &[u8], wide: usize, at: usize) -> u16 {
    match generic(bytes, wide) {
        Some(Register::Port(port)) => port,
        _ => narrow(bytes, at).unwrap_or(0),
    }
}

fn generic(bytes: &[u8], at: usize) -> Option<Register> {
    let address = u64_at(bytes, at.checked_add(4)?).filter(|address| *address != 0)?;
    match u8_at(bytes, at)? {
        0 => Some(Register::Memory(address)),
        1 => u16::try_from(address).ok().map(Register::Port),
        2 => config(&address.to_le_bytes()),
        _ => None,
    }
}

fn config(address: &[u8; 8]) -> Option<Register> {
    let (device, function) = (u8_at(address, 4)?, u8_at(address, 2)?);
    let offset = u16_at(address, 0)?;
    (device < 32 && function < 8 && u16_at(address, 6)? == 0)
        .then_some(Register::Config(device, function, offset))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::table;

    /// Offsets count from the table's start, as in the specification.
    fn sample(fields: &[(usize, &[u8])], length: usize) -> std::vec::Vec<u8> {
        let mut body = std::vec![0; length - 36];
        for (at, bytes) in fields {
            body[at - 36..][..bytes.len()].copy_from_slice(bytes);
        }
        table(b"FACP", 3, &body)
    }
    extern crate std;

    #[test]
    fn the_registers_of_an_emulated_machine_are_read() {
        let fadt = Fadt::parse(&sample(
            &[
                (48, &[0xb2, 0]),
                (64, &[4, 6]),
                (76, &[8, 6]),
                (112, &[0xa5, 0x84, 0, 0]),
                (116, &[1, 8, 0, 0, 0xf9, 0x0c]),
                (128, &[0xf]),
                (208, &[1, 32, 0, 0, 8, 6]),
            ],
            244,
        ))
        .unwrap();
        assert_eq!(fadt.pm_timer, Some(Register::Port(0x608)));
        assert!(!fadt.pm_timer_32_bit);
        assert_eq!(fadt.reset, Some((Register::Port(0xcf9), 0xf)));
        assert_eq!((fadt.pm1_control, fadt.smi_command), ([0x604, 0], 0xb2));
    }

    #[test]
    fn a_table_of_acpi_1_has_its_narrow_fields_only() {
        let fadt = Fadt::parse(&sample(&[(76, &[8, 0xb0]), (112, &[0, 5])], 116)).unwrap();
        assert_eq!(
            (fadt.pm_timer, fadt.reset),
            (Some(Register::Port(0xb008)), None)
        );
        assert!(fadt.pm_timer_32_bit);
    }

    #[test]
    fn fw_01_ports_past_the_last_one_and_unknown_spaces_are_nothing() {
        let fadt = Fadt::parse(&sample(
            &[
                (76, &[8, 6, 1, 0]),
                (112, &[0, 4]),
                (116, &[2, 8, 0, 0, 0, 0, 8]),
                (208, &[1, 32, 0, 0, 8, 6, 1]),
            ],
            244,
        ))
        .unwrap();
        assert_eq!((fadt.pm_timer, fadt.reset), (None, None));
        assert!(matches!(
            Fadt::parse(&sample(&[], 115)),
            Err(Error::Cut { needed: 116, .. })
        ));
    }
}
