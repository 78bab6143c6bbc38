//! The MSRs that stand in the control block.

use super::Vmcb;
use super::registers::EFER_SVME;
use crate::msr::{index, is_canonical, is_valid_pat};

impl Vmcb {
    /// The value of an MSR that stands in this block; `None`: not one of them. SVME is not a guest's business.
    #[must_use]
    pub fn read_msr(&self, msr: u32) -> Option<u64> {
        let s = &self.save;
        Some(match msr {
            index::EFER => s.efer & !EFER_SVME,
            index::PAT => s.pat,
            index::STAR => s.star,
            index::LSTAR => s.lstar,
            index::CSTAR => s.cstar,
            index::SFMASK => s.sfmask,
            index::FS_BASE => s.fs.base,
            index::GS_BASE => s.gs.base,
            index::KERNEL_GS_BASE => s.kernel_gs_base,
            index::SYSENTER_CS => s.sysenter_cs,
            index::SYSENTER_ESP => s.sysenter_esp,
            index::SYSENTER_EIP => s.sysenter_eip,
            _ => return None,
        })
    }

    /// Writes an MSR that stands in this block. `None`: not one of them; `Some(false)`: it does not take this value.
    pub fn write_msr(&mut self, msr: u32, value: u64) -> Option<bool> {
        match msr {
            index::EFER => return Some(self.write_efer(value)),
            index::PAT if !is_valid_pat(value) => return Some(false),
            index::SFMASK if value >> 32 != 0 => return Some(false),
            index::LSTAR..=index::CSTAR
            | index::FS_BASE..=index::KERNEL_GS_BASE
            | index::SYSENTER_ESP..=index::SYSENTER_EIP
                if !is_canonical(value) =>
            {
                return Some(false);
            }
            _ => {}
        }
        *self.msr_mut(msr)? = value;
        Some(true)
    }

    fn msr_mut(&mut self, msr: u32) -> Option<&mut u64> {
        let s = &mut self.save;
        Some(match msr {
            index::PAT => &mut s.pat,
            index::STAR => &mut s.star,
            index::LSTAR => &mut s.lstar,
            index::CSTAR => &mut s.cstar,
            index::SFMASK => &mut s.sfmask,
            index::FS_BASE => &mut s.fs.base,
            index::GS_BASE => &mut s.gs.base,
            index::KERNEL_GS_BASE => &mut s.kernel_gs_base,
            index::SYSENTER_CS => &mut s.sysenter_cs,
            index::SYSENTER_ESP => &mut s.sysenter_esp,
            index::SYSENTER_EIP => &mut s.sysenter_eip,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::svm::Features;
    use crate::svm::vmcb::tests::block;

    #[test]
    fn cpu_04_efer_hides_svme_and_refuses_it() {
        let mut block = block(Features::default());
        assert_eq!(block.read_msr(index::EFER), Some(0));
        assert_eq!(block.write_msr(index::EFER, 1 << 12), Some(false));
        assert_eq!(block.write_msr(index::EFER, 0x901), Some(true));
        assert_eq!(block.read_msr(index::EFER), Some(0x901), "SCE, LME and NXE");
        assert_ne!(block.save.efer & 1 << 12, 0);
        assert_eq!(block.write_msr(index::EFER, 1 << 16), Some(false));
        block.save.cr0 |= 1 << 31;
        assert_eq!(
            block.write_msr(index::EFER, 0x801),
            Some(false),
            "LME while paging"
        );
    }

    #[test]
    fn cpu_05_20_values_that_the_processor_refuses_are_refused() {
        let mut block = block(Features::default());
        assert_eq!(block.write_msr(index::LSTAR, 1 << 47), Some(false));
        assert_eq!(
            block.write_msr(index::FS_BASE, 0xffff_8000_0000_0000),
            Some(true)
        );
        assert_eq!(block.save.fs.base, 0xffff_8000_0000_0000);
        assert_eq!(block.write_msr(index::PAT, 0x02), Some(false));
        assert_eq!(block.write_msr(index::SFMASK, 1 << 32), Some(false));
        assert_eq!(
            (block.read_msr(0x10), block.write_msr(0x10, 0)),
            (None, None)
        );
    }
}
