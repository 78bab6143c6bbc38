//! Model-specific registers.

use core::arch::global_asm;

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

global_asm!(
    // bool checked_read(u32 register, u64 *value). A fault at the marked instruction goes on at the other mark.
    ".globl checked_read",
    "checked_read:",
    "    mov ecx, edi",
    ".globl checked_read_may_fault",
    "checked_read_may_fault:",
    "    rdmsr",
    "    shl rdx, 32",
    "    or rax, rdx",
    "    mov [rsi], rax",
    "    mov eax, 1",
    "    ret",
    ".globl checked_read_faulted",
    "checked_read_faulted:",
    "    xor eax, eax",
    "    ret",
);

unsafe extern "C" {
    fn checked_read(register: u32, value: *mut u64) -> bool;
    static checked_read_may_fault: u8;
    static checked_read_faulted: u8;
}

/// Reads a register that may not exist.
pub fn try_read(register: u32) -> Option<u64> {
    let mut value = 0;
    // SAFETY: writes one word to `value`; the fault that a missing register raises is caught by `recover`.
    unsafe { checked_read(register, &raw mut value) }.then_some(value)
}

/// Where to go on after a general protection fault at `instruction`; `None`: it was not expected.
pub fn recover(instruction: u64) -> Option<u64> {
    (instruction == &raw const checked_read_may_fault as u64)
        .then_some(&raw const checked_read_faulted as u64)
}
