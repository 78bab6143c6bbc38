//! Devices: their names in hypercalls, attaching and detaching (layouts of the public headers).

use address::{DeviceId, RequesterId};

use crate::layout::structures;

structures! {
    /// Input of AttachDevice (0082).
    Attach: 40 {
        /// Partition that gets the device.
        partition: u64,
        /// Device.
        device: u64,
        /// Flags; 0, or bit 0 with a logical id in `logical`.
        flags: u32,
        /// Virtual trust level; 0.
        vtl: u8,
        /// Zero.
        reserved: [u8; 3],
        /// Logical id; 0.
        logical: u64,
        /// PCI capabilities; ignored.
        capabilities: u32,
        /// Requester id of the physical function; ignored.
        physical_function: u16,
        /// Zero.
        reserved2: u16,
    }
    /// Input of DetachDevice (0083), DetachDeviceDomain (00C4) and VendorDeclareReset.
    Named: 16 {
        /// Partition that has the device.
        partition: u64,
        /// Device.
        device: u64,
    }
}

/// `HV_DEVICE_ID`, type in bits 63:62.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DeviceName {
    /// Type 1: a PCI function. `[15:0]` requester id, `[31:16]` segment, all else zero.
    Pci(DeviceId),
    /// Type 2: an IOAPIC. `[7:0]` its id.
    IoApic(u8),
}

impl DeviceName {
    /// Reads a name; `None` where bits are set that no name here has.
    #[must_use]
    pub const fn decode(raw: u64) -> Option<Self> {
        match raw >> 62 {
            1 if raw << 2 >> 34 == 0 => {
                let requester = RequesterId(raw as u16);
                Some(Self::Pci(DeviceId::from_requester(
                    (raw >> 16) as u16,
                    requester,
                )))
            }
            2 if raw & !(3 << 62) <= 0xff => Some(Self::IoApic(raw as u8)),
            _ => None,
        }
    }

    /// Writes the name.
    #[must_use]
    pub const fn encode(self) -> u64 {
        match self {
            Self::Pci(id) => 1 << 62 | (id.segment as u64) << 16 | id.requester.0 as u64,
            Self::IoApic(id) => 2 << 62 | id as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_written() {
        let nic = DeviceId::new(1, 2, 3, 4).unwrap();
        assert_eq!(DeviceName::Pci(nic).encode(), 0x4000_0000_0001_021c);
        assert_eq!(
            DeviceName::decode(0x4000_0000_0001_021c),
            Some(DeviceName::Pci(nic))
        );
        assert_eq!(
            DeviceName::decode(0x8000_0000_0000_0005),
            Some(DeviceName::IoApic(5))
        );
    }

    #[test]
    fn reserved_bits_name_nothing() {
        assert_eq!(DeviceName::decode(0x4000_0001_0000_0000), None);
        assert_eq!(DeviceName::decode(0x8000_0000_0000_0100), None);
        assert_eq!(DeviceName::decode(5), None);
    }
}
