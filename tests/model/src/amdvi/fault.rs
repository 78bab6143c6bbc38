//! The event log (section 2.5).

use super::{Amdvi, State};

/// Codes of events (bits 63:60 of the first word).
pub(super) const ILLEGAL_ENTRY: u8 = 1;
pub(super) const PAGE_FAULT: u8 = 2;
pub(super) const ILLEGAL_COMMAND: u8 = 5;
pub(super) const COMMAND_ERROR: u8 = 6;

/// Flags of a page fault, counted from bit 48.
pub(super) const INTERRUPT: u64 = 1 << 3;
pub(super) const WRITE: u64 = 1 << 5;

/// Control: events raise an interrupt.
const EVENT_INTERRUPTS: u64 = 1 << 3;
const OVERFLOW: u64 = 1;
const EVENT_INTERRUPT: u64 = 1 << 1;
pub(super) const LOG_RUNS: u64 = 1 << 3;

impl Amdvi {
    /// Logs an event, where there is room and logging runs.
    pub(super) fn log(&self, code: u8, requester: u16, domain: u16, flags: u64, address: u64) {
        let mut state = self.state.borrow_mut();
        let State { values, raised, .. } = &mut *state;
        if values.status & LOG_RUNS == 0 {
            return;
        }
        // The interrupt is raised when its bit rises: one that nobody took back is the last.
        let told = values.control & EVENT_INTERRUPTS != 0;
        let size = 16u64 << (values.log >> 56 & 0xf);
        let next = (values.log_tail + 16) % size;
        if next == values.log_head {
            values.status = values.status & !LOG_RUNS | OVERFLOW;
            *raised += u64::from(told);
            return;
        }
        let at = (values.log & 0x000f_ffff_ffff_f000) + values.log_tail;
        let low =
            u64::from(code) << 60 | flags << 48 | u64::from(domain) << 32 | u64::from(requester);
        for (word, value) in [(0, low), (8, address)] {
            self.memory.device_write32(at + word, value as u32);
            self.memory
                .device_write32(at + word + 4, (value >> 32) as u32);
        }
        values.log_tail = next;
        *raised += u64::from(told && values.status & EVENT_INTERRUPT == 0);
        values.status |= EVENT_INTERRUPT;
    }
}
