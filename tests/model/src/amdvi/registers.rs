//! The register block (chapter 3).

use super::fault::LOG_RUNS;
use super::queue::COMMANDS_RUN;
use super::{Amdvi, ENABLED};
use crate::Behaviour;

const EVENT_LOG: u64 = 1 << 2;
const COMMANDS: u64 = 1 << 12;
/// Formats of interrupt entries.
const FORMATS: u64 = 1 << 17 | 1 << 50;
/// Cleared by writing one.
const CLEARABLE: u64 = 0b111;

impl Amdvi {
    fn features(&self) -> u64 {
        let can = &self.can;
        u64::from(can.x2apic) << 2
            | u64::from(can.invalidate_all) << 6
            | u64::from(can.wide_entries) << 7
            | u64::from(can.levels - 4) << 10
    }

    /// A 32-bit read.
    pub fn read32(&self, offset: usize) -> u32 {
        (self.read64(offset & !7) >> ((offset & 4) * 8)) as u32
    }

    /// A 64-bit read.
    pub fn read64(&self, offset: usize) -> u64 {
        let state = self.state.borrow();
        if state.behaviour == Behaviour::Dead {
            return u64::MAX;
        }
        let values = &state.values;
        match offset {
            0x00 => values.devices,
            0x08 => values.commands,
            0x10 => values.log,
            0x18 => values.control,
            0x20 => values.exclusion[0],
            0x28 => values.exclusion[1],
            0x30 => self.features(),
            0x170 => values.own_interrupt,
            0x2000 => values.command_head,
            0x2008 => values.command_tail,
            0x2010 => values.log_head,
            0x2018 => values.log_tail,
            0x2020 => values.status,
            _ => 0,
        }
    }

    /// A 32-bit write: half of a register, of which the other stays.
    pub fn write32(&self, offset: usize, value: u32) {
        let (register, shift) = (offset & !7, (offset & 4) * 8);
        // Of the status, only what is written as one changes.
        let old = if register == 0x2020 {
            0
        } else {
            self.read64(register) & !(0xffff_ffff << shift)
        };
        self.write64(register, old | u64::from(value) << shift);
    }

    /// A 64-bit write.
    pub fn write64(&self, offset: usize, value: u64) {
        let mut state = self.state.borrow_mut();
        if state.behaviour == Behaviour::Dead {
            return;
        }
        let values = &mut state.values;
        let enabled = values.control & ENABLED != 0;
        match offset {
            // What a running unit looks up in does not change under it.
            0x00 if !enabled => values.devices = value,
            0x08 if values.control & COMMANDS == 0 => values.commands = value,
            0x10 if values.control & EVENT_LOG == 0 => values.log = value,
            0x18 => {
                drop(state);
                self.control(value);
            }
            0x20 => values.exclusion[0] = value,
            0x28 => values.exclusion[1] = value,
            0x170 => values.own_interrupt = value,
            0x2000 => values.command_head = value & 0x7_fff0,
            0x2008 => {
                values.command_tail = value & 0x7_fff0;
                drop(state);
                self.run_commands();
            }
            0x2010 => values.log_head = value & 0x7_fff0,
            0x2018 => values.log_tail = value & 0x7_fff0,
            0x2020 => values.status &= !(value & CLEARABLE),
            _ => (),
        }
    }

    fn control(&self, value: u64) {
        let values = &mut self.state.borrow_mut().values;
        let old = values.control;
        let mut new = value;
        if old & ENABLED != 0 {
            new = new & !FORMATS | old & FORMATS;
        }
        if !self.can.takes_formats {
            new &= !FORMATS;
        }
        if !(self.can.wide_entries && self.can.x2apic) {
            new &= !(1 << 50);
        }
        if !self.can.wide_entries {
            new &= !(1 << 17);
        }
        values.control = new;
        let rises = |bit: u64| new & bit != 0 && old & bit == 0;
        if rises(COMMANDS) {
            values.halted = false;
        }
        let on = |bit: u64| new & ENABLED != 0 && new & bit != 0;
        let commands = on(COMMANDS) && !values.halted;
        // A log that has overflowed begins anew only when it is switched off and on with the overflow cleared.
        let runs = values.status & LOG_RUNS != 0 || rises(EVENT_LOG) || rises(ENABLED);
        let log = on(EVENT_LOG) && runs && values.status & 1 == 0;
        values.status &= !(COMMANDS_RUN | LOG_RUNS);
        values.status |= if commands { COMMANDS_RUN } else { 0 };
        values.status |= if log { LOG_RUNS } else { 0 };
    }
}
