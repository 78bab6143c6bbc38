//! Descriptor tables: one GDT and one IDT for all VPs, a task-state segment for each (AMD64 Architecture Programmer's
//! Manual, volume 2, sections 4.8, 8.2, 12.2).

use core::arch::asm;

use crate::MAX_VPS;
use crate::cell::Shared;

/// Selector of the 64-bit code segment.
pub(crate) const CODE: u16 = 0x08;
/// Selector of the data segment.
pub(crate) const DATA: u16 = 0x10;
const FIRST_TASK: u16 = 0x20;
/// Selectors of ring 3, in the order that SYSRET wants: 32-bit code, data, 64-bit code.
pub(crate) const USER_CODE_32: u16 = FIRST_USER | 3;
pub(crate) const USER_DATA: u16 = (FIRST_USER + 8) | 3;
pub(crate) const USER_CODE: u16 = (FIRST_USER + 16) | 3;
const FIRST_USER: u16 = FIRST_TASK + 16 * MAX_VPS as u16;

const USER_DESCRIPTORS: [u64; 3] = [
    0x00cf_fb00_0000_ffff,
    0x00cf_f300_0000_ffff,
    0x00af_fb00_0000_ffff,
];

const CODE_DESCRIPTOR: u64 = 0x00af_9b00_0000_ffff;
const DATA_DESCRIPTOR: u64 = 0x00cf_9300_0000_ffff;
const ENTRIES: usize = FIRST_TASK as usize / 8 + 2 * MAX_VPS + USER_DESCRIPTORS.len();
const FAULT_STACK: usize = 8192;
/// Bytes between the tops of the stacks for double faults and for #DB.
const DEBUG_STACK: u64 = 4096;

/// Task-state segment: the stack for what interrupts ring 3, and one for double faults.
#[derive(Clone, Copy)]
#[repr(C, packed(4))]
struct Task {
    reserved: u32,
    stacks: [u64; 3],
    reserved2: u64,
    interrupt_stacks: [u64; 7],
    reserved3: u64,
    reserved4: u16,
    io_map: u16,
}

const _: () = assert!(size_of::<Task>() == 104);

const NO_TASK: Task = Task {
    reserved: 0,
    stacks: [0; 3],
    reserved2: 0,
    interrupt_stacks: [0; 7],
    reserved3: 0,
    reserved4: 0,
    io_map: 104,
};

/// GDTR and IDTR operand.
#[repr(C, packed)]
pub(crate) struct TablePointer {
    pub limit: u16,
    pub base: u64,
}

#[repr(C, align(16))]
#[derive(Clone, Copy)]
struct Stack([u8; FAULT_STACK]);

static GDT: Shared<[u64; ENTRIES]> = Shared::new([0; ENTRIES]);
static TASKS: Shared<[Task; MAX_VPS]> = Shared::new([NO_TASK; MAX_VPS]);
static FAULT_STACKS: Shared<[Stack; MAX_VPS]> = Shared::new([Stack([0; FAULT_STACK]); MAX_VPS]);
static FROM_USER_STACKS: Shared<[Stack; MAX_VPS]> = Shared::new([Stack([0; FAULT_STACK]); MAX_VPS]);
static IDT: Shared<[[u64; 2]; 256]> = Shared::new([[0; 2]; 256]);

/// The GDT's operand for LGDT.
pub(crate) fn gdt_pointer() -> TablePointer {
    TablePointer {
        limit: (ENTRIES * 8 - 1) as u16,
        base: GDT.pointer() as u64,
    }
}

/// The IDT's operand for LIDT.
pub(crate) fn idt_pointer() -> TablePointer {
    TablePointer {
        limit: 0xfff,
        base: IDT.pointer() as u64,
    }
}

const fn task_descriptor(base: u64) -> [u64; 2] {
    let limit = size_of::<Task>() as u64 - 1;
    let low = limit | (base & 0xff_ffff) << 16 | 0x89 << 40 | (base >> 24 & 0xff) << 56;
    [low, base >> 32]
}

