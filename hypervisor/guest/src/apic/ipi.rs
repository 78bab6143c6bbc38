//! Intel SDM volume 3, "Interrupt command register (ICR)", in x2APIC form; AMD64 APM volume 2, section 16.11.

use address::{ApicId, Vector};
use bitfield_struct::bitfield;

/// The interrupt command register.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Icr {
    /// Vector.
    pub vector: u8,
    /// Delivery mode.
    #[bits(3)]
    pub mode: u8,
    /// The destination is logical.
    pub logical: bool,
    /// Delivery status; ignored.
    pub busy: bool,
    _reserved_13: bool,
    /// Assert.
    pub assert: bool,
    /// Level triggered; for INIT level de-assert only.
    pub level: bool,
    #[bits(2)]
    _reserved_16: u8,
    /// Destination shorthand.
    #[bits(2)]
    pub shorthand: u8,
    #[bits(12)]
    _reserved_20: u16,
    /// Destination.
    pub destination: u32,
}

impl Icr {
    pub(super) const RESERVED: u64 = 1 << 13 | 3 << 16 | 0xfff << 20;
}

/// What an inter-processor interrupt does to its receivers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IpiKind {
    /// Raises a vector, 16 to 255.
    Fixed(Vector),
    /// Raises a vector on one of the receivers.
    LowestPriority(Vector),
    /// Raises an NMI.
    Nmi,
    /// Puts the receiver into the state after INIT, waiting for a start-up IPI.
    Init,
    /// Starts a receiver that waits for it at `vector << 12`.
    Startup(u8),
}

/// Who receives it. Only VPs of the sender's partition are meant, always.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Destination {
    /// The sender.
    OneSelf,
    /// Everyone, the sender included.
    All,
    /// Everyone but the sender.
    AllButSelf,
    /// The VP with this local APIC id.
    Physical(ApicId),
    /// In x2APIC form: the VPs of a cluster, `[31:16]`, whose bit is set in `[15:0]`. What an xAPIC sends is the same in
    /// `[7:0]`. Each receiver understands it in its own mode.
    Logical(u32),
}

/// By which logical destinations a local APIC is meant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogicalName {
    /// xAPIC mode, flat model: any of these bits.
    Flat(u8),
    /// xAPIC mode, cluster model: the cluster in `[7:4]`, any of the bits in `[3:0]`.
    Cluster(u8),
    /// x2APIC mode: what follows from its id.
    FromId,
}

impl LogicalName {
    const CLUSTER: u16 = 1 << 8;
    const FROM_ID: u16 = 2 << 8;

    /// As one word, to be shared between LPs.
    #[must_use]
    pub const fn to_bits(self) -> u16 {
        match self {
            Self::Flat(bits) => bits as u16,
            Self::Cluster(bits) => Self::CLUSTER | bits as u16,
            Self::FromId => Self::FROM_ID,
        }
    }

    /// The name of a word.
    #[must_use]
    pub const fn from_bits(bits: u16) -> Self {
        match bits & !0xff {
            0 => Self::Flat(bits as u8),
            Self::CLUSTER => Self::Cluster(bits as u8),
            _ => Self::FromId,
        }
    }

    /// Whether `mask` means the receiver with this name and this id.
    const fn is_in(self, mask: u32, id: ApicId) -> bool {
        match self {
            Self::FromId => {
                let own = logical_id(id);
                mask >> 16 == own >> 16 && mask & own & 0xffff != 0
            }
            Self::Flat(own) => mask <= 0xff && mask & own as u32 != 0,
            Self::Cluster(own) => {
                mask <= 0xff && mask >> 4 == own as u32 >> 4 && mask & own as u32 & 15 != 0
            }
        }
    }
}

impl Destination {
    /// Whether the VP with the id `receiver` and this logical name is meant when `sender` sends. One comparison per VP of the
    /// partition bounds every IPI, whatever the guest wrote.
    #[must_use]
    pub const fn includes(self, sender: ApicId, receiver: ApicId, name: LogicalName) -> bool {
        match self {
            Self::OneSelf => sender.0 == receiver.0,
            Self::All => true,
            Self::AllButSelf => sender.0 != receiver.0,
            Self::Physical(id) => id.0 == receiver.0,
            Self::Logical(mask) => name.is_in(mask, receiver),
        }
    }

    /// The destination of an address in x2APIC form; all ones is everyone in both modes.
    #[must_use]
    pub const fn from_address(address: u32, logical: bool) -> Self {
        match (address, logical) {
            (u32::MAX, _) => Self::All,
            (mask, true) => Self::Logical(mask),
            (id, false) => Self::Physical(ApicId(id)),
        }
    }
}

/// The logical id of an x2APIC: cluster in `[31:16]`, one bit in `[15:0]` (SDM, "Deriving logical x2APIC ID").
#[must_use]
pub const fn logical_id(id: ApicId) -> u32 {
    id.0 >> 4 << 16 | 1 << (id.0 & 15)
}

