//! A bounded walk of a guest's own page tables: for the bytes of an instruction that hardware did not capture, and for
//! TranslateVirtualAddress. Each entry is read once, and nothing is written (accessed and dirty bits stay).
//!
//! APM volume 2, "Page Translation and Protection"; SDM volume 3, "Paging".

use abi::register;
use address::{Gpa, PAGE_SIZE};
use guest::{Event, Vcpu};
use paging::{Rights, Slat};

use crate::Kernel;
use crate::seams::Machine;
use crate::vp::run::Running;

const CR0_PG: u64 = 1 << 31;
const CR4_PSE: u64 = 1 << 4;
const CR4_PAE: u64 = 1 << 5;
const CR4_LA57: u64 = 1 << 12;
const EFER_LMA: u64 = 1 << 10;
const PRESENT: u64 = 1;
const WRITABLE: u64 = 2;
const USER: u64 = 4;
const LARGE: u64 = 1 << 7;
/// Of a page fault's error code; its other bits stand where an entry has them.
const FETCH: u64 = 1 << 4;
const PAGE_FAULT: u8 = 14;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// Longest instruction in bytes.
pub const MAX_INSTRUCTION: usize = 15;

/// What the access wants.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Want {
    /// It writes.
    pub write: bool,
    /// It fetches.
    pub execute: bool,
    /// It comes from CPL 3.
    pub user: bool,
}

/// Why there is no translation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// An entry is not present, or the address is not canonical.
    NotPresent,
    /// An entry does not allow it.
    Privilege,
    /// A table lies where the partition has no RAM.
    NoMemory,
}

/// How the guest pages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mode {
    Off,
    /// Two levels of 32-bit entries; large pages where the flag says so.
    Legacy(bool),
    /// Three levels of 64-bit entries.
    Pae,
    /// Four or five levels of 64-bit entries.
    Long(u8),
}

impl<M: Machine> Kernel<M> {
    /// Where a guest-virtual address lies in the partition's GPA map.
    ///
    /// # Errors
    /// As the guest's own access would fail.
    pub(crate) fn translate(
        &self,
        slat: &Slat,
        vcpu: &M::Vcpu,
        address: u64,
        want: Want,
    ) -> Result<Gpa, Fault> {
        let register = |name| vcpu.register(name).unwrap_or(0) as u64;
        let cr3 = register(register::CR3);
        match mode(
            register(register::CR0),
            register(register::CR4),
            register(register::EFER),
        ) {
            Mode::Off => Ok(Gpa::new(address & 0xffff_ffff)),
            Mode::Legacy(large) => self.walk_legacy(slat, cr3, address as u32, large, want),
            Mode::Pae => {
                let entry = self.entry(slat, (cr3 & 0xffff_ffe0) + (address >> 30 & 3) * 8, 8)?;
                if entry & PRESENT == 0 {
                    return Err(Fault::NotPresent);
                }
                self.walk_long(slat, entry & ADDRESS, address & 0xffff_ffff, 2, want)
            }
            Mode::Long(levels) => {
                let unused = 64 - (12 + 9 * u32::from(levels));
                if ((address << unused) as i64 >> unused) as u64 != address {
                    return Err(Fault::NotPresent);
                }
                self.walk_long(slat, cr3 & ADDRESS, address, levels, want)
            }
        }
    }

    fn walk_long(
        &self,
        slat: &Slat,
        root: u64,
        address: u64,
        levels: u8,
        want: Want,
    ) -> Result<Gpa, Fault> {
        let mut table = root;
        for level in (1..=levels).rev() {
            let shift = 12 + 9 * u32::from(level - 1);
            let entry = self.entry(slat, table + (address >> shift & 0x1ff) * 8, 8)?;
            check(entry, want)?;
            if level == 1 || (level <= 3 && entry & LARGE != 0) {
                let inside = (1u64 << shift) - 1;
                return Ok(Gpa::new(entry & ADDRESS & !inside | address & inside));
            }
            table = entry & ADDRESS;
        }
        Err(Fault::NotPresent)
    }

    fn walk_legacy(
        &self,
        slat: &Slat,
        cr3: u64,
        address: u32,
        large: bool,
        want: Want,
    ) -> Result<Gpa, Fault> {
        let address = u64::from(address);
        let directory = self.entry(slat, (cr3 & 0xffff_f000) + (address >> 22) * 4, 4)?;
        check(directory, want)?;
        if large && directory & LARGE != 0 {
            let high = (directory >> 13 & 0xff) << 32;
            return Ok(Gpa::new(
                high | directory & 0xffc0_0000 | address & 0x3f_ffff,
            ));
        }
        let entry = self.entry(
            slat,
            (directory & 0xffff_f000) + (address >> 12 & 0x3ff) * 4,
            4,
        )?;
        check(entry, want)?;
        Ok(Gpa::new(entry & 0xffff_f000 | address & 0xfff))
    }

