//! Intel SDM volume 3, sections "VM-entry controls for event injection" and "information for VM exits due to vectored
//! events": interruption information.

use bitfield_struct::bitfield;

use crate::Event;

/// An event that the processor delivers at entry, was delivering at the exit, or left the guest for.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct EventInfo {
    /// Vector.
    pub vector: u8,
    /// One of the constants in [`kind`].
    #[bits(3)]
    pub kind: u8,
    /// There is an error code.
    pub has_error_code: bool,
    /// Of an exit: an IRET had ended the blocking of NMIs before it faulted.
    pub nmi_unblocked: bool,
    #[bits(18)]
    _reserved_13: u32,
    /// There is an event.
    pub valid: bool,
}

/// Values of [`EventInfo::kind`].
pub mod kind {
    /// External interrupt.
    pub const INTERRUPT: u8 = 0;
    /// Non-maskable interrupt.
    pub const NMI: u8 = 2;
    /// Hardware exception.
    pub const EXCEPTION: u8 = 3;
    /// INTn.
    pub const SOFTWARE: u8 = 4;
    /// INT1.
    pub const PRIVILEGED_SOFTWARE_EXCEPTION: u8 = 5;
    /// INT3 and INTO.
    pub const SOFTWARE_EXCEPTION: u8 = 6;
}

/// An event to deliver at the next entry.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Delivery {
    /// What.
    pub info: EventInfo,
    /// Its error code.
    pub error_code: u32,
}

impl Delivery {
    /// The form that delivers `event`. In real mode no exception has an error code.
    #[must_use]
    pub const fn of(event: Event, protected_mode: bool) -> Self {
        let valid = EventInfo::new().with_valid(true);
        match event {
            Event::Interrupt(vector) => Self {
                info: valid.with_vector(vector),
                error_code: 0,
            },
            Event::Nmi => Self {
                info: valid.with_vector(2).with_kind(kind::NMI),
                error_code: 0,
            },
            Event::Exception { vector, error_code } => {
                let info = valid.with_vector(vector & 31).with_kind(kind::EXCEPTION);
                match error_code {
                    Some(code) if protected_mode => Self {
                        info: info.with_has_error_code(true),
                        error_code: code & 0x7fff,
                    },
                    _ => Self {
                        info,
                        error_code: 0,
                    },
                }
            }
        }
    }

    /// What to inject at the next entry after an exit interrupted the delivery of `info`. Nothing for INTn, INT1, INT3 and
    /// INTO: the instruction pointer still stands at them, so that they run again.
    #[must_use]
    pub const fn again(info: EventInfo, error_code: u32) -> Self {
        let repeat = matches!(info.kind(), kind::INTERRUPT | kind::NMI | kind::EXCEPTION);
        if !info.valid() || !repeat {
            return Self {
                info: EventInfo::new(),
                error_code: 0,
            };
        }
        // Bit 12 is undefined here, and must be clear at an entry.
        Self {
            info: info.with_nmi_unblocked(false),
            error_code: if info.has_error_code() { error_code } else { 0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(event: Event) -> (u32, u32) {
        let delivery = Delivery::of(event, true);
        (delivery.info.into_bits(), delivery.error_code)
    }

    #[test]
    fn events_have_these_raw_values() {
        assert_eq!(raw(Event::Interrupt(0x41)), (0x8000_0041, 0));
        assert_eq!(raw(Event::Nmi), (0x8000_0202, 0));
        assert_eq!(raw(Event::INVALID_OPCODE), (0x8000_0306, 0));
        let page_fault = Event::Exception {
            vector: 14,
            error_code: Some(7),
        };
        assert_eq!(raw(page_fault), (0x8000_0b0e, 7));
        let real = Delivery::of(Event::GENERAL_PROTECTION, false);
        assert_eq!(real.info.into_bits(), 0x8000_030d);
    }

    #[test]
    fn an_interrupted_delivery_is_repeated_unless_its_instruction_is() {
        let interrupt = Delivery::of(Event::Interrupt(0x41), true);
        assert_eq!(Delivery::again(interrupt.info, 0), interrupt);
        let fault = EventInfo::from_bits(0x8000_1b0d);
        let again = Delivery::again(fault, 8);
        assert_eq!((again.info.into_bits(), again.error_code), (0x8000_0b0d, 8));
        let none = Delivery::default();
        assert_eq!(Delivery::again(interrupt.info.with_valid(false), 0), none);
        for software in [4, 5, 6] {
            let info = interrupt.info.with_kind(software);
            assert_eq!(Delivery::again(info, 0), none);
        }
    }
}
