//! Registers that decide how the processor runs this program, for probes: each write may fault, and one that is taken is
//! undone by the very next instruction.

use core::arch::asm;

use crate::fault::{outcome, slot};
use crate::msr;

macro_rules! registers {
    ($($(#[$doc:meta])* $name:ident $read:ident = $register:literal;)*) => {$(
        $(#[$doc])*
        pub fn $name(value: u64) -> Result<(), u8> {
            // SAFETY: a fault goes on at label 2; a value that is taken is replaced by the old one at once, and no
            // memory is touched in between but this code.
            unsafe {
                asm!(concat!("mov {old}, ", $register), "lea {t}, [rip + 2f]", "mov [{s}], {t}",
                    concat!("mov ", $register, ", {new}"), concat!("mov ", $register, ", {old}"),
                    "2:", "mov qword ptr [{s}], 0",
                    old = out(reg) _, t = out(reg) _, s = in(reg) slot(), new = in(reg) value);
            }
            outcome()
        }

        /// The register's value.
        #[must_use]
        pub fn $read() -> u64 {
            let value;
            // SAFETY: reads a register.
            unsafe { asm!(concat!("mov {}, ", $register), out(reg) value, options(nomem, nostack)) };
            value
        }
    )*};
}

registers! {
    /// Writes CR0 for a moment.
    try_cr0 cr0 = "cr0";
    /// Writes CR3 for a moment.
    try_cr3 cr3 = "cr3";
    /// Writes CR4 for a moment.
    try_cr4 cr4 = "cr4";
    /// Writes CR8 for a moment.
    try_cr8 cr8 = "cr8";
    /// Writes DR6 for a moment.
    try_dr6 dr6 = "dr6";
    /// Writes DR7 for a moment.
    try_dr7 dr7 = "dr7";
}

/// Writes an MSR for a moment: interrupts off, the old value back by the next instruction. `Err`: the vector of the fault.
pub fn try_msr(index: u32, value: u64) -> Result<(), u8> {
    let old = crate::fault::read_msr(index)?;
    // SAFETY: as above; what cannot be read is not written.
    unsafe {
        asm!("lea {t}, [rip + 2f]", "mov [{s}], {t}", "wrmsr", "mov eax, {low:e}", "mov edx, {high:e}", "wrmsr",
            "2:", "mov qword ptr [{s}], 0",
            t = out(reg) _, s = in(reg) slot(), in("ecx") index, low = in(reg) old as u32,
            high = in(reg) (old >> 32) as u32, inout("eax") value as u32 => _, inout("edx") (value >> 32) as u32 => _);
    }
    outcome()
}

/// Writes XCR0 (with CR4.OSXSAVE set meanwhile); what was there is put back. `Err`: the vector of the fault.
pub fn try_xcr0(value: u64) -> Result<(), u8> {
    let allowed = allow_xsave();
    // SAFETY: as above; 1 is the value after a reset, and this program uses no extended state.
    unsafe {
        asm!("lea {t}, [rip + 2f]", "mov [{s}], {t}", "xsetbv", "mov eax, 1", "xor edx, edx", "xsetbv",
            "2:", "mov qword ptr [{s}], 0",
            t = out(reg) _, s = in(reg) slot(), in("ecx") 0, inout("eax") value as u32 => _,
            inout("edx") (value >> 32) as u32 => _);
    }
    let outcome = outcome();
    restore_cr4(allowed);
    outcome
}

const OSXSAVE: u64 = 1 << 18;
const OSFXSR: u64 = 1 << 9;

/// Sets CR4.OSXSAVE and CR4.OSFXSR; gives what CR4 was.
pub(crate) fn allow_xsave() -> u64 {
    let old = cr4();
    // SAFETY: only more instructions are allowed.
    unsafe { asm!("mov cr4, {}", in(reg) old | OSXSAVE | OSFXSR, options(nostack)) };
    old
}

pub(crate) fn restore_cr4(value: u64) {
    // SAFETY: a value that CR4 had.
    unsafe { asm!("mov cr4, {}", in(reg) value, options(nostack)) };
}

/// Sets CR0.AM, so that ring 3 can ask for alignment checks.
pub fn allow_alignment_checks() {
    // SAFETY: ring 0 is not checked.
    unsafe { asm!("mov cr0, {}", in(reg) cr0() | 1 << 18, options(nostack)) };
}

/// Sets DR0 and DR7: breakpoints on this program's own data.
pub fn set_breakpoint(address: u64, control: u64) {
    // SAFETY: what a breakpoint does is raise #DB, for which the caller has a handler; DR7.GD stays clear.
    unsafe {
        asm!("mov dr0, {}", "mov dr7, {}", in(reg) address, in(reg) control & !(1 << 13), options(nostack));
    }
}

/// Whether a value is one that EFER may not have, as this processor has it for a moment.
pub fn try_efer(value: u64) -> Result<(), u8> {
    try_msr(msr::EFER, value)
}

/// Sets CR8, the task's priority; false where it does not hold.
pub fn set_cr8(class: u64) -> bool {
    let class = class & 15;
    // SAFETY: decides only which interrupts wait.
    unsafe { asm!("mov cr8, {}", in(reg) class, options(nostack)) };
    cr8() == class
}
