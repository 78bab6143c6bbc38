//! Fault Recording Registers. Intel Virtualization Technology for Directed I/O, "Fault Recording Registers", and the reasons in
//! "Fault Reason Encodings".

use address::RequesterId;
use bitfield_struct::bitfield;

use crate::{Fault, FaultKind};

/// Upper half of a record.
#[bitfield(u64)]
pub(crate) struct RecordHigh {
    /// Requester.
    pub source: u16,
    #[bits(12)]
    __: u16,
    /// Second bit of the request type.
    pub type_2: bool,
    #[bits(3)]
    __: u8,
    /// Reason.
    pub reason: u8,
    #[bits(20)]
    __: u32,
    #[bits(2)]
    pub address_type: u8,
    /// First bit of the request type: a read, or together with the second an atomic operation.
    pub type_1: bool,
    /// The record is in use; writing one frees it.
    pub fault: bool,
}

/// Reasons from here on concern interrupts.
const FIRST_INTERRUPT_REASON: u8 = 0x20;
/// The last reason that concerns interrupts.
const LAST_INTERRUPT_REASON: u8 = 0x2f;

/// What a record says.
pub(crate) fn decode(low: u64, high: RecordHigh) -> Fault {
    let page = low & !0xfff;
    let kind = match (high.reason(), high.type_1(), high.type_2()) {
        (FIRST_INTERRUPT_REASON..=LAST_INTERRUPT_REASON, ..) => {
            FaultKind::Interrupt((low >> 48) as u16)
        }
        (_, true, true) => FaultKind::Atomic(page),
        (_, true, false) => FaultKind::Read(page),
        (_, false, _) => FaultKind::Write(page),
    };
    Fault {
        requester: RequesterId(high.source()),
        kind,
        reason: high.reason(),
    }
}

const _: () = assert!(size_of::<RecordHigh>() == 8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_values() {
        // A read of 1234_5000h by 00:03.0, reason 6 (no read right).
        let read = RecordHigh::from_bits(0xc000_0006_0000_0018);
        assert!(read.fault());
        assert_eq!(
            decode(0x1234_5000, read),
            Fault {
                requester: RequesterId(0x18),
                kind: FaultKind::Read(0x1234_5000),
                reason: 6,
            }
        );
        let write = RecordHigh::from_bits(0x8000_0005_0000_0018);
        assert_eq!(decode(0x1000, write).kind, FaultKind::Write(0x1000));
        let atomic = RecordHigh::from_bits(0xc000_0005_1000_0018);
        assert_eq!(decode(0x1000, atomic).kind, FaultKind::Atomic(0x1000));
        let interrupt = RecordHigh::from_bits(0x8000_0026_0000_0300);
        let fault = decode(0x0042_0000_0000_0000, interrupt);
        assert_eq!(fault.kind, FaultKind::Interrupt(0x42));
        assert_eq!(fault.requester, RequesterId(0x300));
    }
}
