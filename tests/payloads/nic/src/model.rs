//! What differs between the two adapters: interrupt registers, and where the queues' registers are.

use pci::Way;
use runtime::mmio::Mmio;

use crate::register::CTRL_EXT;

/// An adapter that this crate drives.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Model {
    /// 82576.
    Igb,
    /// 82574L.
    E1000e,
}

/// Interrupt registers that both have: cause, mask set, mask clear. (On the 82576 they are the aliases of 1500h.)
mod legacy {
    pub const ICR: u64 = 0x00c0;
    pub const IMS: u64 = 0x00d0;
    pub const IMC: u64 = 0x00d8;
}

/// Interrupt registers of the 82576 besides the legacy ones (82576EB data sheet, section 8.8).
mod igb {
    pub const GPIE: u64 = 0x1514;
    pub const EIMS: u64 = 0x1524;
    pub const EIMC: u64 = 0x1528;
    pub const EIAC: u64 = 0x152c;
    pub const EIAM: u64 = 0x1530;
    pub const IVAR0: u64 = 0x1700;
    pub const IVAR_MISC: u64 = 0x1740;
    /// GPIE: several MSI-X messages, and automatic masking.
    pub const MULTIPLE: u32 = 1 << 4 | 1 << 30 | 1 << 31;
}

/// Interrupt registers of the 82574 (82574 data sheet, section 10.2.4).
mod e1000e {
    pub const EIAC: u64 = 0x00dc;
    pub const IVAR: u64 = 0x00e4;
    /// Causes with a message: receive queue 0, transmit queue 0, others.
    pub const QUEUES: u32 = 1 << 20 | 1 << 22 | 1 << 24;
    /// CTRL_EXT: pending bits are cleared when a message goes out.
    pub const CLEAR_PENDING: u32 = 1 << 31;
}

/// Transmit done, link changed, receive minimum, overrun, timer: the causes without MSI-X. Bit 7 is the receive cause.
const LEGACY: u32 = 1 << 0 | 1 << 2 | 1 << 4 | 1 << 6 | 1 << 7;

/// Vendor and device ids.
const IGB_IDS: [u32; 1] = [0x10c9_8086];
const E1000E_IDS: [u32; 1] = [0x10d3_8086];

impl Model {
    /// Ids of all adapters.
    pub const IDS: [u32; 2] = [IGB_IDS[0], E1000E_IDS[0]];

    /// The adapter with these ids.
    #[must_use]
    pub fn of(ids: u32) -> Option<Self> {
        if IGB_IDS.contains(&ids) {
            Some(Self::Igb)
        } else if E1000E_IDS.contains(&ids) {
            Some(Self::E1000e)
        } else {
            None
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Igb => "82576 (igb)",
            Self::E1000e => "82574L (e1000e)",
        }
    }

    /// First register of receive queue 0 and of transmit queue 0; base low, base high, length, head and tail follow
    /// at 0, 4, 8, 10h and 18h, the control register at 28h.
    pub(crate) const fn queues(self) -> (u64, u64) {
        match self {
            Self::Igb => (0xc000, 0xe000),
            Self::E1000e => (0x2800, 0x3800),
        }
    }

    /// Whether descriptors are of the advanced form.
    pub(crate) const fn is_advanced(self) -> bool {
        matches!(self, Self::Igb)
    }

    /// Masks everything, and forgets what was raised.
    pub(crate) fn disable_interrupts(self, registers: &Mmio) {
        if self == Self::Igb {
            registers.write32(igb::EIMC, u32::MAX);
        }
        registers.write32(legacy::IMC, u32::MAX);
        let _ = registers.read32(legacy::ICR);
    }

    /// Sends all causes to the first message.
    pub(crate) fn route_interrupts(self, registers: &Mmio, way: Way) {
        match (self, way) {
            (Self::Igb, Way::MsiX) => {
                registers.write32(igb::GPIE, igb::MULTIPLE);
                // Receive queue 0 and transmit queue 0, and the others: message 0, valid.
                registers.write32(igb::IVAR0, 0x8080);
                registers.write32(igb::IVAR_MISC, 0x8000);
                registers.write32(igb::EIAC, 1);
                registers.write32(igb::EIAM, 1);
            }
            (Self::Igb, Way::Msi) => {
                registers.write32(igb::GPIE, 0);
                registers.write32(igb::IVAR0, 0x8080);
            }
            (Self::E1000e, Way::MsiX) => {
                let control = registers.read32(CTRL_EXT);
                registers.write32(CTRL_EXT, control | e1000e::CLEAR_PENDING);
                // Each cause: message 0, valid; bit 31: on every write-back.
                registers.write32(e1000e::IVAR, 1 << 31 | 8 << 16 | 8 << 8 | 8);
                registers.write32(e1000e::EIAC, e1000e::QUEUES);
            }
            (Self::E1000e, Way::Msi) => {}
        }
    }

    /// Lets the next cause raise the message.
    pub(crate) fn enable_interrupts(self, registers: &Mmio, way: Way) {
        match (self, way) {
            (Self::Igb, Way::MsiX) => registers.write32(igb::EIMS, 1),
            (Self::E1000e, Way::MsiX) => registers.write32(legacy::IMS, e1000e::QUEUES),
            (_, Way::Msi) => {
                let _ = registers.read32(legacy::ICR);
                registers.write32(legacy::IMS, LEGACY);
            }
        }
    }
}
