//! Interrupt remapping and interrupt posting (chapter 5).

use super::Vtd;
use crate::{Behaviour, Delivered, Refused};

const REQUEST_RESERVED: u8 = 0x20;
const INDEX_TOO_HIGH: u8 = 0x21;
const ENTRY_ABSENT: u8 = 0x22;
const ENTRY_RESERVED: u8 = 0x24;
const COMPATIBILITY_BLOCKED: u8 = 0x25;
const SOURCE_REFUSED: u8 = 0x26;
const DESCRIPTOR_UNREACHABLE: u8 = 0x27;
const DESCRIPTOR_RESERVED: u8 = 0x28;

const REMAPPING: u32 = 1 << 25;
const COMPATIBILITY: u32 = 1 << 23;

impl Vtd {
    /// A write to FEEx_xxxxh.
    pub(super) fn remap(
        &self,
        requester: u16,
        address: u64,
        data: u32,
    ) -> Result<Delivered, Refused> {
        let (status, table) = {
            let state = self.state.borrow();
            if state.behaviour == Behaviour::Dead {
                return Err(Refused::Dead);
            }
            (state.values.status, state.values.live_interrupts)
        };
        let refuse = |index: u64, reason: u8| {
            self.record(requester, index << 48, reason, false);
            Err(Refused::Fault(reason))
        };
        if address & 0x10 == 0 {
            let open =
                status & REMAPPING == 0 || status & COMPATIBILITY != 0 && table >> 11 & 1 == 0;
            if open {
                return Ok(Delivered {
                    apic: (address >> 12) as u32 & 0xff,
                    vector: data as u8,
                    level: data >> 15 & 1 != 0,
                    told: true,
                });
            }
            return refuse(0, COMPATIBILITY_BLOCKED);
        }
        let mut index = address >> 5 & 0x7fff | (address >> 2 & 1) << 15;
        if address & 8 != 0 {
            if data >> 16 != 0 {
                return refuse(index, REQUEST_RESERVED);
            }
            index += u64::from(data & 0xffff);
        }
        if index >= 1 << ((table & 0xf) + 1) {
            return refuse(index, INDEX_TOO_HIGH);
        }
        let (low, high) = self.entry(index as u16, table);
        if low & 1 == 0 {
            return refuse(index, ENTRY_ABSENT);
        }
        match self.deliver(low, high, requester, table >> 11 & 1 != 0) {
            Ok(delivered) => Ok(delivered),
            Err(_) if low & 2 != 0 => Err(Refused::Fault(SOURCE_REFUSED)),
            Err(reason) => refuse(index, reason),
        }
    }

    fn entry(&self, index: u16, table: u64) -> (u64, u64) {
        if let Some(&entry) = self.state.borrow().caches.interrupts.get(&index) {
            return entry;
        }
        let at = (table & !0xfff) + u64::from(index) * 16;
        let entry = (self.memory.walk(at), self.memory.walk(at + 8));
        if entry.0 & 1 != 0 || self.can.caching_mode {
            self.state
                .borrow_mut()
                .caches
                .interrupts
                .insert(index, entry);
        }
        entry
    }

    fn deliver(
        &self,
        low: u64,
        high: u64,
        requester: u16,
        extended: bool,
    ) -> Result<Delivered, u8> {
        // IM says which of two formats it is, where the unit has both.
        let posted = low >> 15 & 1 != 0 && self.can.posts;
        // Reserved, remapped: bits 15:12 and 31:24; the upper word above SVT. Posted: bits 7:2, 13:12 and 37:24; 31:20 above.
        let reserved = if posted {
            low & 0x3f_ff00_30fc != 0 || high >> 20 & 0xfff != 0
        } else {
            low & 0xff00_f000 != 0 || high >> 20 != 0
        };
        if reserved {
            return Err(ENTRY_RESERVED);
        }
        let (sid, qualifier, validation) = (high as u16, high >> 16 & 3, high >> 18 & 3);
        let admitted = match validation {
            0 => true,
            1 => {
                let ignored = [0u16, 4, 6, 7][qualifier as usize];
                requester & !ignored == sid & !ignored
            }
            2 => (sid >> 8..=sid & 0xff).contains(&(requester >> 8)),
            _ => return Err(ENTRY_RESERVED),
        };
        if !admitted {
            return Err(SOURCE_REFUSED);
        }
        if posted {
            let address = low >> 38 << 6 | high >> 32 << 32;
            return self.post(address, (low >> 16) as u8, low >> 14 & 1 != 0, extended);
        }
        // Fixed delivery, physical destination: what else there is, no device here may raise.
        if low >> 5 & 7 != 0 || low & 4 != 0 {
            return Err(ENTRY_RESERVED);
        }
        let apic = if extended {
            (low >> 32) as u32
        } else {
            (low >> 40) as u32 & 0xff
        };
        Ok(Delivered {
            apic,
            vector: (low >> 16) as u8,
            level: low >> 4 & 1 != 0,
            told: true,
        })
    }

    /// Interrupt posting (section 5.2.5): one update of the descriptor that nobody sees half of, then perhaps a notification.
    fn post(
        &self,
        descriptor: u64,
        vector: u8,
        urgent: bool,
        extended: bool,
    ) -> Result<Delivered, u8> {
        let mut outcome = Err(DESCRIPTOR_UNREACHABLE);
        if descriptor >> 52 != 0 {
            return outcome;
        }
        self.memory.update_line(descriptor, &mut |line| {
            let control = line[4];
            // Bits 15:2 and 31:24 of the control word, and all that follows it.
            if control & 0xff00_fffc != 0 || line[5..] != [0; 3] {
                outcome = Err(DESCRIPTOR_RESERVED);
                return;
            }
            line[usize::from(vector) / 64] |= 1 << (vector % 64);
            let told = control & 1 == 0 && (control & 2 == 0 || urgent);
            if told {
                line[4] |= 1;
            }
            let destination = (control >> 32) as u32;
            outcome = Ok(Delivered {
                apic: if extended {
                    destination
                } else {
                    destination >> 8 & 0xff
                },
                vector: (control >> 16) as u8,
                level: false,
                told,
            });
        });
        outcome
    }
}
