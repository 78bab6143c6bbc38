//! The xAPIC registers in memory: Intel SDM volume 3, table "Local APIC register address map"; AMD64 APM volume 2, table
//! "APIC registers".
//!
//! A register is 32 bits wide and stands at a multiple of 16. What is reserved is ignored when it is written and reads as
//! zero, where x2APIC mode answers with #GP.

use super::ipi::Icr;
use super::registers::{self, Effect, msr};
use super::{DFR_CLUSTER, ESR_ILLEGAL_REGISTER, LocalApic};

const ID: u32 = offset(msr::ID);
const LDR: u32 = offset(msr::LDR);
const DFR: u32 = 0xe0;
const ICR: u32 = offset(msr::ICR);
const ICR_HIGH: u32 = ICR + 0x10;
const SELF_IPI: u32 = offset(msr::SELF_IPI);
/// Where the last register begins.
const LAST: u32 = 0x3f0;
/// A destination that is everyone, in both modes.
const EVERYONE: u64 = 0xff;

const fn offset(index: u32) -> u32 {
    (index - msr::FIRST) << 4
}

/// Where in x2APIC mode the register is that stands here; `None` for what has none there, or another one.
const fn index(at: u32) -> Option<u32> {
    if at & 15 != 0 || at > LAST || at == SELF_IPI {
        return None;
    }
    Some(msr::FIRST + (at >> 4))
}

impl LocalApic {
    /// Reads 32 bits at this offset in the page. `task_priority`: the VP's CR8; `now`: its time-stamp counter. What is no
    /// register reads as zero and is an error of its own.
    pub fn read_memory(&mut self, at: u32, task_priority: u8, now: u64) -> u32 {
        match at {
            ID => self.id.0 << 24,
            LDR => u32::from(self.logical) << 24,
            DFR => self.model,
            ICR => self.command as u32,
            ICR_HIGH => (self.command >> 32) as u32,
            _ => {
                let value = index(at).and_then(|index| self.register(index, task_priority, now));
                if value.is_none() {
                    self.note_error(ESR_ILLEGAL_REGISTER);
                }
                value.unwrap_or(0) as u32
            }
        }
    }

    /// Writes 32 bits at this offset in the page. `now`: the VP's time-stamp counter. What can only be read stays; what is
    /// no register is an error.
    pub fn write_memory(&mut self, at: u32, value: u32, now: u64) -> Effect {
        match at {
            ID => {}
            LDR => {
                self.logical = (value >> 24) as u8;
                return Effect::LogicalName;
            }
            DFR => {
                self.model = value | DFR_CLUSTER;
                return Effect::LogicalName;
            }
            ICR => return self.write_memory_command(value),
            ICR_HIGH => {
                let destination = u64::from(value >> 24) << 56;
                self.command = self.command & 0xffff_ffff | destination;
            }
            _ => return self.write_other(at, value, now),
        }
        Effect::None
    }

    fn write_other(&mut self, at: u32, value: u32, now: u64) -> Effect {
        let Some(index) = index(at) else {
            self.note_error(ESR_ILLEGAL_REGISTER);
            return Effect::None;
        };
        let value = value & registers::writable(index);
        self.set_register(index, value, now).unwrap_or_else(|_| {
            if self.register(index, 0, now).is_none() {
                self.note_error(ESR_ILLEGAL_REGISTER);
            }
            Effect::None
        })
    }

