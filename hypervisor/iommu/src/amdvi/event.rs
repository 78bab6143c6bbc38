//! Event Log Entries, 128 bits. AMD I/O Virtualization Technology (IOMMU) Specification, "Event Logging".

use address::RequesterId;
use bitfield_struct::bitfield;

use crate::{Fault, FaultKind};

/// Lower half; the upper half is an address.
#[bitfield(u64)]
pub(crate) struct EventLow {
    /// Requester.
    pub requester: u16,
    #[bits(35)]
    __: u64,
    /// The request was an interrupt.
    pub interrupt: bool,
    __: bool,
    /// The request was a write.
    pub write: bool,
    #[bits(6)]
    __: u8,
    /// What happened; 0 in an entry that has not arrived yet.
    #[bits(4)]
    pub code: u8,
}

const PAGE_FAULT: u8 = 2;
const DEVICE_TABLE_ERROR: u8 = 3;
const PAGE_TABLE_ERROR: u8 = 4;
const ILLEGAL_COMMAND: u8 = 5;
const COMMAND_ERROR: u8 = 6;

/// What an entry says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Event {
    /// A request was refused.
    Fault(Fault),
    /// The unit cannot read its tables, or was stopped by a command: nothing it does can be relied on any more.
    Broken,
}

/// What an entry says.
pub(crate) fn decode(low: EventLow, address: u64) -> Event {
    let page = address & !0xfff;
    let kind = match low.code() {
        DEVICE_TABLE_ERROR | PAGE_TABLE_ERROR | ILLEGAL_COMMAND | COMMAND_ERROR => {
            return Event::Broken;
        }
        // The entry cannot be told: the address is that of the message.
        PAGE_FAULT if low.interrupt() => FaultKind::Interrupt(0),
        PAGE_FAULT if low.write() => FaultKind::Write(page),
        PAGE_FAULT => FaultKind::Read(page),
        _ => FaultKind::Other(page),
    };
    Event::Fault(Fault {
        requester: RequesterId(low.requester()),
        kind,
        reason: low.code(),
    })
}

const _: () = assert!(size_of::<EventLow>() == 8);

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(low: u64, address: u64) -> Fault {
        match decode(EventLow::from_bits(low), address) {
            Event::Fault(fault) => fault,
            Event::Broken => panic!("broken"),
        }
    }

    #[test]
    fn raw_values_of_page_faults() {
        // A read of 1234_5678h by 00:03.0 in domain 5.
        let read = fault(0x2000_0005_0000_0018, 0x1234_5678);
        assert_eq!(read.requester, RequesterId(0x18));
        assert_eq!(read.kind, FaultKind::Read(0x1234_5000));
        assert_eq!(read.reason, 2);
        let write = fault(0x2030_0005_0000_0018, 0x1000);
        assert_eq!(write.kind, FaultKind::Write(0x1000));
        let interrupt = fault(0x2028_0000_0000_0300, 0xfee0_0000);
        assert_eq!(interrupt.kind, FaultKind::Interrupt(0));
        assert_eq!(interrupt.requester, RequesterId(0x300));
    }

    #[test]
    fn rob_08_raw_values_of_the_other_events() {
        for code in [3, 4, 5, 6] {
            let low = EventLow::from_bits(code << 60 | 0x18);
            assert_eq!(decode(low, 0x1000), Event::Broken, "{code}");
        }
        for code in [1, 7, 8, 9, 15] {
            let it = fault(code << 60 | 0x18, 0x1234_5678);
            assert_eq!(it.kind, FaultKind::Other(0x1234_5000));
            assert_eq!(it.reason, code as u8);
        }
    }
}
