//! Model-specific registers.

use x86_64::registers::model_specific::Msr;

/// Reads a register that exists.
pub fn read(register: u32) -> u64 {
    // SAFETY: callers name registers that the architecture or CPUID promises; reading those has no side effect.
    unsafe { Msr::new(register).read() }
}

/// Writes a register that exists, with a value that it takes.
///
/// # Safety
/// The value must not break an assumption of the rest of the hypervisor: paging, stacks, interrupt handling.
pub unsafe fn write(register: u32, value: u64) {
    // SAFETY: the caller's.
    unsafe { Msr::new(register).write(value) }
}
