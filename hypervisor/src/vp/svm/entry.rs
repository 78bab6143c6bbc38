//! Into the guest and out again.

use core::arch::{asm, naked_asm};

/// General-purpose registers, numbered as instructions encode them. RAX and RSP stand in the control block instead.
pub type Registers = [u64; 16];

/// Runs the guest of the control block at SPA `block` until it exits. `host`: SPA of this LP's VMSAVE area.
///
/// GIF is clear from before the guest's FS, GS, TR and LDTR are loaded until the host's are back, so that no NMI can come
/// where the host's GS or interrupt stacks are not. IF is set meanwhile: with V_INTR_MASKING the host's IF says whether a
/// host interrupt leaves the guest. VMRUN itself keeps CR0-4, EFER, RFLAGS, RSP, RAX, GDTR, IDTR and the segments.
///
/// # Safety
/// `block` is a control block built by the hypervisor, `registers` valid for reads and writes, `host` the area of the LP
/// that calls, SVM on, IF clear.
#[unsafe(naked)]
pub unsafe extern "sysv64" fn run(block: u64, registers: *mut Registers, host: u64) {
    naked_asm!(
        "push rbx; push rbp; push r12; push r13; push r14; push r15",
        "push rsi; push rdx",
        "mov rax, rdi",
        "clgi",
        "sti",
        "vmload rax",
        "mov rcx, [rsi + 8]; mov rdx, [rsi + 16]",
        "mov rbx, [rsi + 24]; mov rbp, [rsi + 40]; mov rdi, [rsi + 56]",
        "mov r8, [rsi + 64]; mov r9, [rsi + 72]; mov r10, [rsi + 80]; mov r11, [rsi + 88]",
        "mov r12, [rsi + 96]; mov r13, [rsi + 104]; mov r14, [rsi + 112]; mov r15, [rsi + 120]",
        "mov rsi, [rsi + 48]",
        "vmrun rax",
        "vmsave rax",
        "mov rax, [rsp]",
        "vmload rax",
        "mov rax, [rsp + 8]",
        "mov [rax + 8], rcx; mov [rax + 16], rdx",
        "mov [rax + 24], rbx; mov [rax + 40], rbp",
        "mov [rax + 48], rsi; mov [rax + 56], rdi",
        "mov [rax + 64], r8; mov [rax + 72], r9; mov [rax + 80], r10; mov [rax + 88], r11",
        "mov [rax + 96], r12; mov [rax + 104], r13; mov [rax + 112], r14; mov [rax + 120], r15",
        "cli",
        "stgi",
        // What is not restored below must not carry the guest's values into the hypervisor (CPU-23).
        "xor ecx, ecx; xor edx, edx; xor esi, esi; xor edi, edi",
        "xor r8d, r8d; xor r9d, r9d; xor r10d, r10d; xor r11d, r11d",
        "add rsp, 16",
        "pop r15; pop r14; pop r13; pop r12; pop rbp; pop rbx",
        "ret",
    )
}

/// One short window in which this LP's IDT takes the interrupt that left the guest.
#[inline]
pub fn take_interrupt() {
    // SAFETY: the hypervisor's handlers preserve all registers; interrupts are off again afterwards, as everywhere.
    unsafe { asm!("sti", "nop", "cli") };
}

/// Writes FS, GS, TR, LDTR and the system-call MSRs of the host to this LP's area.
///
/// # Safety
/// `host` is the SPA of a frame that only this is for; SVM is on.
pub unsafe fn save_host(host: u64) {
    // SAFETY: by the caller.
    unsafe { asm!("vmsave rax", in("rax") host, options(nostack, preserves_flags)) };
}
