//! Model-specific registers. An access that the processor refuses ends the program; [`crate::fault`] has the forms
//! that report it.

use core::arch::asm;

/// Base and mode of the local APIC.
pub const APIC_BASE: u32 = 0x1b;
/// Page attribute table.
pub const PAT: u32 = 0x277;
/// Extended feature enables.
pub const EFER: u32 = 0xc000_0080;

/// Reads an MSR.
#[must_use]
pub fn read(msr: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reading an MSR changes no memory of this program; one that does not exist raises #GP, which ends it.
    unsafe {
        asm!("rdmsr", in("ecx") msr, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags))
    };
    u64::from(high) << 32 | u64::from(low)
}

/// Writes an MSR. Local APIC and synthetic MSRs only: others may change how the processor runs this program.
pub fn write(msr: u32, value: u64) {
    assert!(is_harmless(msr), "msr::write({msr:#x})");
    // SAFETY: the check above leaves only MSRs of the local APIC and of the hypervisor.
    unsafe { write_any(msr, value) };
}

/// Writes any MSR.
///
/// # Safety
/// The value must leave the processor in a state in which this program goes on as compiled.
pub(crate) unsafe fn write_any(msr: u32, value: u64) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!("wrmsr", in("ecx") msr, in("eax") value as u32, in("edx") (value >> 32) as u32, options(nostack, preserves_flags));
    }
}

const fn is_harmless(msr: u32) -> bool {
    matches!(msr, APIC_BASE | 0x800..=0x8ff | 0x4000_0000..=0x4000_0fff)
}
