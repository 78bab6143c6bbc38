//! Interrupt requests in remappable format. Intel Virtualization Technology for Directed I/O, "Interrupt Requests in Remappable
//! Format", "Programming I/OxAPIC RTEs".

use address::Vector;
use bitfield_struct::bitfield;

use crate::{Message, Polarity, Trigger};

/// Address of a message.
#[bitfield(u32)]
pub(crate) struct MessageAddress {
    #[bits(2)]
    __: u8,
    /// Index, bit 15.
    pub index_15: bool,
    /// The data's lower half is added to the index. Never set: a device cannot choose among entries.
    pub subhandle_valid: bool,
    /// Remappable format.
    pub remappable: bool,
    /// Index, bits 14 to 0.
    #[bits(15)]
    pub index_14_0: u16,
    /// FEEh.
    #[bits(12)]
    pub window: u16,
}

/// A pin's redirection entry.
#[bitfield(u64)]
pub(crate) struct PinEntry {
    /// Vector, the same as in the interrupt entry.
    pub vector: u8,
    #[bits(3)]
    __: u8,
    /// Index, bit 15.
    pub index_15: bool,
    __: bool,
    /// Active low.
    pub low: bool,
    __: bool,
    /// Level-triggered.
    pub level: bool,
    /// Masked.
    pub masked: bool,
    #[bits(31)]
    __: u32,
    /// Remappable format.
    pub remappable: bool,
    /// Index, bits 14 to 0.
    #[bits(15)]
    pub index_14_0: u16,
}

/// The message for an entry.
pub(crate) const fn message(index: u16) -> Message {
    let address = MessageAddress::new()
        .with_index_15(index >> 15 != 0)
        .with_remappable(true)
        .with_index_14_0(index & 0x7fff)
        .with_window(0xfee);
    Message {
        address: address.into_bits() as u64,
        data: 0,
    }
}

/// The redirection entry for an entry.
pub(crate) const fn pin(
    index: u16,
    vector: Vector,
    trigger: Trigger,
    polarity: Polarity,
) -> PinEntry {
    PinEntry::new()
        .with_vector(vector.0)
        .with_index_15(index >> 15 != 0)
        .with_low(matches!(polarity, Polarity::Low))
        .with_level(matches!(trigger, Trigger::Level))
        .with_remappable(true)
        .with_index_14_0(index & 0x7fff)
}

const _: () = assert!(size_of::<MessageAddress>() == 4 && size_of::<PinEntry>() == 8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_values_of_messages() {
        assert_eq!(message(0).address, 0xfee0_0010);
        assert_eq!(message(1).address, 0xfee0_0030);
        assert_eq!(message(0x8001).address, 0xfee0_0034);
        assert_eq!(message(0x7fff).address, 0xfeef_fff0);
        assert_eq!(message(7).data, 0);
    }

    #[test]
    fn raw_values_of_pins() {
        let edge = pin(1, Vector(0x31), Trigger::Edge, Polarity::High);
        assert_eq!(edge.into_bits(), 0x0003_0000_0000_0031);
        let level = pin(0x8002, Vector(0x31), Trigger::Level, Polarity::Low);
        assert_eq!(level.into_bits(), 0x0005_0000_0000_a831);
        assert_eq!(edge.with_masked(true).into_bits() >> 16 & 1, 1);
    }
}
