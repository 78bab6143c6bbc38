//! Intel SDM volume 3, section "guest/host masks and read shadows for CR0 and CR4": which bits the hypervisor keeps.

use super::exit_info::{ControlRegisterInfo, MOV_TO};

/// CR0.PE.
pub const CR0_PE: u64 = 1 << 0;
/// CR0.NE: VMX wants it set, whatever the guest says.
pub const CR0_NE: u64 = 1 << 5;
/// CR0.NW and CR0.CD: entries and exits do not switch them, so a guest's would stay with the hypervisor.
pub const CR0_CACHE: u64 = 3 << 29;
/// CR0.PG.
pub const CR0_PG: u64 = 1 << 31;
/// Bits of CR0 that exist.
pub const CR0_KNOWN: u64 = 0xe005_003f;
/// CR4.MCE: set, whatever the guest says. Without, a machine check would shut the processor down, and the machine with it.
pub const CR4_MCE: u64 = 1 << 6;
/// CR4.PAE.
pub const CR4_PAE: u64 = 1 << 5;
/// CR4.VMXE: VMX wants it set; no guest sees it.
pub const CR4_VMXE: u64 = 1 << 13;
/// CR4.PCIDE.
pub const CR4_PCIDE: u64 = 1 << 17;
/// VME to UMIP, FSGSBASE, PCIDE, OSXSAVE, SMEP, SMAP; LA57, PKE and CET are hidden.
pub const CR4_KNOWN: u64 = 0x0037_0fff;

/// Bits of CR0 that the guest does not write itself.
pub const CR0_MASK: u64 = CR0_NE | CR0_CACHE | !CR0_KNOWN;
/// Bits of CR4 that the guest does not write itself.
pub const CR4_MASK: u64 = CR4_MCE | !CR4_KNOWN;

/// What CR0 really is where the guest wants `value`.
#[must_use]
pub const fn real_cr0(value: u64) -> u64 {
    value & !CR0_CACHE | CR0_NE
}

/// What CR4 really is where the guest wants `value`.
#[must_use]
pub const fn real_cr4(value: u64) -> u64 {
    value | CR4_VMXE | CR4_MCE
}

/// What the guest sees of a register.
#[must_use]
pub const fn seen(real: u64, shadow: u64, mask: u64) -> u64 {
    real & !mask | shadow & mask
}

/// Whether a guest may have this in CR0.
#[must_use]
pub const fn is_valid_cr0(value: u64) -> bool {
    const NW: u64 = 1 << 29;
    const CD: u64 = 1 << 30;
    value & !CR0_KNOWN == 0
        && (value & CR0_PG == 0 || value & CR0_PE != 0)
        && (value & NW == 0 || value & CD != 0)
}

/// What to do about a guest's access to a control register.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Write this to the register's shadow, and let the guest run the instruction again: what it changes besides is its own.
    Again(Shadow, u64),
    /// #GP(0).
    Fault,
    /// No such access leaves the guest.
    Unknown,
}

/// Which shadow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Shadow {
    /// CR0's.
    Cr0,
    /// CR4's.
    Cr4,
}

/// Decides about an access that left the guest, which wants to write `value`; the shadows are CR0's and CR4's.
#[must_use]
pub const fn access(info: ControlRegisterInfo, value: u64, cr0: u64, cr4: u64) -> Outcome {
    match (info.register(), info.kind()) {
        (0, MOV_TO) if is_valid_cr0(value) => {
            Outcome::Again(Shadow::Cr0, cr0 & !CR0_MASK | value & CR0_MASK)
        }
        // What the processor finds wrong besides it says when the instruction runs again; by then MCE has changed, and nothing else.
        (4, MOV_TO) if value & !CR4_KNOWN == 0 => {
            Outcome::Again(Shadow::Cr4, cr4 & !CR4_MASK | value & CR4_MASK)
        }
        (0 | 4, MOV_TO) => Outcome::Fault,
        _ => Outcome::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mov_to(register: u8, value: u64) -> Outcome {
        let info = ControlRegisterInfo::new().with_register(register);
        access(info, value, 0, 0)
    }

    #[test]
    fn cpu_02_the_cache_bits_and_ne_are_the_guests_in_its_shadow_alone() {
        assert_eq!(real_cr0(0x6000_0010), 0x30);
        assert_eq!(seen(0x30, 0x6000_0000, CR0_MASK), 0x6000_0010);
        assert_eq!(
            mov_to(0, 0xc000_0011),
            Outcome::Again(Shadow::Cr0, 0x4000_0000)
        );
        assert_eq!(mov_to(0, 0x31), Outcome::Again(Shadow::Cr0, 0x20));
    }

    #[test]
    fn cpu_22_machine_checks_stay_on_whatever_the_guest_says() {
        assert_eq!(real_cr4(0x20), 0x2060);
        assert_eq!(seen(0x2060, 0x20, CR4_MASK), 0x20);
        assert_eq!(mov_to(4, 0x60), Outcome::Again(Shadow::Cr4, 0x40));
        assert_eq!(mov_to(4, 0x20), Outcome::Again(Shadow::Cr4, 0));
    }

    #[test]
    fn cpu_02_values_that_no_processor_takes_fault() {
        assert_eq!(mov_to(0, 0x2000_0001), Outcome::Fault, "NW without CD");
        assert_eq!(mov_to(0, 0x8000_0020), Outcome::Fault, "PG without PE");
        assert_eq!(mov_to(0, 1 << 32), Outcome::Fault);
        assert_eq!(mov_to(4, 1 << 13), Outcome::Fault, "VMXE");
        assert_eq!(mov_to(4, 1 << 12), Outcome::Fault, "LA57");
        assert_eq!(mov_to(3, 0), Outcome::Unknown);
    }
}
