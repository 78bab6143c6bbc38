//! AMD64 APM volume 2, section 15.5.1, "canonicalization and consistency checks": which of VMRUN's checks a register set
//! violates; and states besides that no processor reaches by itself, whose effect the manual leaves open.

use bitflags::bitflags;

use super::Vmcb;
use super::registers::{CR0_CD, CR0_KNOWN, CR0_NW, CR0_PE, CR0_PG, EFER_KNOWN, EFER_LME};
use super::segment::{DEFAULT_BIG, LONG};
use crate::msr::is_valid_pat;

/// What the processor allows.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Limits {
    /// Bits that may be set in CR4.
    pub cr4_allowed: u64,
    /// Width of physical addresses in bits, 32 to 52.
    pub physical_bits: u8,
}

bitflags! {
    /// Checks that a register set violates.
    #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
    pub struct Violations: u32 {
        /// CR0.
        const CR0 = 1 << 0;
        /// CR3.
        const CR3 = 1 << 1;
        /// CR4, also against EFER and CR0.
        const CR4 = 1 << 2;
        /// DR6 or DR7.
        const DEBUG = 1 << 3;
        /// EFER.
        const EFER = 1 << 4;
        /// Page attributes.
        const PAT = 1 << 5;
        /// CS in long mode.
        const CS = 1 << 6;
        /// The privilege level, against CR0 and RFLAGS.
        const LEVEL = 1 << 7;
        /// RFLAGS.
        const RFLAGS = 1 << 8;
    }
}

const CR4_PAE: u64 = 1 << 5;
const CR4_PCIDE: u64 = 1 << 17;
const RFLAGS_VM: u64 = 1 << 17;

impl Limits {
    /// What the processor says. `cpuid` answers (leaf, sub-leaf).
    #[must_use]
    pub fn detect(cpuid: impl Fn(u32, u32) -> [u32; 4]) -> Self {
        let [_, _, c1, d1] = cpuid(1, 0);
        let [_, b7, c7, _] = if cpuid(0, 0)[0] >= 7 {
            cpuid(7, 0)
        } else {
            [0; 4]
        };
        // Bit of CR4, where the feature is told, its bit there. PCE has no bit of its own.
        let features = [
            (0, d1, 1),
            (1, d1, 1),
            (2, d1, 4),
            (3, d1, 2),
            (4, d1, 3),
            (5, d1, 6),
            (6, d1, 7),
            (7, d1, 13),
            (9, d1, 24),
            (10, d1, 25),
            (11, c7, 2),
            (16, b7, 0),
            (17, c1, 17),
            (18, c1, 26),
            (20, b7, 7),
            (21, b7, 20),
        ];
        let has = |(_, word, bit): &&(u32, u32, u32)| word >> bit & 1 != 0;
        let bits = features.iter().filter(has);
        Self {
            cr4_allowed: bits.fold(1 << 8, |all, (bit, ..)| all | 1 << bit),
            physical_bits: cpuid(0x8000_0008, 0)[0] as u8,
        }
    }
}

impl Vmcb {
    /// The checks that the registers violate; none where VMRUN would take them.
    #[must_use]
    pub fn violations(&self, limits: &Limits) -> Violations {
        let s = &self.save;
        let paging = s.cr0 & CR0_PG != 0;
        let long = paging && s.efer & EFER_LME != 0;
        let mut found = Violations::empty();
        let mut check = |violation, holds: bool| {
            if !holds {
                found |= violation;
            }
        };
        let write_through = s.cr0 & CR0_NW == 0 || s.cr0 & CR0_CD != 0;
        let protected = s.cr0 & CR0_PE != 0;
        check(
            Violations::CR0,
            s.cr0 & !CR0_KNOWN == 0 && write_through && (protected || !paging),
        );
        check(Violations::CR3, s.cr3 >> limits.physical_bits == 0);
        let mode = if long { CR4_PAE } else { CR4_PCIDE };
        check(
            Violations::CR4,
            s.cr4 & !limits.cr4_allowed == 0 && (s.cr4 & mode != 0) == long,
        );
        check(Violations::DEBUG, s.dr6 >> 32 == 0 && s.dr7 >> 32 == 0);
        check(Violations::EFER, s.efer & !EFER_KNOWN == 0);
        check(Violations::PAT, is_valid_pat(s.pat));
        let both = LONG | DEFAULT_BIG;
        check(Violations::CS, !long || s.cs.attributes & both != both);
        let virtual_8086 = s.rflags & RFLAGS_VM != 0;
        check(Violations::RFLAGS, !virtual_8086 || protected && !long);
        let level = match (protected, virtual_8086) {
            (false, _) => s.cpl == 0,
            (true, true) => s.cpl == 3,
            (true, false) => true,
        };
        check(Violations::LEVEL, level);
        found
    }
}

#[cfg(test)]
mod tests {
    use abi::register as name;
    use proptest::prelude::*;

    use super::*;
    use crate::svm::Features;
    use crate::svm::vmcb::tests::block;

