//! The registers of the control block by their numbers in the hypercall interface, and which values they take.

use abi::register as name;

use super::Vmcb;
use super::segment::Segment;
use crate::msr::{index, is_canonical};

/// EFER.SVME: set in every guest's EFER, because VMRUN wants it; no guest sees it.
pub(super) const EFER_SVME: u64 = 1 << 12;
const EFER_SCE: u64 = 1 << 0;
pub(super) const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;
const EFER_NXE: u64 = 1 << 11;
/// What a guest's EFER holds, SVME included.
pub(super) const EFER_KNOWN: u64 = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE | EFER_SVME;
pub(super) const CR0_PE: u64 = 1 << 0;
pub(super) const CR0_PG: u64 = 1 << 31;
pub(super) const CR0_KNOWN: u64 = 0xe005_003f;
pub(super) const CR0_NW: u64 = 1 << 29;
pub(super) const CR0_CD: u64 = 1 << 30;
/// VME to UMIP, FSGSBASE, PCIDE, OSXSAVE, SMEP, SMAP; LA57, PKE and CET are hidden.
const CR4_KNOWN: u64 = 0x0037_0fff;
const RFLAGS_ALWAYS: u64 = 1 << 1;
const RFLAGS_KNOWN: u64 = 0x003f_7fd5;

impl Vmcb {
    /// The value of a register; `None`: it does not stand in this block.
    #[must_use]
    pub fn register(&self, register: u32) -> Option<u128> {
        let s = &self.save;
        if let Some(segment) = self.segment(register) {
            return Some(segment.to_register());
        }
        if let Some(msr) = msr_of(register) {
            return self.read_msr(msr).map(u128::from);
        }
        Some(match register {
            name::RAX => s.rax.into(),
            name::RSP => s.rsp.into(),
            name::RIP => s.rip.into(),
            name::RFLAGS => s.rflags.into(),
            name::CR0 => s.cr0.into(),
            name::CR2 => s.cr2.into(),
            name::CR3 => s.cr3.into(),
            name::CR4 => s.cr4.into(),
            name::CR8 => self.control.virtual_interrupt.task_priority().into(),
            DR6 => s.dr6.into(),
            name::DR7 => s.dr7.into(),
            name::GDTR => s.gdtr.to_table_register(),
            name::IDTR => s.idtr.to_table_register(),
            _ => return None,
        })
    }

    /// Writes a register. `Err(true)`: it does not stand in this block; `Err(false)`: it does not take this value (nothing
    /// has changed then).
    ///
    /// # Errors
    /// See above.
    pub fn set_register(&mut self, register: u32, value: u128) -> Result<(), bool> {
        if self.segment(register).is_some() {
            return self.set_segment(register, Segment::from_register(value));
        }
        if matches!(register, name::GDTR | name::IDTR) {
            return self.set_table(register, Segment::from_table_register(value));
        }
        let value = u64::try_from(value).map_err(|_| false)?;
        if register == name::EFER {
            return accept(self.set_efer(value));
        }
        if let Some(msr) = msr_of(register) {
            return accept(self.write_msr(msr, value) == Some(true));
        }
        self.set_plain(register, value)
    }

    fn set_plain(&mut self, register: u32, value: u64) -> Result<(), bool> {
        let s = &mut self.save;
        match register {
            name::RAX => s.rax = value,
            name::RSP => s.rsp = value,
            name::RIP => s.rip = value,
            name::RFLAGS => {
                accept(value & !(RFLAGS_KNOWN | RFLAGS_ALWAYS) == 0)?;
                s.rflags = value | RFLAGS_ALWAYS;
            }
            name::CR0 => {
                accept(is_valid_cr0(value))?;
                s.cr0 = value;
                self.follow_paging();
            }
            name::CR2 => s.cr2 = value,
            name::CR3 => {
                accept(value >> 52 == 0)?;
                s.cr3 = value;
            }
            name::CR4 => {
                accept(value & !CR4_KNOWN == 0)?;
                s.cr4 = value;
            }
            name::CR8 => {
                accept(value < 16)?;
                self.set_task_priority(value as u8);
            }
            DR6 => {
                accept(value >> 32 == 0)?;
                s.dr6 = value;
            }
            name::DR7 => {
                accept(value >> 32 == 0)?;
                s.dr7 = value;
            }
            _ => return Err(true),
        }
        Ok(())
    }

    /// The task priority class, CR8, modulo 16.
    pub fn set_task_priority(&mut self, class: u8) {
        let v = self.control.virtual_interrupt;
        self.control.virtual_interrupt = v.with_task_priority(class & 15);
    }

    const fn segment(&self, register: u32) -> Option<Segment> {
        let s = &self.save;
        Some(match register {
            name::ES => s.es,
            name::CS => s.cs,
            name::SS => s.ss,
            name::DS => s.ds,
            name::FS => s.fs,
            name::GS => s.gs,
            name::LDTR => s.ldtr,
            name::TR => s.tr,
            _ => return None,
        })
    }

    fn set_segment(&mut self, register: u32, segment: Segment) -> Result<(), bool> {
        accept(is_canonical(segment.base))?;
        let s = &mut self.save;
        match register {
            name::ES => s.es = segment,
            name::CS => s.cs = segment,
            name::SS => {
                s.ss = segment;
                s.cpl = segment.dpl();
            }
            name::DS => s.ds = segment,
            name::FS => s.fs = segment,
            name::GS => s.gs = segment,
            name::LDTR => s.ldtr = segment,
            name::TR => s.tr = segment,
            _ => return Err(true),
        }
        Ok(())
    }