/// Fills all tables. Called by the first VP, before any other runs.
pub(crate) fn build() {
    // SAFETY: nobody else runs yet; all offsets are inside the statics.
    unsafe {
        let gdt = GDT.pointer().cast::<u64>();
        gdt.add(1).write(CODE_DESCRIPTOR);
        gdt.add(2).write(DATA_DESCRIPTOR);
        let user = gdt.add(usize::from(FIRST_USER) / 8);
        for (index, descriptor) in USER_DESCRIPTORS.into_iter().enumerate() {
            user.add(index).write(descriptor);
        }
        for index in 0..MAX_VPS {
            let stack_top = FAULT_STACKS.pointer().cast::<Stack>().add(index + 1) as u64;
            let task = TASKS.pointer().cast::<Task>().add(index);
            let mut content = NO_TASK;
            content.stacks[0] = FROM_USER_STACKS.pointer().cast::<Stack>().add(index + 1) as u64;
            content.interrupt_stacks[0] = stack_top;
            content.interrupt_stacks[1] = stack_top - DEBUG_STACK;
            task.write(content);
            let entry = gdt.add(usize::from(FIRST_TASK) / 8 + 2 * index);
            let [low, high] = task_descriptor(task as u64);
            entry.write(low);
            entry.add(1).write(high);
        }
    }
    for vector in 0..=255 {
        set_gate(vector, crate::interrupt::stub(vector));
    }
}

/// Lets a vector enter at `handler`, with interrupts off. Double faults get their own stack.
pub(crate) fn set_gate(vector: u8, handler: u64) {
    set_gate_on_stack(vector, handler, u64::from(vector == 8));
}

fn set_gate_on_stack(vector: u8, handler: u64, stack: u64) {
    let low = handler & 0xffff
        | u64::from(CODE) << 16
        | stack << 32
        | 0x8e << 40
        | (handler >> 16 & 0xffff) << 48;
    // SAFETY: inside the static; gates are written before their vector is used.
    unsafe {
        IDT.pointer()
            .cast::<[u64; 2]>()
            .add(usize::from(vector))
            .write_volatile([low, handler >> 32]);
    }
}

/// Loads the tables on this VP.
///
/// # Safety
/// `build` has run; `index` is this VP's own and below MAX_VPS.
pub(crate) unsafe fn load(index: usize) {
    let gdt = gdt_pointer();
    let idt = idt_pointer();
    let task = FIRST_TASK + 16 * index as u16;
    // SAFETY: the tables live for ever and describe flat segments, as the program runs in already.
    unsafe {
        asm!(
            "lgdt [{gdt}]",
            "lidt [{idt}]",
            "push {code}",
            "lea {t}, [rip + 2f]",
            "push {t}",
            "retfq",
            "2:",
            "mov ds, {data:e}",
            "mov es, {data:e}",
            "mov ss, {data:e}",
            "ltr {task:x}",
            gdt = in(reg) &raw const gdt,
            idt = in(reg) &raw const idt,
            code = const CODE as u64,
            data = in(reg) u32::from(DATA),
            task = in(reg) task,
            t = out(reg) _,
        );
    }
}

/// Which of the runtime's VPs this is: its task register says so, without an exit.
pub(crate) fn vp_slot() -> usize {
    let task: u64;
    // SAFETY: STR reads a selector.
    unsafe { asm!("str {:r}", out(reg) task, options(nomem, nostack, preserves_flags)) };
    let slot = (task as u16).saturating_sub(FIRST_TASK) / 16;
    usize::from(slot).min(MAX_VPS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn task_descriptors_hold_the_base_in_four_pieces() {
        assert_eq!(
            task_descriptor(0x1122_3344_5566_7788),
            [0x5500_8966_7788_0067, 0x1122_3344]
        );
    }
}