    const LIMITS: Limits = Limits {
        cr4_allowed: 0x0037_07ff,
        physical_bits: 40,
    };

    fn long_mode() -> Vmcb {
        let mut block = block(Features::default());
        let code = 0xa09b_0008_ffff_ffff_0000_0000_0000_0000;
        let steps = [
            (name::EFER, 0xd00),
            (name::CR0, 0x8000_0011),
            (name::CR4, 0x20),
            (name::CR3, 0x1000),
            (name::CS, code),
        ];
        for (register, value) in steps {
            assert_eq!(block.set_register(register, value), Ok(()));
        }
        block
    }

    #[test]
    fn reset_states_and_64_bit_states_enter() {
        let real = block(Features::default());
        assert_eq!(real.violations(&LIMITS), Violations::empty());
        assert_eq!(long_mode().violations(&LIMITS), Violations::empty());
    }

    /// Each change of a good state, and the check that it violates.
    #[test]
    fn cpu_16_each_check_is_found() {
        type Change = fn(&mut Vmcb);
        let changes: [(Violations, Change); 13] = [
            (Violations::CR0, |b| b.save.cr0 |= 1 << 29),
            (Violations::CR0, |b| b.save.cr0 |= 1 << 32),
            (Violations::CR0, |b| b.save.cr0 &= !1),
            (Violations::CR3, |b| b.save.cr3 = 1 << 40),
            (Violations::CR4, |b| b.save.cr4 = 0),
            (Violations::CR4, |b| b.save.cr4 |= 1 << 11),
            (Violations::DEBUG, |b| b.save.dr6 = 1 << 32),
            (Violations::DEBUG, |b| b.save.dr7 = 1 << 63),
            (Violations::EFER, |b| b.save.efer |= 1 << 16),
            (Violations::PAT, |b| b.save.pat = 2),
            (Violations::CS, |b| b.save.cs.attributes |= DEFAULT_BIG),
            (Violations::RFLAGS, |b| b.save.rflags |= RFLAGS_VM),
            (Violations::LEVEL, |b| (b.save.cr0, b.save.cpl) = (0x10, 3)),
        ];
        for (number, (violation, change)) in changes.into_iter().enumerate() {
            let mut block = long_mode();
            change(&mut block);
            let found = block.violations(&LIMITS);
            assert!(found.contains(violation), "change {number}: {found:?}");
        }
        let mut legacy = block(Features::default());
        legacy.save.cr4 = CR4_PCIDE;
        assert_eq!(legacy.violations(&LIMITS), Violations::CR4);
    }

    #[test]
    fn the_processor_says_what_cr4_may_hold() {
        let limits = Limits::detect(|leaf, _| match leaf {
            0 => [7, 0, 0, 0],
            1 => [0, 0, 1 << 26, 1 << 6 | 1 << 13],
            7 => [0, 1 << 7, 1 << 2, 0],
            0x8000_0008 => [48 << 8 | 40, 0, 0, 0],
            _ => [0; 4],
        });
        assert_eq!(
            limits.cr4_allowed,
            1 << 5 | 1 << 7 | 1 << 8 | 1 << 11 | 1 << 18 | 1 << 20
        );
        assert_eq!(limits.physical_bits, 40);
    }

    /// The manual's list, sentence by sentence, from the block's bytes.
    fn refused_by_the_manual(block: &Vmcb) -> bool {
        let s = &block.save;
        let bit = |value: u64, bit: u32| value >> bit & 1 == 1;
        let (lme, pg, pe) = (bit(s.efer, 8), bit(s.cr0, 31), bit(s.cr0, 0));
        let pae = bit(s.cr4, 5);
        let cs = s.cs.attributes;
        !bit(s.efer, 12)
            || !bit(s.cr0, 30) && bit(s.cr0, 29)
            || s.cr0 > 0xffff_ffff
            || s.cr3 >= 1 << 40
            || s.cr4 & 0xffff_ffff_ffc8_f800 != 0
            || s.dr6 > 0xffff_ffff
            || s.dr7 > 0xffff_ffff
            || s.efer & !0x1d01 != 0
            || lme && pg && !pae
            || lme && pg && !pe
            || lme && pg && pae && bit(cs.into(), 9) && bit(cs.into(), 10)
    }

    proptest! {
        /// What the interface takes and the checks let pass is nothing that the manual's list refuses.
        #[test]
        fn cpu_16_what_passes_keeps_the_rules(
            writes in proptest::collection::vec((
                prop_oneof![0x20010u32..0x20012, 0x40000u32..0x40004, 0x50004u32..0x50006, 0x60000u32..0x60008,
                    0x70000u32..0x70002, 0x80001u32..0x8000c], any::<u128>(), 0u32..128), 0..6),
            long in any::<bool>(),
        ) {
            let mut block = if long { long_mode() } else { block(Features::default()) };
            for (register, value, shift) in writes {
                let _ = block.set_register(register, value >> shift);
            }
            if block.violations(&LIMITS).is_empty() {
                prop_assert!(!refused_by_the_manual(&block));
            }
        }
    }
}
