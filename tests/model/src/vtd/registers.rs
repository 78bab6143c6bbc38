//! The register block (chapter 11).

use super::{Event, Vtd};
use crate::Behaviour;

/// Offset of the fault records, in units of 16 bytes.
const RECORDS: u64 = 0x22;
/// Offset of the IOTLB registers, in units of 16 bytes.
const IOTLB: u64 = 0x10;

const TRANSLATION: u32 = 1 << 31;
const ROOT_POINTER: u32 = 1 << 30;
const BUFFERS: u32 = 1 << 27;
const QUEUE: u32 = 1 << 26;
const INTERRUPTS: u32 = 1 << 25;
const INTERRUPT_POINTER: u32 = 1 << 24;
const COMPATIBILITY: u32 = 1 << 23;

impl Vtd {
    fn capability(&self) -> u64 {
        let can = &self.can;
        u64::from(can.nd)
            | u64::from(can.write_buffer) << 4
            | u64::from(can.caching_mode) << 7
            | u64::from(can.sagaw) << 8
            | u64::from(can.mgaw - 1) << 16
            | RECORDS << 24
            | u64::from(can.superpages) << 34
            | u64::from(can.page_selective.is_some()) << 39
            | u64::from(can.records - 1) << 40
            | u64::from(can.page_selective.unwrap_or(0)) << 48
            | 0b11 << 54
            | u64::from(can.posts) << 59
    }

    fn extended_capability(&self) -> u64 {
        let can = &self.can;
        u64::from(can.coherent)
            | 1 << 1
            | u64::from(can.interrupts) << 3
            | u64::from(can.extended) << 4
            | u64::from(can.snoop) << 7
            | IOTLB << 8
            | 0xf << 20
    }

    /// A 32-bit read.
    pub fn read32(&self, offset: usize) -> u32 {
        if offset % 8 == 4 && !matches!(offset, 0x1c | 0x34 | 0x3c | 0x44 | 0x64) {
            return (self.read64(offset - 4) >> 32) as u32;
        }
        let state = self.state.borrow();
        if state.behaviour == Behaviour::Dead {
            return u32::MAX;
        }
        match offset {
            0x00 => 0x10,
            0x1c => state.values.status,
            0x34 => state.values.fault_status | self.pending(&state),
            0x38 => state.values.fault_control,
            0x3c => state.values.fault_data,
            0x40 => state.values.fault_address as u32,
            0x44 => (state.values.fault_address >> 32) as u32,
            0x18 | 0x64 => 0,
            _ => {
                drop(state);
                self.read64(offset) as u32
            }
        }
    }

    /// A 64-bit read.
    pub fn read64(&self, offset: usize) -> u64 {
        let state = self.state.borrow();
        if state.behaviour == Behaviour::Dead {
            return u64::MAX;
        }
        match offset {
            0x08 => self.capability(),
            0x10 => self.extended_capability(),
            0x20 => state.values.root,
            0x80 => state.values.head,
            0x88 => state.values.tail,
            0x90 => state.values.queue,
            0xb8 => state.values.interrupts,
            _ => match record(offset)
                .and_then(|(at, high)| Some((state.values.records.get(at)?, high)))
            {
                Some((it, true)) => it.1,
                Some((it, false)) => it.0,
                None => 0,
            },
        }
    }

    /// A 32-bit write.
    pub fn write32(&self, offset: usize, value: u32) {
        let mut state = self.state.borrow_mut();
        if state.behaviour == Behaviour::Dead {
            return;
        }
        let values = &mut state.values;
        match offset {
            0x18 => {
                drop(state);
                self.command(value);
            }
            // Write 1 to clear: overflow, queue error, completion error, time-out.
            0x34 => values.fault_status &= !(value & 0x71),
            0x38 => values.fault_control = value & (1 << 31),
            0x3c => values.fault_data = value,
            0x40 => values.fault_address = values.fault_address & !0xffff_ffff | u64::from(value),
            0x44 => {
                values.fault_address = values.fault_address & 0xffff_ffff | u64::from(value) << 32
            }
            0x80 | 0x88 | 0x90 | 0x20 | 0xb8 => {
                drop(state);
                self.write64(offset, u64::from(value));
            }
            // The upper half of a record's upper word: bit 31 clears F.
            _ => {
                if let Some((at, true)) = record(offset & !7)
                    && offset % 8 == 4
                    && value >> 31 != 0
                    && let Some(it) = values.records.get_mut(at)
                {
                    it.1 &= !(1 << 63);
                }
            }
        }
    }

    /// A 64-bit write.
    pub fn write64(&self, offset: usize, value: u64) {
        let mut state = self.state.borrow_mut();
        if state.behaviour == Behaviour::Dead {
            return;
        }
        let values = &mut state.values;
        match offset {
            0x20 => values.root = value,
            0x88 => {
                values.tail = value & 0x7_fff0;
                drop(state);
                self.run_queue();
            }
            0x90 => values.queue = value,
            0xb8 => values.interrupts = value,
            _ => {
                if let Some((at, true)) = record(offset)
                    && value >> 63 != 0
                    && let Some(it) = values.records.get_mut(at)
                {
                    it.1 &= !(1 << 63);
                }
            }
        }
    }

    /// The global command register: one-shot commands, and enables as levels.
    fn command(&self, value: u32) {
        let mut state = self.state.borrow_mut();
        if value & BUFFERS != 0 {
            self.memory.flush_buffers();
            state.events.push(Event::Buffers);
        }
        let values = &mut state.values;
        if value & ROOT_POINTER != 0 {
            values.live_root = values.root;
            values.status |= ROOT_POINTER;
        }
        if value & INTERRUPT_POINTER != 0 {
            values.live_interrupts = values.interrupts;
            values.status |= INTERRUPT_POINTER;
        }
        if value & QUEUE != 0 && values.status & QUEUE == 0 {
            values.head = 0;
        }
        let levels = TRANSLATION | QUEUE | INTERRUPTS;
        values.status = values.status & !levels | value & levels;
        // Compatibility-format interrupts can only be switched while remapping is on.
        if values.status & INTERRUPTS != 0 {
            values.status = values.status & !COMPATIBILITY | value & COMPATIBILITY;
        }
    }
}

/// The fault record at an offset, and whether its upper word.
fn record(offset: usize) -> Option<(usize, bool)> {
    let inside = offset.checked_sub(RECORDS as usize * 16)?;
    (inside < 0x100 * 16).then_some((inside / 16, inside % 16 == 8))
}
