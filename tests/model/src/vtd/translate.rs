//! DMA remapping (chapter 3): root table, context table, second-stage tables.

use super::Vtd;
use super::caches::Translation;
use crate::{Behaviour, Refused};

/// Fault reasons (chapter 7, "Fault reason encodings").
const ROOT_ABSENT: u8 = 0x1;
const CONTEXT_ABSENT: u8 = 0x2;
const CONTEXT_INVALID: u8 = 0x3;
const ADDRESS_WIDTH: u8 = 0x4;
const NO_WRITE: u8 = 0x5;
const NO_READ: u8 = 0x6;
const ROOT_RESERVED: u8 = 0xa;
const CONTEXT_RESERVED: u8 = 0xb;
const ENTRY_RESERVED: u8 = 0xc;

impl Vtd {
    /// Translates; the address reached and the domain that it was reached in.
    pub(super) fn translate(
        &self,
        requester: u16,
        iova: u64,
        write: bool,
    ) -> Result<(u64, u16), Refused> {
        // A dead unit is silent to software; what it remembers, it may go on using.
        if self.state.borrow().behaviour == Behaviour::Dead {
            return Err(Refused::Dead);
        }
        match self.try_translate(requester, iova, write) {
            Ok(reached) => Ok(reached),
            Err((reason, quiet)) => {
                if !quiet {
                    self.record(requester, iova & !0xfff, reason, !write);
                }
                Err(Refused::Fault(reason))
            }
        }
    }

    fn try_translate(
        &self,
        requester: u16,
        iova: u64,
        write: bool,
    ) -> Result<(u64, u16), (u8, bool)> {
        let (low, high) = self.context(requester)?;
        let quiet = low & 2 != 0;
        let fault = |reason| (reason, quiet);
        if high >> 24 != 0 || low & 0xff0 != 0 {
            return Err(fault(CONTEXT_RESERVED));
        }
        let (width, domain) = (high & 7, (high >> 8) as u16);
        // Only untranslated requests through second-stage tables: no device TLB, no pass-through.
        if low >> 2 & 3 != 0 || !(1..=3).contains(&width) || self.can.sagaw >> width & 1 == 0 {
            return Err(fault(CONTEXT_INVALID));
        }
        let levels = width as u8 + 2;
        let bits = (12 + 9 * u32::from(levels)).min(u32::from(self.can.mgaw));
        if iova >> bits != 0 {
            return Err(fault(ADDRESS_WIDTH));
        }
        let found = self
            .lookup(domain, levels, low & !0xfff, iova >> 12)
            .map_err(fault)?;
        let denied = if write { NO_WRITE } else { NO_READ };
        let target = found.target.ok_or(fault(denied))?;
        if if write { !found.write } else { !found.read } {
            return Err(fault(denied));
        }
        let page = target + ((iova >> 12) - found.first);
        Ok((page << 12 | iova & 0xfff, domain))
    }

    /// The requester's context entry, from the cache or the tables.
    fn context(&self, requester: u16) -> Result<(u64, u64), (u8, bool)> {
        let cached = self.state.borrow().caches.contexts.get(&requester).copied();
        let (low, high) = match cached {
            Some(entry) => entry,
            None => {
                let root = self.state.borrow().values.live_root & !0xfff;
                let at = root + u64::from(requester >> 8) * 16;
                let entry = self.memory.walk(at);
                if entry & 1 == 0 {
                    self.remember_context(requester, (0, ROOT_ABSENT.into()));
                    return Err((ROOT_ABSENT, false));
                }
                if entry & 0xffe != 0 || self.memory.walk(at + 8) != 0 {
                    return Err((ROOT_RESERVED, false));
                }
                let at = (entry & !0xfff) + u64::from(requester & 0xff) * 16;
                let found = (self.memory.walk(at), self.memory.walk(at + 8));
                self.remember_context(requester, found);
                found
            }
        };
        if low & 1 == 0 {
            let reason = if high == ROOT_ABSENT.into() {
                ROOT_ABSENT
            } else {
                CONTEXT_ABSENT
            };
            return Err((reason, low & 2 != 0));
        }
        Ok((low, high))
    }

    /// Entries that are not present are remembered in caching mode only.
    fn remember_context(&self, requester: u16, entry: (u64, u64)) {
        if entry.0 & 1 != 0 || self.can.caching_mode {
            self.state
                .borrow_mut()
                .caches
                .contexts
                .insert(requester, entry);
        }
    }

    /// The translation of a page, from the cache or the tables.
    fn lookup(&self, domain: u16, levels: u8, table: u64, page: u64) -> Result<Translation, u8> {
        if let Some(found) = self.state.borrow().caches.find(domain, page) {
            return Ok(found);
        }
        let found = self.walk(domain, levels, table, page)?;
        if found.target.is_some() || self.can.caching_mode {
            self.state.borrow_mut().caches.add(domain, found);
        }
        Ok(found)
    }

    fn walk(&self, domain: u16, levels: u8, mut table: u64, page: u64) -> Result<Translation, u8> {
        let (mut read, mut write, mut level) = (true, true, levels);
        // The lowest table that is remembered: a walk begins there.
        for below in 1..levels {
            let key = (domain, below + 1, page >> (9 * u32::from(below)));
            if let Some(&(next, may_read, may_write)) = self.state.borrow().caches.tables.get(&key)
            {
                (table, read, write, level) = (next, may_read, may_write, below);
                break;
            }
        }
        loop {
            let shift = 9 * (u32::from(level) - 1);
            let entry = self.memory.walk(table + (page >> shift & 0x1ff) * 8);
            let mut found = Translation {
                first: page,
                pages: 1,
                target: None,
                read: false,
                write: false,
            };
            if entry & 3 == 0 {
                return Ok(found);
            }
            read &= entry & 1 != 0;
            write &= entry & 2 != 0;
            let large = level > 1 && entry & 0x80 != 0;
            self.check_entry(entry, level, large)?;
            let target = (entry & 0x000f_ffff_ffff_f000) >> 12;
            if level == 1 || large {
                found.pages = 1 << shift;
                found.first = page & !(found.pages - 1);
                if target & (found.pages - 1) != 0 {
                    return Err(ENTRY_RESERVED);
                }
                (found.target, found.read, found.write) = (Some(target), read, write);
                return Ok(found);
            }
            let key = (domain, level, page >> shift);
            self.state
                .borrow_mut()
                .caches
                .tables
                .insert(key, (target << 12, read, write));
            table = target << 12;
            level -= 1;
        }
    }

    /// Reserved bits of a second-stage entry.
    fn check_entry(&self, entry: u64, level: u8, large: bool) -> Result<(), u8> {
        let leaf = level == 1 || large;
        let size_allowed =
            !large || matches!(level, 2 | 3) && self.can.superpages >> (level - 2) & 1 != 0;
        let snoop_allowed = entry & 0x800 == 0 || leaf && self.can.snoop;
        // Bit 7 of a level-1 entry, and what lies past the physical address width.
        let clean = entry & 0xfff0_0000_0000_0000 == 0 && (level > 1 || entry & 0x80 == 0);
        if size_allowed && snoop_allowed && clean {
            Ok(())
        } else {
            Err(ENTRY_RESERVED)
        }
    }
}
