//! Time stamps around single instructions, with nothing else between them.

use core::arch::asm;

use crate::cpu;

/// Evaluates to the TSC ticks of the instructions; the operands after `;` are theirs. RBX keeps the first stamp, so
/// the instructions must leave it alone or save it in a register of their own.
macro_rules! ticks {
    ($($line:literal),+; $($operand:tt)*) => {{
        let (first, low, high): (u64, u64, u64);
        // SAFETY: the instructions read state or tell the hypervisor something; they change no memory.
        unsafe {
            asm!(
                "lfence", "rdtsc", "shl rdx, 32", "or rax, rdx", "mov r9, rax",
                $($line,)+
                "lfence", "rdtsc",
                out("r9") first, out("rax") low, out("rdx") high,
                $($operand)*, options(nostack)
            );
        }
        (high << 32 | low).wrapping_sub(first)
    }};
}

/// Nothing at all: what the two time stamps cost.
#[must_use]
pub fn nothing() -> u64 {
    ticks!("nop"; out("rcx") _)
}

/// CPUID leaf 0.
#[must_use]
pub fn cpuid() -> u64 {
    ticks!("mov r8, rbx", "xor eax, eax", "xor ecx, ecx", "cpuid", "mov rbx, r8";
        out("rcx") _, out("r8") _)
}

/// RDMSR.
#[must_use]
pub fn read_msr(msr: u32) -> u64 {
    ticks!("rdmsr"; inout("ecx") msr => _)
}

/// The end of the interrupt in service.
#[must_use]
pub fn eoi() -> u64 {
    ticks!("xor eax, eax", "xor edx, edx", "wrmsr"; inout("ecx") 0x80b => _)
}

/// A hypercall with a code that does not exist; 0 where there is no hypervisor.
#[must_use]
pub fn unknown_hypercall() -> u64 {
    if !cpu::has_hypercalls() {
        return 0;
    }
    if cpu::is_amd() {
        ticks!("xor edx, edx", "vmmcall"; inout("rcx") 0x3f_u64 => _, inout("r8") 0_u64 => _,
            out("r10") _, out("r11") _)
    } else {
        ticks!("xor edx, edx", "vmcall"; inout("rcx") 0x3f_u64 => _, inout("r8") 0_u64 => _,
            out("r10") _, out("r11") _)
    }
}

/// A byte read from a port.
#[must_use]
pub fn read_port(port: u16) -> u64 {
    ticks!("mov edx, ecx", "in al, dx"; inout("ecx") u32::from(port) => _)
}