    fn set_table(&mut self, register: u32, table: Segment) -> Result<(), bool> {
        accept(is_canonical(table.base))?;
        if register == name::GDTR {
            self.save.gdtr = table;
        } else {
            self.save.idtr = table;
        }
        Ok(())
    }

    /// A guest's WRMSR to EFER: LME does not change while it pages, LMA is the processor's.
    pub(super) fn write_efer(&mut self, value: u64) -> bool {
        let change = (value ^ self.save.efer) & EFER_LME;
        if change != 0 && self.save.cr0 & CR0_PG != 0 {
            return false;
        }
        self.set_efer(value)
    }

    fn set_efer(&mut self, value: u64) -> bool {
        if value & !(EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE) != 0 {
            return false;
        }
        self.save.efer = value | EFER_SVME;
        self.follow_paging();
        true
    }

    /// LMA is LME while the guest pages.
    fn follow_paging(&mut self) {
        let s = &mut self.save;
        s.efer &= !EFER_LMA;
        if s.efer & EFER_LME != 0 && s.cr0 & CR0_PG != 0 {
            s.efer |= EFER_LMA;
        }
    }

    /// Whether the guest pages in 64-bit mode and its code segment is a 64-bit one.
    #[must_use]
    pub const fn in_64_bit_code(&self) -> bool {
        self.save.efer & EFER_LMA != 0 && self.save.cs.attributes & super::segment::LONG != 0
    }
}

/// DR6, between DR3 and DR7 in the interface's numbers.
const DR6: u32 = name::DR7 - 1;

const fn accept(condition: bool) -> Result<(), bool> {
    if condition { Ok(()) } else { Err(false) }
}

const fn is_valid_cr0(value: u64) -> bool {
    value & !CR0_KNOWN == 0
        && (value & CR0_PG == 0 || value & CR0_PE != 0)
        && (value & CR0_NW == 0 || value & CR0_CD != 0)
}

/// The MSR behind a register of the interface.
const fn msr_of(register: u32) -> Option<u32> {
    Some(match register {
        name::EFER => index::EFER,
        name::KERNEL_GS_BASE => index::KERNEL_GS_BASE,
        name::PAT => index::PAT,
        name::SYSENTER_CS => index::SYSENTER_CS,
        name::SYSENTER_EIP => index::SYSENTER_EIP,
        name::SYSENTER_ESP => index::SYSENTER_ESP,
        name::STAR => index::STAR,
        name::LSTAR => index::LSTAR,
        name::CSTAR => index::CSTAR,
        name::SFMASK => index::SFMASK,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::svm::Features;
    use crate::svm::vmcb::tests::block;

    #[test]
    fn a_64_bit_state_can_be_set_in_any_order() {
        let mut block = block(Features::default());
        let code = 0xa09b_0008_ffff_ffff_0000_0000_0000_0000;
        let steps = [
            (name::EFER, 0xd00),
            (name::CR0, 0x8000_0011),
            (name::CR4, 0x20),
            (name::CR3, 0x1000),
            (name::CS, code),
            (name::RIP, 0x10_0000),
            (name::RFLAGS, 0),
        ];
        for (register, value) in steps {
            assert_eq!(block.set_register(register, value), Ok(()), "{register:#x}");
        }
        assert_eq!(block.register(name::EFER), Some(0xd00));
        assert_eq!(block.register(name::CS), Some(code));
        assert_eq!(block.register(name::RFLAGS), Some(2));
        assert!(block.in_64_bit_code());
    }

    #[test]
    fn cpu_16_states_that_no_processor_has_are_refused() {
        let mut block = block(Features::default());
        let refused = [
            (name::CR0, 0x8000_0000),
            (name::CR0, 1 << 29),
            (name::CR0, 1 << 32),
            (name::CR3, 1 << 52),
            (name::CR4, 1 << 13),
            (name::CR8, 16),
            (name::EFER, 1 << 12),
            (name::RFLAGS, 1 << 22),
            (name::DR7, 1 << 32),
            (name::FS, 1 << 47),
            (name::GDTR, 1 << (64 + 47)),
            (name::LSTAR, 1 << 47),
            (name::PAT, 2),
            (name::RIP, 1 << 64),
        ];
        for (register, value) in refused {
            assert_eq!(
                block.set_register(register, value),
                Err(false),
                "{register:#x}"
            );
        }
        assert_eq!(block.set_register(0x1234, 0), Err(true));
        assert_eq!(block.register(0x1234), None);
    }

    #[test]
    fn the_privilege_level_is_that_of_the_stack() {
        let mut block = block(Features::default());
        assert_eq!(
            block.set_register(name::SS, 0xc0f3_001b_ffff_ffff_0000_0000_0000_0000),
            Ok(())
        );
        assert_eq!(block.save.cpl, 3);
    }

    proptest! {
        #[test]
        fn what_is_accepted_reads_back_and_what_is_not_changes_nothing(
            register in prop_oneof![0x20000u32..0x20012, 0x40000u32..0x40006, 0x50004u32..0x50006, 0x60000u32..0x60008,
                0x70000u32..0x70002, 0x80001u32..0x8000c],
            value in any::<u128>(), shift in 0u32..128,
        ) {
            use zerocopy::IntoBytes;
            let mut block = block(Features::default());
            let before = block;
            match block.set_register(register, value >> shift) {
                Ok(()) => prop_assert!(block.register(register).is_some()),
                Err(_) => prop_assert!(before.as_bytes() == block.as_bytes()),
            }
            prop_assert_ne!(block.save.efer & EFER_SVME, 0);
        }
    }
}
