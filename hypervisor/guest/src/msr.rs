//! Which model-specific registers a guest has, and who answers for them. What is not listed is #GP.

use crate::apic;

/// Who answers an access to an MSR.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MsrAction {
    /// The VP's own processor state: [`Vcpu::read_msr`](crate::Vcpu::read_msr) and
    /// [`Vcpu::write_msr`](crate::Vcpu::write_msr).
    Processor,
    /// A register of the local APIC, the TSC deadline included: [`apic::LocalApic::read`] and [`apic::LocalApic::write`].
    Apic,
    /// IA32_APIC_BASE: [`apic::LocalApic::base`] and [`apic::LocalApic::set_base`].
    ApicBase,
    /// One of the hypercall interface's MSRs (`abi::msr`).
    Synthetic,
    /// The time-stamp counter, as RDTSC reads it.
    TimeStamp,
    /// Reads as this value. For a write: it changes nothing.
    Fixed(u64),
    /// #GP(0).
    Fault,
}

/// Indices of MSRs that the policy or a dialect knows (Intel SDM volume 4; AMD64 APM volume 2, appendix A).
#[allow(missing_docs)]
pub mod index {
    pub const TSC: u32 = 0x10;
    pub const PLATFORM_ID: u32 = 0x17;
    pub const APIC_BASE: u32 = 0x1b;
    pub const FEATURE_CONTROL: u32 = 0x3a;
    pub const MICROCODE: u32 = 0x8b;
    pub const MTRR_CAPABILITY: u32 = 0xfe;
    pub const SYSENTER_CS: u32 = 0x174;
    pub const SYSENTER_ESP: u32 = 0x175;
    pub const SYSENTER_EIP: u32 = 0x176;
    pub const MCG_CAPABILITY: u32 = 0x179;
    pub const MCG_STATUS: u32 = 0x17a;
    pub const MISC_ENABLE: u32 = 0x1a0;
    pub const DEBUG_CONTROL: u32 = 0x1d9;
    pub const PAT: u32 = 0x277;
    pub const MTRR_DEFAULT_TYPE: u32 = 0x2ff;
    pub const TSC_DEADLINE: u32 = 0x6e0;
    pub const SYNTHETIC_FIRST: u32 = 0x4000_0000;
    pub const SYNTHETIC_LAST: u32 = 0x4000_01ff;
    pub const EFER: u32 = 0xc000_0080;
    pub const STAR: u32 = 0xc000_0081;
    pub const LSTAR: u32 = 0xc000_0082;
    pub const CSTAR: u32 = 0xc000_0083;
    pub const SFMASK: u32 = 0xc000_0084;
    pub const FS_BASE: u32 = 0xc000_0100;
    pub const GS_BASE: u32 = 0xc000_0101;
    pub const KERNEL_GS_BASE: u32 = 0xc000_0102;
    pub const TSC_AUX: u32 = 0xc000_0103;
    pub const PERFORMANCE_FIRST: u32 = 0xc001_0000;
    pub const PERFORMANCE_LAST: u32 = 0xc001_0007;
    pub const SYSCFG: u32 = 0xc001_0010;
    pub const HWCR: u32 = 0xc001_0015;
    pub const INTERRUPT_PENDING: u32 = 0xc001_0055;
    pub const MMIO_CONFIG_BASE: u32 = 0xc001_0058;
    pub const VM_CR: u32 = 0xc001_0114;
    pub const DE_CFG: u32 = 0xc001_1029;
}

/// Locked, with virtualisation off.
const FEATURE_CONTROL_LOCKED: u64 = 1;
/// Fast strings.
const MISC_ENABLE_VALUE: u64 = 1;
/// Write combining; no fixed and no variable ranges.
const MTRR_CAPABILITY_VALUE: u64 = 1 << 10;
/// Enabled, write-back.
const MTRR_DEFAULT_VALUE: u64 = 1 << 11 | 6;
/// The time-stamp counter runs at the nominal frequency.
const HWCR_VALUE: u64 = 1 << 24;
/// SVM disabled, and locked so.
const VM_CR_VALUE: u64 = 1 << 4 | 1 << 3;
/// LFENCE is serialising.
const DE_CFG_VALUE: u64 = 1 << 1;

/// Who answers a read.
#[must_use]
pub const fn read(msr: u32) -> MsrAction {
    match msr {
        apic::msr::FIRST..=apic::msr::LAST | index::TSC_DEADLINE => MsrAction::Apic,
        index::SYNTHETIC_FIRST..=index::SYNTHETIC_LAST => MsrAction::Synthetic,
        index::EFER..=index::SFMASK
        | index::FS_BASE..=index::TSC_AUX
        | index::SYSENTER_CS..=index::SYSENTER_EIP
        | index::PAT => MsrAction::Processor,
        index::TSC => MsrAction::TimeStamp,
        index::APIC_BASE => MsrAction::ApicBase,
        index::PLATFORM_ID
        | index::MICROCODE
        | index::MCG_CAPABILITY
        | index::MCG_STATUS
        | index::DEBUG_CONTROL
        | index::SYSCFG
        | index::INTERRUPT_PENDING
        | index::MMIO_CONFIG_BASE
        // Four counters and what they count, which no feature bit tells: guests switch them off without asking.
        | index::PERFORMANCE_FIRST..=index::PERFORMANCE_LAST => MsrAction::Fixed(0),
        index::FEATURE_CONTROL => MsrAction::Fixed(FEATURE_CONTROL_LOCKED),
        index::MISC_ENABLE => MsrAction::Fixed(MISC_ENABLE_VALUE),
        index::MTRR_CAPABILITY => MsrAction::Fixed(MTRR_CAPABILITY_VALUE),
        index::MTRR_DEFAULT_TYPE => MsrAction::Fixed(MTRR_DEFAULT_VALUE),
        index::HWCR => MsrAction::Fixed(HWCR_VALUE),
        index::VM_CR => MsrAction::Fixed(VM_CR_VALUE),
        index::DE_CFG => MsrAction::Fixed(DE_CFG_VALUE),
        _ => MsrAction::Fault,
    }
}

