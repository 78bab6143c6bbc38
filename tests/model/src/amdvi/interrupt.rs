//! Interrupt remapping (section 2.2.5).

use super::fault::{ILLEGAL_ENTRY, INTERRUPT, PAGE_FAULT};
use super::{Amdvi, ENABLED};
use crate::{Behaviour, Delivered, Refused};

const WIDE: u64 = 1 << 17;
const X2APIC: u64 = 1 << 50;

impl Amdvi {
    /// A write to FEEx_xxxxh.
    pub(super) fn remap(
        &self,
        requester: u16,
        address: u64,
        data: u32,
    ) -> Result<Delivered, Refused> {
        let (behaviour, control) = {
            let state = self.state.borrow();
            (state.behaviour, state.values.control)
        };
        if behaviour == Behaviour::Dead {
            return Err(Refused::Dead);
        }
        let as_it_stands = Ok(Delivered {
            apic: (address >> 12) as u32 & 0xff,
            vector: data as u8,
            level: data >> 15 & 1 != 0,
            told: true,
        });
        if control & ENABLED == 0 {
            return as_it_stands;
        }
        let word = self.device(requester)?[2];
        if word & 1 == 0 {
            return as_it_stands;
        }
        let refuse = |code: u8, quiet: bool| {
            if !quiet {
                self.log(code, requester, 0, INTERRUPT, address);
            }
            Err(Refused::Fault(code))
        };
        if !matches!(data >> 8 & 7, 0 | 1) {
            return if passes(word, data) {
                as_it_stands
            } else {
                refuse(PAGE_FAULT, false)
            };
        }
        let ignore = word >> 5 & 1 != 0;
        match word >> 60 & 3 {
            0 => return refuse(PAGE_FAULT, ignore),
            1 => return as_it_stands,
            2 => (),
            _ => return refuse(ILLEGAL_ENTRY, false),
        }
        let index = (data & 0x7ff) as u16;
        let length = word >> 1 & 0xf;
        if length > 11 {
            return refuse(ILLEGAL_ENTRY, false);
        }
        if u64::from(index) >= 1 << length {
            return refuse(PAGE_FAULT, ignore);
        }
        let table = word & 0x000f_ffff_ffff_ffc0;
        if table & 0x7f != 0 {
            return refuse(ILLEGAL_ENTRY, false);
        }
        let (low, high) = self.interrupt_entry(requester, table, index, control & WIDE != 0);
        if low & 1 == 0 {
            return refuse(PAGE_FAULT, low & 2 != 0);
        }
        deliver(low, high, control, data >> 15 & 1 != 0)
            .map_or_else(|| refuse(PAGE_FAULT, false), Ok)
    }

    /// An entry from the cache or the table.
    fn interrupt_entry(&self, requester: u16, table: u64, index: u16, wide: bool) -> (u64, u64) {
        let key = (requester, index);
        let cached = self.state.borrow().caches.interrupts.get(&key).copied();
        if let Some(found) = cached {
            return found;
        }
        let found = if wide {
            let at = table + u64::from(index) * 16;
            (self.memory.read(at), self.memory.read(at + 8))
        } else {
            let at = table + u64::from(index) * 4;
            let pair = self.memory.read(at & !7);
            (pair >> ((at & 4) * 8) & 0xffff_ffff, 0)
        };
        self.state.borrow_mut().caches.interrupts.insert(key, found);
        found
    }
}

/// Whether a message that is neither fixed nor arbitrated passes: INIT, ExtINT, NMI and the legacy lines by bits of their own;
/// SMI by the system management field, which is in another word.
const fn passes(word: u64, data: u32) -> bool {
    let bit = match data >> 8 & 7 {
        3 => 62,
        4 => 58,
        5 => 56,
        6 => 63,
        7 => 57,
        _ => return false,
    };
    word >> bit & 1 != 0
}

/// Where an entry sends the interrupt; `None` where it says what is reserved, or what is not fixed delivery to one.
fn deliver(low: u64, high: u64, control: u64, level: bool) -> Option<Delivered> {
    // Interrupt type, end-of-interrupt request, logical destination, guest mode.
    if low & 0xfc != 0 {
        return None;
    }
    let (apic, vector) = if control & WIDE == 0 {
        if low >> 24 & 0xff != 0 {
            return None;
        }
        ((low >> 8 & 0xff) as u32, (low >> 16) as u8)
    } else if control & X2APIC != 0 {
        if low >> 32 != 0 || high & 0x00ff_ffff_ffff_ff00 != 0 {
            return None;
        }
        let apic = low >> 8 & 0xff_ffff | high >> 56 << 24;
        (apic as u32, high as u8)
    } else {
        if low >> 16 != 0 || high >> 8 != 0 {
            return None;
        }
        ((low >> 8 & 0xff) as u32, high as u8)
    };
    Some(Delivered {
        apic,
        vector,
        level,
        told: true,
    })
}
