//! Into the guest and out again.

use core::arch::{asm, naked_asm};

use guest::vmx::Field;

/// General-purpose registers, numbered as instructions encode them. RSP stands in the control structure instead.
pub type Registers = [u64; 16];

/// Runs the guest of the current control structure until it exits. `launched`: it has run since it was last cleared.
/// Returns 0, or 1 where the instruction itself was refused.
///
/// The processor's exit restores everything of the host's that it does not load here: no NMI can come where the host's GS or
/// interrupt stacks are not.
///
/// # Safety
/// The current structure is one that the hypervisor built, with [`left`] as the host's instruction pointer; `registers` valid
/// for reads and writes; IF clear.
#[unsafe(naked)]
pub unsafe extern "sysv64" fn run(registers: *mut Registers, launched: bool) -> u64 {
    naked_asm!(
        "push rbx; push rbp; push r12; push r13; push r14; push r15",
        "push rdi",
        "mov eax, {host_rsp}",
        "vmwrite rax, rsp",
        "test sil, sil",
        "mov rax, [rdi]; mov rcx, [rdi + 8]; mov rdx, [rdi + 16]",
        "mov rbx, [rdi + 24]; mov rbp, [rdi + 40]; mov rsi, [rdi + 48]",
        "mov r8, [rdi + 64]; mov r9, [rdi + 72]; mov r10, [rdi + 80]; mov r11, [rdi + 88]",
        "mov r12, [rdi + 96]; mov r13, [rdi + 104]; mov r14, [rdi + 112]; mov r15, [rdi + 120]",
        "mov rdi, [rdi + 56]",
        "jnz 2f",
        "vmlaunch",
        "jmp 3f",
        "2: vmresume",
        // Refused: the guest's registers are still those in memory.
        "3: mov eax, 1",
        "xor ecx, ecx; xor edx, edx; xor esi, esi; xor edi, edi",
        "xor r8d, r8d; xor r9d, r9d; xor r10d, r10d; xor r11d, r11d",
        "add rsp, 8",
        "pop r15; pop r14; pop r13; pop r12; pop rbp; pop rbx",
        "ret",
        host_rsp = const Field::HOST_RSP.0,
    )
}

/// Where the processor goes on after an exit, on the stack that [`run`] left.
#[unsafe(naked)]
pub unsafe extern "sysv64" fn left() -> ! {
    naked_asm!(
        "push rdi",
        "mov rdi, [rsp + 8]",
        "mov [rdi], rax; mov [rdi + 8], rcx; mov [rdi + 16], rdx",
        "mov [rdi + 24], rbx; mov [rdi + 40], rbp; mov [rdi + 48], rsi",
        "mov [rdi + 64], r8; mov [rdi + 72], r9; mov [rdi + 80], r10; mov [rdi + 88], r11",
        "mov [rdi + 96], r12; mov [rdi + 104], r13; mov [rdi + 112], r14; mov [rdi + 120], r15",
        "pop rax",
        "mov [rdi + 56], rax",
        "xor eax, eax",
        // What is not restored below must not carry the guest's values into the hypervisor (CPU-23).
        "xor ecx, ecx; xor edx, edx; xor esi, esi; xor edi, edi",
        "xor r8d, r8d; xor r9d, r9d; xor r10d, r10d; xor r11d, r11d",
        "add rsp, 8",
        "pop r15; pop r14; pop r13; pop r12; pop rbp; pop rbx",
        "ret",
    )
}

/// Has this LP's IDT take the NMI that left the guest; its IRET lets the next one come.
pub fn take_nmi() {
    // SAFETY: the hypervisor's handler preserves all registers and runs on a stack of its own.
    unsafe { asm!("int 2") };
}