/// Who answers a write of `value`. Fixed registers take the value that they have; those that guests write at start take
/// any and keep theirs.
#[must_use]
pub const fn write(msr: u32, value: u64) -> MsrAction {
    match (msr, read(msr)) {
        (index::TSC, _) => MsrAction::Fault,
        (index::MICROCODE | index::HWCR | index::DE_CFG, action) => action,
        (index::MTRR_DEFAULT_TYPE, action) => {
            if value & !0xcff == 0 && is_memory_type(value as u8) {
                action
            } else {
                MsrAction::Fault
            }
        }
        (_, MsrAction::Fixed(fixed)) => {
            if value == fixed {
                MsrAction::Fixed(fixed)
            } else {
                MsrAction::Fault
            }
        }
        (_, action) => action,
    }
}

/// A memory type of an MTRR: UC, WC, WT, WP or WB.
const fn is_memory_type(value: u8) -> bool {
    matches!(value, 0 | 1 | 4 | 5 | 6)
}

/// Whether `value` is one for IA32_PAT: each byte a memory type, or 7 (UC-).
#[must_use]
pub const fn is_valid_pat(value: u64) -> bool {
    let bytes = value.to_le_bytes();
    let mut i = 0;
    while i < 8 {
        if !is_memory_type(bytes[i]) && bytes[i] != 7 {
            return false;
        }
        i += 1;
    }
    true
}

/// Whether an address is canonical with 48 bits.
#[must_use]
pub const fn is_canonical(address: u64) -> bool {
    (address as i64) << 16 >> 16 == address as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_01_what_is_not_listed_is_a_fault() {
        let ranges = [
            0..0x2000u32,
            0xc000_0000..0xc000_2000,
            0xc001_0000..0xc001_2000,
            0x4000_0200..0x4000_1200,
        ];
        let known = ranges
            .into_iter()
            .flatten()
            .filter(|&msr| read(msr) != MsrAction::Fault)
            .count();
        assert_eq!(known, 64 + 16 + 9 + 6 + 8);
        for msr in [
            0x48,
            0x49,
            0x10b,
            0x10a,
            0xc1,
            0x186,
            0x38f,
            0x606,
            0x611,
            0xc001_0117,
            0xc001_0030,
            0xda0,
        ] {
            assert_eq!(
                (read(msr), write(msr, 0)),
                (MsrAction::Fault, MsrAction::Fault),
                "{msr:#x}"
            );
        }
    }

    #[test]
    fn cpu_02_the_apic_range_ends_at_83f() {
        assert_eq!(
            (read(0x800), read(0x83f)),
            (MsrAction::Apic, MsrAction::Apic)
        );
        for msr in 0x840..0xc00 {
            assert_eq!(
                (read(msr), write(msr, 0)),
                (MsrAction::Fault, MsrAction::Fault),
                "{msr:#x}"
            );
        }
    }

    #[test]
    fn cpu_05_fixed_registers_take_no_other_value() {
        assert_eq!(write(index::DEBUG_CONTROL, 0), MsrAction::Fixed(0));
        assert_eq!(write(index::DEBUG_CONTROL, 1), MsrAction::Fault);
        assert_eq!(write(index::MISC_ENABLE, 1 << 18), MsrAction::Fault);
        assert_eq!(write(index::VM_CR, 0), MsrAction::Fault);
        assert_eq!(write(index::FEATURE_CONTROL, 5), MsrAction::Fault);
        assert_eq!(
            write(index::MTRR_DEFAULT_TYPE, 0xc06),
            MsrAction::Fixed(0x806)
        );
        assert_eq!(write(index::MTRR_DEFAULT_TYPE, 0x802), MsrAction::Fault);
        assert_eq!(write(index::TSC, 0), MsrAction::Fault);
        assert_eq!(write(0xc001_0003, 0), MsrAction::Fixed(0));
        assert_eq!(write(0xc001_0003, 1 << 22), MsrAction::Fault);
    }

    #[test]
    fn cpu_05_page_attributes_have_no_reserved_types() {
        assert!(is_valid_pat(0x0007_0406_0007_0406));
        assert!(!is_valid_pat(0x0007_0406_0002_0406));
        assert!(!is_valid_pat(0x0807_0406_0007_0406));
    }

    #[test]
    fn cpu_20_canonical_addresses_repeat_bit_47() {
        assert!(is_canonical(0x7fff_ffff_ffff) && is_canonical(0xffff_8000_0000_0000));
        assert!(!is_canonical(0x8000_0000_0000) && !is_canonical(0xffff_7fff_ffff_ffff));
    }
}