    /// Reads one table entry of the guest.
    fn entry(&self, slat: &Slat, gpa: u64, size: usize) -> Result<u64, Fault> {
        let (spa, _) = self.ram_at(slat, Gpa::new(gpa)).ok_or(Fault::NoMemory)?;
        let mut bytes = [0; 8];
        self.machine
            .read(spa, bytes.get_mut(..size).ok_or(Fault::NoMemory)?);
        Ok(u64::from_le_bytes(bytes))
    }

    /// Reads the instruction at the VP's instruction pointer, as many bytes as there are up to 15.
    pub(crate) fn fetch(&self, slat: &Slat, vcpu: &M::Vcpu) -> ([u8; MAX_INSTRUCTION], u8) {
        let mut bytes = [0; MAX_INSTRUCTION];
        let (start, want) = instruction_at(vcpu);
        let mut count = 0;
        while count < MAX_INSTRUCTION {
            let address = start.wrapping_add(count as u64);
            let in_page = (PAGE_SIZE - address % PAGE_SIZE) as usize;
            let part = in_page.min(MAX_INSTRUCTION - count);
            let Ok(gpa) = self.translate(slat, vcpu, address, want) else {
                break;
            };
            let Some((spa, _)) = self.ram_at(slat, gpa) else {
                break;
            };
            let Some(to) = bytes.get_mut(count..count + part) else {
                break;
            };
            self.machine.read(spa, to);
            count += part;
        }
        (bytes, count as u8)
    }

    /// An instruction of which only `count` bytes could be fetched needs the next one: injects the #PF that its fetch would
    /// raise. `false`: the guest's tables let it be fetched, or lie where there is no RAM.
    #[cold]
    pub(crate) fn fetch_faults(&self, running: &mut Running<'_, M>, count: u8) -> bool {
        let body = running.partition.body.lock();
        let Some(slat) = body.slat.live() else {
            return false;
        };
        let vcpu = &mut running.vp.vcpu;
        let (start, want) = instruction_at(vcpu);
        let address = start.wrapping_add(count.into());
        let present = match self.translate(slat, vcpu, address, want) {
            Err(Fault::NotPresent) => 0,
            Err(Fault::Privilege) => PRESENT,
            Ok(_) | Err(Fault::NoMemory) => return false,
        };
        let user = if want.user { USER } else { 0 };
        let told = vcpu.set_register(register::CR2, address.into());
        vcpu.inject(Event::Exception {
            vector: PAGE_FAULT,
            error_code: Some((present | user | FETCH) as u32),
        });
        told.is_ok()
    }
}

/// Where the VP's instruction is, and what it takes to fetch it.
fn instruction_at(vcpu: &impl Vcpu) -> (u64, Want) {
    let want = Want {
        execute: true,
        user: vcpu.cpl() == 3,
        write: false,
    };
    let base = vcpu.register(register::CS).unwrap_or(0) as u64;
    let base = if vcpu.long_mode() { 0 } else { base };
    (base.wrapping_add(vcpu.rip()), want)
}

/// Whether the access may pass an entry.
fn check(entry: u64, want: Want) -> Result<(), Fault> {
    if entry & PRESENT == 0 {
        return Err(Fault::NotPresent);
    }
    let refused = (want.user && entry & USER == 0)
        || (want.write && entry & WRITABLE == 0)
        || (want.execute && entry & NO_EXECUTE != 0);
    if refused {
        Err(Fault::Privilege)
    } else {
        Ok(())
    }
}

const fn mode(cr0: u64, cr4: u64, efer: u64) -> Mode {
    if cr0 & CR0_PG == 0 {
        Mode::Off
    } else if efer & EFER_LMA != 0 {
        Mode::Long(if cr4 & CR4_LA57 != 0 { 5 } else { 4 })
    } else if cr4 & CR4_PAE != 0 {
        Mode::Pae
    } else {
        Mode::Legacy(cr4 & CR4_PSE != 0)
    }
}

/// What a translation's rights say to the hypervisor's own copies.
#[must_use]
pub(crate) const fn writable(access: paging::Access) -> bool {
    access.rights.contains(Rights::WRITE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_follows_the_control_registers() {
        assert_eq!(mode(0, 0, 0), Mode::Off);
        assert_eq!(mode(CR0_PG, 0, 0), Mode::Legacy(false));
        assert_eq!(mode(CR0_PG, CR4_PSE, 0), Mode::Legacy(true));
        assert_eq!(mode(CR0_PG, CR4_PAE, 0), Mode::Pae);
        assert_eq!(mode(CR0_PG, CR4_PAE, EFER_LMA), Mode::Long(4));
        assert_eq!(mode(CR0_PG, CR4_PAE | CR4_LA57, EFER_LMA), Mode::Long(5));
    }

    #[test]
    fn cpu_12_rights_are_checked_at_every_level() {
        let user = Want {
            user: true,
            ..Want::default()
        };
        assert_eq!(check(PRESENT, user), Err(Fault::Privilege));
        assert_eq!(check(PRESENT | USER, user), Ok(()));
        assert_eq!(
            check(
                PRESENT | NO_EXECUTE,
                Want {
                    execute: true,
                    ..Want::default()
                }
            ),
            Err(Fault::Privilege)
        );
        assert_eq!(check(0, Want::default()), Err(Fault::NotPresent));
    }
}
