//! The interrupt descriptor table, one for all LPs, and the stubs that its gates lead to (AMD APM volume 2, 8.9).

use core::arch::global_asm;

use spin::Once;
use x86_64::VirtAddr;
use x86_64::structures::idt::{Entry, InterruptDescriptorTable};

use super::gdt;
use super::interrupt::handle;

global_asm!(
    // 256 stubs of 16 bytes. Each leaves the vector above an error code, the processor's or zero.
    ".pushsection .text.interrupt_stubs, \"ax\"",
    ".balign 16",
    "interrupt_stubs:",
    ".set vector, 0",
    ".rept 256",
    "    .balign 16",
    "    .if (vector == 8) || (vector >= 10 && vector <= 14) || (vector == 17) || (vector == 21) || (vector == 29) || (vector == 30)",
    "    .else",
    "    push 0",
    "    .endif",
    "    push vector",
    "    jmp interrupt_common",
    "    .set vector, vector + 1",
    ".endr",
    "interrupt_common:",
    "    cld",
    "    push rax",
    "    push rcx",
    "    push rdx",
    "    push rbx",
    "    push rbp",
    "    push rsi",
    "    push rdi",
    "    push r8",
    "    push r9",
    "    push r10",
    "    push r11",
    "    push r12",
    "    push r13",
    "    push r14",
    "    push r15",
    "    mov rdi, rsp",
    "    mov rbx, rsp",
    "    and rsp, -16",
    "    call {handle}",
    "    mov rsp, rbx",
    "    pop r15",
    "    pop r14",
    "    pop r13",
    "    pop r12",
    "    pop r11",
    "    pop r10",
    "    pop r9",
    "    pop r8",
    "    pop rdi",
    "    pop rsi",
    "    pop rbp",
    "    pop rbx",
    "    pop rdx",
    "    pop rcx",
    "    pop rax",
    "    add rsp, 16",
    "    iretq",
    ".popsection",
    handle = sym handle,
);

unsafe extern "C" {
    static interrupt_stubs: u8;
}

const STUB_BYTES: u64 = 16;

static TABLE: Once<InterruptDescriptorTable> = Once::new();

/// Loads the table on this LP.
pub fn load() {
    TABLE.call_once(build).load();
}

fn stub(vector: u8) -> VirtAddr {
    VirtAddr::new_truncate(&raw const interrupt_stubs as u64) + u64::from(vector) * STUB_BYTES
}

#[inline(never)]
fn gate<F>(entry: &mut Entry<F>, vector: u8, stack: u16) {
    // SAFETY: the stub saves and restores every register and returns with IRETQ; the stack slots are filled.
    unsafe { entry.set_handler_addr(stub(vector)).set_stack_index(stack) };
}

/// Every vector has a stub; exceptions, NMI and machine check have stacks of their own.
fn build() -> InterruptDescriptorTable {
    let mut table = InterruptDescriptorTable::new();
    gate(&mut table.divide_error, 0, gdt::EXCEPTION_STACK);
    gate(&mut table.debug, 1, gdt::EXCEPTION_STACK);
    gate(&mut table.non_maskable_interrupt, 2, gdt::NMI_STACK);
    gate(&mut table.breakpoint, 3, gdt::EXCEPTION_STACK);
    gate(&mut table.overflow, 4, gdt::EXCEPTION_STACK);
    gate(&mut table.bound_range_exceeded, 5, gdt::EXCEPTION_STACK);
    gate(&mut table.invalid_opcode, 6, gdt::EXCEPTION_STACK);
    gate(&mut table.device_not_available, 7, gdt::EXCEPTION_STACK);
    gate(&mut table.double_fault, 8, gdt::DOUBLE_FAULT_STACK);
    gate(&mut table.invalid_tss, 10, gdt::EXCEPTION_STACK);
    gate(&mut table.segment_not_present, 11, gdt::EXCEPTION_STACK);
    gate(&mut table.stack_segment_fault, 12, gdt::EXCEPTION_STACK);
    gate(
        &mut table.general_protection_fault,
        13,
        gdt::EXCEPTION_STACK,
    );
    gate(&mut table.page_fault, 14, gdt::EXCEPTION_STACK);
    gate(&mut table.x87_floating_point, 16, gdt::EXCEPTION_STACK);
    gate(&mut table.alignment_check, 17, gdt::EXCEPTION_STACK);
    gate(&mut table.machine_check, 18, gdt::MACHINE_CHECK_STACK);
    gate(&mut table.simd_floating_point, 19, gdt::EXCEPTION_STACK);
    gate(&mut table.cp_protection_exception, 21, gdt::EXCEPTION_STACK);
    gate(
        &mut table.vmm_communication_exception,
        29,
        gdt::EXCEPTION_STACK,
    );
    gate(&mut table.security_exception, 30, gdt::EXCEPTION_STACK);
    for vector in 32..=255 {
        // SAFETY: as above; external interrupts come only while interrupts are open, on the LP's own stack.
        unsafe { table[vector].set_handler_addr(stub(vector)) };
    }
    table
}
