//! Device table and host tables (sections 2.2.2 and 2.2.3).

use super::Amdvi;
use super::caches::Translation;
use super::fault::{ILLEGAL_ENTRY, PAGE_FAULT, WRITE};
use crate::{Behaviour, Refused};

/// Bits that must be zero in words 0, 1 and 2: as the emulator and the driver have them.
const RESERVED_0: u64 = 0x8000_0000_0000_007c;
const RESERVED_2: u64 = 0x08f0_0000_0000_0000;
/// Guest translation and page requests, which this unit does not have.
const GUEST: u64 = 0x1ff << 52;

impl Amdvi {
    /// A requester's entry, from the cache or the table. A requester that the table does not have is refused.
    pub(super) fn device(&self, requester: u16) -> Result<[u64; 4], Refused> {
        let (cached, devices) = {
            let state = self.state.borrow();
            let cached = state.caches.devices.get(&requester).copied();
            (cached, state.values.devices)
        };
        if let Some(entry) = cached {
            return Ok(entry);
        }
        let entry = self.entry(requester);
        let outside = u64::from(requester) / 128 > devices & 0x1ff;
        let reserved = entry[0] & (RESERVED_0 | GUEST) != 0 || entry[2] & RESERVED_2 != 0;
        if outside || entry[0] & 1 != 0 && (reserved || entry[0] >> 9 & 7 == 7) {
            self.log(ILLEGAL_ENTRY, requester, 0, 0, u64::from(requester) * 32);
            return Err(Refused::Fault(ILLEGAL_ENTRY));
        }
        self.state
            .borrow_mut()
            .caches
            .devices
            .insert(requester, entry);
        Ok(entry)
    }

    /// Translates; the address reached and the domain that it was reached in.
    pub(super) fn translate(
        &self,
        requester: u16,
        iova: u64,
        write: bool,
    ) -> Result<(u64, u16), Refused> {
        if self.state.borrow().behaviour == Behaviour::Dead {
            return Err(Refused::Dead);
        }
        let [low, high, ..] = self.device(requester)?;
        let domain = high as u16;
        if low & 1 == 0 {
            return Ok((iova, domain));
        }
        let quiet = high >> 34 & 1 != 0;
        let refuse = || {
            if !quiet {
                let flags = u64::from(write) * WRITE;
                self.log(PAGE_FAULT, requester, domain, flags, iova);
            }
            Err(Refused::Fault(PAGE_FAULT))
        };
        let right = if write { low >> 62 & 1 } else { low >> 61 & 1 };
        if low & 2 == 0 || right == 0 {
            return refuse();
        }
        let levels = (low >> 9 & 7) as u8;
        if levels == 0 {
            return Ok((iova, domain));
        }
        if levels > self.can.levels {
            self.log(ILLEGAL_ENTRY, requester, domain, 0, iova);
            return Err(Refused::Fault(ILLEGAL_ENTRY));
        }
        if levels < 6 && iova >> (12 + 9 * u32::from(levels)) != 0 {
            return refuse();
        }
        let found = self.lookup(domain, levels, low, iova >> 12);
        let Some(found) = found else {
            return refuse();
        };
        let allowed = if write { found.write } else { found.read };
        match found.target {
            Some(target) if allowed => {
                let page = target + ((iova >> 12) - found.first);
                Ok((page << 12 | iova & 0xfff, domain))
            }
            _ => refuse(),
        }
    }

    /// The translation of a page, from the cache or the tables; `None` where an entry says what does not exist.
    fn lookup(&self, domain: u16, levels: u8, entry: u64, page: u64) -> Option<Translation> {
        if let Some(found) = self.state.borrow().caches.find(domain, page) {
            return Some(found);
        }
        let found = self.walk(domain, levels, entry, page)?;
        if found.target.is_some() || self.can.caches_absent {
            self.state.borrow_mut().caches.add(domain, found);
        }
        Some(found)
    }

    fn walk(&self, domain: u16, levels: u8, entry: u64, page: u64) -> Option<Translation> {
        let (mut pointer, mut level) = (entry, levels);
        let (mut read, mut write) = (true, true);
        // The lowest pointer that is remembered: a walk begins there.
        for below in 1..levels {
            let key = (domain, below + 1, page >> (9 * u32::from(below)));
            let known = self.state.borrow().caches.tables.get(&key).copied();
            if let Some(known) = known {
                (pointer, read, write) = known;
                level = (pointer >> 9 & 7) as u8;
                break;
            }
        }
        loop {
            let shift = 9 * (u32::from(level) - 1);
            let at = (pointer & 0x000f_ffff_ffff_f000) + (page >> shift & 0x1ff) * 8;
            let entry = self.memory.read(at);
            if entry & 1 == 0 {
                return Some(Translation {
                    first: page,
                    pages: 1,
                    target: None,
                    read: false,
                    write: false,
                });
            }
            if entry >> 52 & 0x7f != 0 {
                return None;
            }
            read &= entry >> 61 & 1 != 0;
            write &= entry >> 62 & 1 != 0;
            let next = (entry >> 9 & 7) as u8;
            if next == 0 || next == 7 {
                return page_of(entry, next, page, shift, read, write);
            }
            // Levels may be skipped, but only where the address has nothing to say there; none rises.
            if next >= level
                || page >> (9 * u32::from(next)) & ((1 << (shift - 9 * u32::from(next))) - 1) != 0
            {
                return None;
            }
            let key = (domain, level, page >> shift);
            self.state
                .borrow_mut()
                .caches
                .tables
                .insert(key, (entry, read, write));
            pointer = entry;
            level = next;
        }
    }
}

/// A page: of its level's size, or of the size that the lowest zero bit of its address says.
fn page_of(
    entry: u64,
    next: u8,
    page: u64,
    shift: u32,
    read: bool,
    write: bool,
) -> Option<Translation> {
    let number = (entry & 0x000f_ffff_ffff_f000) >> 12;
    let (pages, target) = if next == 0 {
        (1u64 << shift, number)
    } else {
        let pages = 2u64 << number.trailing_ones();
        (pages, number & !(pages - 1))
    };
    if target & (pages - 1) != 0 {
        return None;
    }
    Some(Translation {
        first: page & !(pages - 1),
        pages,
        target: Some(target),
        read,
        write,
    })
}
