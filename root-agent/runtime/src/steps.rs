//! Debug exceptions beside the one-instruction shadows of STI and MOV SS, and instructions that leave the guest in them:
//! states that a hypervisor must hand back to the processor as they were. Each needs a handler for #DB.

use core::arch::asm;

use crate::{control, descriptor};

macro_rules! stepped {
    ($($(#[$doc:meta])* $name:ident = $($line:literal),+;)*) => {$(
        $(#[$doc])*
        pub fn $name() {
            // SAFETY: the trap flag is set for these instructions alone; the segment is the one that is loaded already,
            // and what they read changes nothing.
            unsafe {
                asm!("mov r8, rbx", "cli", "pushfq", "or qword ptr [rsp], 0x100", "popfq", $($line,)+
                    "pushfq", "and qword ptr [rsp], ~0x100", "popfq", "mov rbx, r8",
                    in("r9") u64::from(descriptor::DATA), inout("rcx") 0x1b_u64 => _, inout("rax") 0_u64 => _,
                    out("rdx") _, out("r8") _);
            }
        }
    )*};
}

stepped! {
    /// Nothing special.
    plain = "nop", "nop";
    /// An instruction that leaves the guest.
    leaving = "cpuid", "nop";
    /// MOV SS, and an ordinary instruction in its shadow.
    stack_segment = "mov ss, r9d", "nop", "nop";
    /// MOV SS, and one that leaves in its shadow.
    stack_segment_leaving = "mov ss, r9d", "cpuid", "nop";
    /// STI, and an ordinary instruction in its shadow.
    interrupts_on = "sti", "nop", "cli";
    /// STI, and one that leaves in its shadow.
    interrupts_on_leaving = "sti", "rdmsr", "cli";
    /// MOV SS, and a debug exception by INT1 in its shadow.
    stack_segment_trap = "mov ss, r9d", ".byte 0xf1", "nop";
    /// STI, and a debug exception by INT1 in its shadow.
    interrupts_on_trap = "sti", ".byte 0xf1", "cli";
}

/// DR7: breakpoint 0 on reads and writes of eight bytes.
const WATCH: u64 = 0x000b_0602;
/// DR7: breakpoint 0 on writes of eight bytes.
const WATCH_WRITES: u64 = 0x0009_0602;
/// DR7 with nothing enabled.
const OFF: u64 = 0x400;

/// MOV SS from memory with a breakpoint on it, and an instruction that leaves while the exception waits.
pub fn watched_stack_segment() {
    let selector = u64::from(descriptor::DATA);
    control::set_breakpoint(&raw const selector as u64, WATCH);
    // SAFETY: the segment is the one that is loaded already.
    unsafe {
        asm!("mov r8, rbx", "mov ss, [{}]", "cpuid", "nop", "mov rbx, r8", in(reg) &raw const selector,
            inout("eax") 0 => _, out("rcx") _, out("rdx") _, out("r8") _);
    }
    control::set_breakpoint(0, OFF);
}

/// A write to memory with a breakpoint on it.
pub fn watched_write() {
    let mut word = 0_u64;
    control::set_breakpoint(&raw const word as u64, WATCH_WRITES);
    // SAFETY: writes a local.
    unsafe { asm!("mov qword ptr [{}], 1", "nop", in(reg) &raw mut word) };
    control::set_breakpoint(0, OFF);
}
