//! The MSRs among a guest's registers.

use super::control_register::CR0_PG;
use super::save::{SaveArea, segment};
use crate::msr::{index, is_canonical, is_valid_pat};

const EFER_SCE: u64 = 1 << 0;
const EFER_LME: u64 = 1 << 8;
pub(super) const EFER_LMA: u64 = 1 << 10;
const EFER_NXE: u64 = 1 << 11;

/// Bits of EFER that a guest may have.
pub(super) const EFER_KNOWN: u64 = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;

impl SaveArea {
    /// The value of an MSR; `None`: not one of a guest's registers.
    #[must_use]
    pub const fn read_msr(&self, msr: u32) -> Option<u64> {
        Some(match msr {
            index::EFER => self.efer,
            index::PAT => self.pat,
            index::STAR => self.star,
            index::LSTAR => self.lstar,
            index::CSTAR => self.cstar,
            index::SFMASK => self.sfmask,
            index::FS_BASE => self.segments[segment::FS].base,
            index::GS_BASE => self.segments[segment::GS].base,
            index::KERNEL_GS_BASE => self.kernel_gs_base,
            index::SYSENTER_CS => self.sysenter_cs,
            index::SYSENTER_ESP => self.sysenter_esp,
            index::SYSENTER_EIP => self.sysenter_eip,
            _ => return None,
        })
    }

    /// Writes an MSR. `None`: not one of a guest's registers; `Some(false)`: it does not take this value.
    pub const fn write_msr(&mut self, msr: u32, value: u64) -> Option<bool> {
        match msr {
            index::EFER => return Some(self.write_efer(value)),
            index::PAT if !is_valid_pat(value) => return Some(false),
            index::SFMASK | index::SYSENTER_CS if value >> 32 != 0 => return Some(false),
            index::LSTAR..=index::CSTAR
            | index::FS_BASE..=index::KERNEL_GS_BASE
            | index::SYSENTER_ESP..=index::SYSENTER_EIP
                if !is_canonical(value) =>
            {
                return Some(false);
            }
            _ => {}
        }
        let Some(register) = self.msr_mut(msr) else {
            return None;
        };
        *register = value;
        Some(true)
    }

    const fn msr_mut(&mut self, msr: u32) -> Option<&mut u64> {
        Some(match msr {
            index::PAT => &mut self.pat,
            index::STAR => &mut self.star,
            index::LSTAR => &mut self.lstar,
            index::CSTAR => &mut self.cstar,
            index::SFMASK => &mut self.sfmask,
            index::FS_BASE => &mut self.segments[segment::FS].base,
            index::GS_BASE => &mut self.segments[segment::GS].base,
            index::KERNEL_GS_BASE => &mut self.kernel_gs_base,
            index::SYSENTER_CS => &mut self.sysenter_cs,
            index::SYSENTER_ESP => &mut self.sysenter_esp,
            index::SYSENTER_EIP => &mut self.sysenter_eip,
            _ => return None,
        })
    }

    /// A guest's WRMSR to EFER: LME does not change while it pages, LMA is the processor's.
    const fn write_efer(&mut self, value: u64) -> bool {
        let change = (value ^ self.efer) & EFER_LME;
        if change != 0 && self.cr0 & CR0_PG != 0 {
            return false;
        }
        self.set_efer(value)
    }

    pub(super) const fn set_efer(&mut self, value: u64) -> bool {
        if value & !EFER_KNOWN != 0 {
            return false;
        }
        self.efer = value;
        self.follow_paging();
        true
    }

    /// LMA is LME while the guest pages.
    pub(super) const fn follow_paging(&mut self) {
        self.efer &= !EFER_LMA;
        if self.efer & EFER_LME != 0 && self.cr0 & CR0_PG != 0 {
            self.efer |= EFER_LMA;
        }
    }

    /// Whether the guest is in IA-32e mode.
    #[must_use]
    pub const fn in_long_mode(&self) -> bool {
        self.efer & EFER_LMA != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_04_efer_takes_what_a_guest_may_have() {
        let mut area = SaveArea::default();
        assert_eq!(area.write_msr(index::EFER, 1 << 12), Some(false), "SVME");
        assert_eq!(area.write_msr(index::EFER, 0x901), Some(true));
        assert_eq!(area.read_msr(index::EFER), Some(0x901), "SCE, LME and NXE");
        assert_eq!(area.write_msr(index::EFER, 1 << 16), Some(false));
        area.cr0 |= CR0_PG;
        assert_eq!(area.write_msr(index::EFER, 0x801), Some(false));
    }

    #[test]
    fn cpu_05_20_values_that_the_processor_refuses_are_refused() {
        let mut area = SaveArea::default();
        assert_eq!(area.write_msr(index::LSTAR, 1 << 47), Some(false));
        let base = 0xffff_8000_0000_0000;
        assert_eq!(area.write_msr(index::FS_BASE, base), Some(true));
        assert_eq!(area.segments[segment::FS].base, base);
        assert_eq!(area.write_msr(index::PAT, 0x02), Some(false));
        assert_eq!(area.write_msr(index::SFMASK, 1 << 32), Some(false));
        assert_eq!((area.read_msr(0x10), area.write_msr(0x10, 0)), (None, None));
    }
}