/// An inter-processor interrupt that a guest asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct IpiRequest {
    /// What it does.
    pub kind: IpiKind,
    /// Who receives it.
    pub destination: Destination,
}

/// Why an ICR value sends nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum NotSent {
    /// A vector below 16: an error of the sender's APIC.
    IllegalVector,
    /// INIT level de-assert, SMI and reserved modes do nothing.
    Nothing,
}

/// What a value written to the ICR asks for, whatever its reserved bits say.
pub(super) fn decode(value: u64) -> Result<IpiRequest, NotSent> {
    let icr = Icr::from_bits(value);
    let kind = match icr.mode() {
        0 => IpiKind::Fixed(legal(icr.vector())?),
        1 => IpiKind::LowestPriority(legal(icr.vector())?),
        4 => IpiKind::Nmi,
        5 if icr.level() && !icr.assert() => return Err(NotSent::Nothing),
        5 => IpiKind::Init,
        6 => IpiKind::Startup(icr.vector()),
        _ => return Err(NotSent::Nothing),
    };
    let destination = match icr.shorthand() {
        0 => Destination::from_address(icr.destination(), icr.logical()),
        1 => Destination::OneSelf,
        2 => Destination::All,
        _ => Destination::AllButSelf,
    };
    Ok(IpiRequest { kind, destination })
}

const fn legal(vector: u8) -> Result<Vector, NotSent> {
    if vector < 16 {
        Err(NotSent::IllegalVector)
    } else {
        Ok(Vector(vector))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_of_a_processor_start_have_these_raw_values() {
        let init = decode(0x0000_0001_0000_c500);
        let one = Destination::Physical(ApicId(1));
        assert_eq!(
            init,
            Ok(IpiRequest {
                kind: IpiKind::Init,
                destination: one
            })
        );
        assert_eq!(decode(0x0000_0001_0000_8500), Err(NotSent::Nothing));
        let startup = decode(0x0000_0001_0000_0608);
        assert_eq!(
            startup,
            Ok(IpiRequest {
                kind: IpiKind::Startup(8),
                destination: one
            })
        );
        let fixed = decode(0x000c_00fd);
        let expected = IpiRequest {
            kind: IpiKind::Fixed(Vector(0xfd)),
            destination: Destination::AllButSelf,
        };
        assert_eq!(fixed, Ok(expected));
    }

    #[test]
    fn int_16_broadcast_cluster_and_absent_destinations_are_one_comparison_each() {
        let (sender, ids) = (ApicId(0), [ApicId(0), ApicId(1), ApicId(17)]);
        let who = |d: Destination| ids.map(|id| d.includes(sender, id, LogicalName::FromId));
        assert_eq!(who(Destination::from_address(u32::MAX, false)), [true; 3]);
        assert_eq!(who(Destination::from_address(u32::MAX, true)), [true; 3]);
        assert_eq!(
            who(Destination::from_address(0x0000_0003, true)),
            [true, true, false]
        );
        assert_eq!(
            who(Destination::from_address(0x0001_0002, true)),
            [false, false, true]
        );
        assert_eq!(
            who(Destination::from_address(0xffff_0001, true)),
            [false; 3]
        );
        assert_eq!(who(Destination::from_address(99, false)), [false; 3]);
        assert_eq!(who(Destination::AllButSelf), [false, true, true]);
        assert_eq!(who(Destination::OneSelf), [true, false, false]);
    }

    #[test]
    fn int_16_an_xapic_is_meant_by_its_own_logical_name() {
        let is_meant = |mask, name| Destination::Logical(mask).includes(ApicId(0), ApicId(1), name);
        assert!(is_meant(0x06, LogicalName::Flat(2)));
        assert!(!is_meant(0x05, LogicalName::Flat(2)));
        assert!(
            !is_meant(0xff, LogicalName::Flat(0)),
            "no name: never meant"
        );
        assert!(!is_meant(0x0001_0002, LogicalName::Flat(2)));
        assert!(is_meant(0x36, LogicalName::Cluster(0x32)));
        assert!(!is_meant(0x26, LogicalName::Cluster(0x32)));
        assert!(!is_meant(0x34, LogicalName::Cluster(0x32)));
        assert!(is_meant(0x06, LogicalName::FromId));
        for bits in 0..0x300 {
            let name = LogicalName::from_bits(bits);
            assert_eq!(LogicalName::from_bits(name.to_bits()), name);
        }
    }

    #[test]
    fn illegal_vectors_and_modes_send_nothing() {
        assert_eq!(decode(0x0f), Err(NotSent::IllegalVector));
        for mode in [2, 3, 7] {
            assert_eq!(decode(mode << 8 | 0x40), Err(NotSent::Nothing));
        }
    }
}
