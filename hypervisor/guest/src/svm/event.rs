//! AMD64 Architecture Programmer's Manual volume 2, section 15.20: "event injection" (EVENTINJ and EXITINTINFO).

use bitfield_struct::bitfield;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::Event;

/// An event that the processor delivers at entry, or was delivering at the exit.
#[bitfield(u64)]
#[derive(FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq, Eq)]
pub struct EventInfo {
    /// Vector.
    pub vector: u8,
    /// One of the constants in [`kind`].
    #[bits(3)]
    pub kind: u8,
    /// The error code is pushed.
    pub has_error_code: bool,
    #[bits(19)]
    _reserved_12: u32,
    /// There is an event.
    pub valid: bool,
    /// Error code.
    pub error_code: u32,
}

/// Values of [`EventInfo::kind`].
pub mod kind {
    /// External or virtual interrupt.
    pub const INTERRUPT: u8 = 0;
    /// Non-maskable interrupt.
    pub const NMI: u8 = 2;
    /// Exception.
    pub const EXCEPTION: u8 = 3;
    /// INTn.
    pub const SOFTWARE: u8 = 4;
}

impl EventInfo {
    /// The form that delivers `event`.
    #[must_use]
    pub const fn deliver(event: Event) -> Self {
        match event {
            Event::Interrupt(vector) => Self::new().with_vector(vector).with_valid(true),
            Event::Nmi => Self::new()
                .with_vector(2)
                .with_kind(kind::NMI)
                .with_valid(true),
            Event::Exception { vector, error_code } => {
                let info = Self::new()
                    .with_vector(vector)
                    .with_kind(kind::EXCEPTION)
                    .with_valid(true);
                match error_code {
                    Some(code) => info.with_has_error_code(true).with_error_code(code),
                    None => info,
                }
            }
        }
    }

    /// What to inject at the next entry after an exit interrupted this delivery. Nothing for INTn, INT3 and INTO: the
    /// instruction pointer still stands at them, so that they run again.
    #[inline]
    #[must_use]
    pub const fn again(self) -> Self {
        if !self.valid() || self.kind() == kind::SOFTWARE {
            return Self::new();
        }
        if self.kind() == kind::EXCEPTION && matches!(self.vector(), 3 | 4) {
            return Self::new();
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_these_raw_values() {
        assert_eq!(
            EventInfo::deliver(Event::Interrupt(0x41)).into_bits(),
            0x8000_0041
        );
        assert_eq!(EventInfo::deliver(Event::Nmi).into_bits(), 0x8000_0202);
        assert_eq!(
            EventInfo::deliver(Event::INVALID_OPCODE).into_bits(),
            0x8000_0306
        );
        assert_eq!(
            EventInfo::deliver(Event::GENERAL_PROTECTION).into_bits(),
            0x8000_0b0d
        );
        let page_fault = Event::Exception {
            vector: 14,
            error_code: Some(7),
        };
        assert_eq!(EventInfo::deliver(page_fault).into_bits(), 0x7_8000_0b0e);
    }

    #[test]
    fn an_interrupted_delivery_is_repeated_unless_its_instruction_is() {
        let interrupt = EventInfo::deliver(Event::Interrupt(0x41));
        assert_eq!(interrupt.again(), interrupt);
        assert_eq!(interrupt.with_valid(false).again(), EventInfo::new());
        assert_eq!(
            interrupt.with_kind(kind::SOFTWARE).again(),
            EventInfo::new()
        );
        let breakpoint = EventInfo::deliver(Event::Exception {
            vector: 3,
            error_code: None,
        });
        assert_eq!(breakpoint.again(), EventInfo::new());
    }
}