    /// The lower half sends.
    fn write_memory_command(&mut self, value: u32) -> Effect {
        let low = u64::from(value) & !Icr::RESERVED;
        let destination = self.command >> 56;
        self.command = destination << 56 | low & !(1 << 12);
        let wide = if destination == EVERYONE {
            u64::from(u32::MAX)
        } else {
            destination
        };
        self.send(wide << 32 | low)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use address::{ApicId, Vector};
    use proptest::prelude::*;

    use super::*;
    use crate::apic::{Destination, IpiKind, IpiRequest, LogicalName};

    fn enabled() -> LocalApic {
        let mut apic = LocalApic::new(ApicId(3), true);
        assert_eq!(apic.write_memory(0xf0, 0x1ff, 0), Effect::Switched);
        apic
    }

    /// What the error status register shows after it was told to.
    fn errors(apic: &mut LocalApic) -> u32 {
        apic.write_memory(0x280, 0, 0);
        apic.read_memory(0x280, 0, 0)
    }

    #[test]
    fn the_registers_stand_here() {
        let mut apic = LocalApic::new(ApicId(0x23), true);
        let expected = [
            (0x20, 0x2300_0000),
            (0x30, 0x0005_0014),
            (0x80, 0x40),
            (0xa0, 0x40),
            (0xd0, 0),
            (0xe0, 0xffff_ffff),
            (0xf0, 0xff),
            (0x300, 0),
            (0x310, 0),
            (0x320, 0x1_0000),
            (0x370, 0x1_0000),
            (0x3e0, 0),
        ];
        for (at, value) in expected {
            assert_eq!(apic.read_memory(at, 4, 0), value, "{at:#x}");
        }
        assert_eq!(errors(&mut apic), 0);
    }

    #[test]
    fn an_interrupt_is_requested_served_and_ended() {
        let mut apic = enabled();
        apic.accept(Vector(0x51), true);
        assert_eq!(apic.read_memory(0x220, 0, 0), 1 << 0x11, "IRR");
        apic.begin_service(Vector(0x51));
        assert_eq!(apic.read_memory(0x120, 0, 0), 1 << 0x11, "ISR");
        assert_eq!(apic.read_memory(0x1a0, 0, 0), 1 << 0x11, "TMR");
        let end = Effect::EndOfInterrupt {
            vector: Vector(0x51),
            level: true,
        };
        assert_eq!(apic.write_memory(0xb0, 0xdead_beef, 0), end);
        assert_eq!(apic.write_memory(0xb0, 0, 0), Effect::None);
    }

    #[test]
    fn the_upper_half_of_a_command_waits_for_the_lower_one() {
        let mut apic = enabled();
        let mut send = |high, low| {
            assert_eq!(apic.write_memory(0x310, high, 0), Effect::None);
            let effect = apic.write_memory(0x300, low, 0);
            assert_eq!(apic.read_memory(0x310, 0, 0), high & 0xff00_0000);
            effect
        };
        let ipi = |kind, destination| Effect::Ipi(IpiRequest { kind, destination });
        let one = Destination::Physical(ApicId(1));
        let fixed = IpiKind::Fixed(Vector(0x60));
        assert_eq!(send(0x01ff_ffff, 0xc500), ipi(IpiKind::Init, one));
        assert_eq!(send(0x0100_0000, 0x8500), Effect::None, "INIT de-assert");
        assert_eq!(send(0x0100_0000, 0x4608), ipi(IpiKind::Startup(8), one));
        assert_eq!(send(0x0100_0000, 0x0400), ipi(IpiKind::Nmi, one));
        assert_eq!(send(0x0100_0000, 0x0060), ipi(fixed, one));
        assert_eq!(send(0xff00_0000, 0x0060), ipi(fixed, Destination::All));
        assert_eq!(send(0xff00_0000, 0x0860), ipi(fixed, Destination::All));
        let two = Destination::Logical(0x06);
        assert_eq!(send(0x0600_0000, 0x0860), ipi(fixed, two));
        let others = Destination::AllButSelf;
        assert_eq!(send(0, 0x000c_0060), ipi(fixed, others));
        assert_eq!(send(0, 0x0004_0060), Effect::None, "to itself");
        assert_eq!(apic.waiting(), Some(Vector(0x60)));
    }

    #[test]
    fn cpu_17_reserved_bits_of_a_command_mean_nothing_here() {
        let mut apic = enabled();
        let expected = IpiRequest {
            kind: IpiKind::Fixed(Vector(0x60)),
            destination: Destination::Physical(ApicId(0)),
        };
        let sent = apic.write_memory(0x300, 0xfff3_3060, 0);
        assert_eq!(sent, Effect::Ipi(expected));
        assert_eq!(apic.read_memory(0x300, 0, 0), 0x60);
        assert_eq!(apic.write_memory(0x300, 0x0f, 0), Effect::None);
        assert_eq!(errors(&mut apic), 1 << 5);
    }

    #[test]
    fn the_logical_name_follows_ldr_dfr_and_the_mode() {
        let mut apic = enabled();
        assert_eq!(apic.logical_name(), LogicalName::Flat(0));
        assert_eq!(apic.write_memory(0xd0, 0x0812_3456, 0), Effect::LogicalName);
        assert_eq!(apic.read_memory(0xd0, 0, 0), 0x0800_0000);
        assert_eq!(apic.logical_name(), LogicalName::Flat(8));
        assert_eq!(apic.write_memory(0xe0, 0, 0), Effect::LogicalName);
        assert_eq!(apic.read_memory(0xe0, 0, 0), 0x0fff_ffff);
        assert_eq!(apic.logical_name(), LogicalName::Cluster(8));
        apic.write_memory(0xe0, 0x7000_0000, 0);
        assert_eq!(apic.logical_name(), LogicalName::Flat(0), "no model");
        apic.write_memory(0x310, 0x0200_0000, 0);
        apic.set_base(0xfee0_0c00).unwrap();
        assert_eq!(apic.logical_name(), LogicalName::FromId);
        assert_eq!(apic.read(msr::ICR, 0, 0), Ok(0));
        apic.set_base(0xfee0_0000).unwrap();
        assert_eq!(apic.logical_name(), LogicalName::Flat(0));
    }

    #[test]
    fn a_periodic_timer_is_set_up_as_by_msr() {
        let mut apic = enabled();
        apic.write_memory(0x3e0, 0xfffb, 0);
        assert_eq!(apic.write_memory(0x320, 0x2_0040, 0), Effect::TimerChanged);
        assert_eq!(apic.write_memory(0x380, 100_000, 0), Effect::TimerChanged);
        assert_eq!(apic.timer_deadline(), Some(1_600_000));
        assert_eq!(apic.read_memory(0x390, 0, 800_000), 50_000);
        assert!(apic.timer_expired(1_600_000));
        assert_eq!(apic.waiting(), Some(Vector(0x40)));
        assert_eq!(apic.timer_deadline(), Some(3_200_000));
    }

    #[test]
    fn cpu_17_an_access_beside_the_registers_is_an_error_and_changes_nothing() {
        let mut apic = enabled();
        let before = std::format!("{apic:?}");
        for at in [
            0, 0x10, 0x90, 0xc0, 0x290, 0x2f0, 0x3f0, 0x400, 0xff0, 0x24, 0xfff,
        ] {
            assert_eq!(apic.read_memory(at, 0, 0), 0, "{at:#x}");
            assert_eq!(errors(&mut apic), 1 << 7, "{at:#x}");
            assert_eq!(apic.write_memory(at, 0x0004_0060, 0), Effect::None);
            assert_eq!(errors(&mut apic), 1 << 7, "{at:#x}");
        }
        // Registers that can only be read, or only be written.
        for at in [0x20, 0x30, 0xa0, 0x100, 0x180, 0x200, 0x390] {
            assert_eq!(apic.write_memory(at, u32::MAX, 0), Effect::None);
            assert_eq!(errors(&mut apic), 0, "{at:#x}");
        }
        assert_eq!(apic.read_memory(0xb0, 0, 0), 0);
        assert_eq!(errors(&mut apic), 1 << 7);
        errors(&mut apic);
        assert_eq!(std::format!("{apic:?}"), before);
    }

    #[test]
    fn cpu_17_an_illegal_error_vector_ends_there_in_memory_too() {
        let mut apic = enabled();
        apic.write_memory(0x370, 0x05, 0);
        assert_eq!(apic.read_memory(0x400, 0, 0), 0);
        assert_eq!(errors(&mut apic), 0xc0);
        assert_eq!(apic.waiting(), None);
    }

    proptest! {
        #[test]
        fn any_sequence_of_accesses_keeps_the_state_sound(
            steps in prop::collection::vec((0u32..0x440, any::<u32>(), 0u32..24, any::<u64>(), any::<bool>()), 0..200),
        ) {
            let mut apic = enabled();
            for (at, value, shift, now, aligned) in steps {
                let at = if aligned { at & !15 } else { at };
                let _ = apic.read_memory(at, (value & 15) as u8, now);
                if let Effect::Ipi(request) = apic.write_memory(at, value >> shift, now) {
                    prop_assert_eq!(at, 0x300);
                    if let IpiKind::Fixed(vector) | IpiKind::LowestPriority(vector) = request.kind {
                        prop_assert!(vector.0 >= 16);
                    }
                }
                apic.timer_expired(now);
                if let Some(vector) = apic.pending((value & 15) as u8) {
                    prop_assert!(vector.0 >= 16);
                    apic.begin_service(vector);
                }
                prop_assert_eq!(apic.is_in_memory(), true);
            }
        }
    }
}
