//! Programs without long mode, for a VP that starts as hardware does. They stay in the first MiB, which is in no pool, and
//! say in a page of it how far they came.

use core::arch::naked_asm;

use crate::apic;

/// Where a program begins.
const PAGE: u64 = 9;
const START: u64 = PAGE * 4096;
/// What it says, and above that its stack.
const WORDS: u64 = 0xa000;
const STACK: u64 = 0xb000;
/// Task-state segments.
const TASK: u64 = WORDS + 0x200;
const NEXT_TASK: u64 = WORDS + 0x300;
/// The program's table: behind its first jump.
const TABLE: u64 = START + 4;

/// The number that the last word holds when a program has come to its end.
pub const DONE: u32 = 0x600d;

/// A program.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Program {
    /// Real mode: words 0 software interrupts, 1 divisions by zero, 2 CPUID's first register, 3 a port that nobody has, 4
    /// hypercalls refused as unknown instructions, 5 [`DONE`].
    Interrupts,
    /// Protected mode: word 0 is 1 before a task switch, word 5 [`DONE`] after it.
    TaskSwitch,
}

/// Starts the VP with this APIC id in real mode.
pub fn start(apic_id: u32, program: Program) {
    let code = match program {
        Program::Interrupts => interrupts as *const u8,
        Program::TaskSwitch => task_switch as *const u8,
    };
    // SAFETY: the first MiB is in no pool, is ordinary RAM and holds nothing of this program; both programs are shorter
    // than what is copied, and what follows them in the image can be read.
    unsafe {
        crate::pool::copy(code, START as *mut u8, 512);
        for offset in (0..0x400).step_by(4) {
            ((WORDS + offset) as *mut u32).write_volatile(0);
        }
        let entry = u32::from(((TABLE) as *const u16).read_volatile());
        let fields = [
            (0x20, entry),
            (0x24, 2),
            (0x38, STACK as u32),
            (0x48, 0x10),
            (0x4c, 8),
            (0x50, 0x10),
            (0x54, 0x10),
            (0x58, 0x10),
            (0x5c, 0x10),
            (0x64, 104 << 16),
        ];
        for (offset, value) in fields {
            ((NEXT_TASK + offset) as *mut u32).write_volatile(value);
        }
    }
    apic::send_init(apic_id);
    apic::send_startup(apic_id, PAGE as u8);
}

/// What the program says.
#[must_use]
pub fn word(index: u64) -> u32 {
    // SAFETY: inside the page, which is RAM.
    unsafe { ((WORDS + 4 * (index & 0xf)) as *const u32).read_volatile() }
}

#[unsafe(naked)]
extern "C" fn interrupts() {
    naked_asm!(
        ".code16",
        "40:",
        "jmp 45f",
        ".balign 4",
        ".word {start} + (41f - 40b)",
        ".word {start} + (42f - 40b)",
        ".word {start} + (43f - 40b)",
        "45:",
        "cli",
        "xor ax, ax", "mov ds, ax", "mov es, ax", "mov ss, ax",
        "mov sp, {stack}",
        // The vectors 42h, 0 and 6.
        "mov ax, word ptr [{table}]", "mov word ptr [0x108], ax", "mov word ptr [0x10a], 0",
        "mov ax, word ptr [{table} + 2]", "mov word ptr [0], ax", "mov word ptr [2], 0",
        "mov ax, word ptr [{table} + 4]", "mov word ptr [0x18], ax", "mov word ptr [0x1a], 0",
        "int 0x42", "int 0x42",
        "xor bx, bx", "mov ax, 1", "div bx",
        "xor eax, eax", "cpuid", "mov dword ptr [{words} + 8], ebx",
        "mov dx, 0x1234", "in al, dx", "mov byte ptr [{words} + 12], al",
        ".byte 0x0f, 0x01, 0xc1",
        ".byte 0x0f, 0x01, 0xd9",
        "mov word ptr [{words} + 20], {done}",
        "sti",
        "44:", "hlt", "jmp 44b",
        // INT
        "41:", "inc word ptr [{words}]", "iret",
        // #DE: behind the two bytes of the division.
        "42:", "inc word ptr [{words} + 4]", "mov bp, sp", "add word ptr [bp], 2", "iret",
        // #UD: behind the three bytes of the call.
        "43:", "inc word ptr [{words} + 16]", "mov bp, sp", "add word ptr [bp], 3", "iret",
        ".code64",
        start = const START,
        table = const TABLE,
        stack = const STACK,
        words = const WORDS,
        done = const DONE,
    )
}

#[unsafe(naked)]
extern "C" fn task_switch() {
    naked_asm!(
        ".code16",
        "40:",
        "jmp 45f",
        ".balign 4",
        ".word {start} + (42f - 40b)",
        ".word 0",
        // Null, code, data, this task, the next one; and what LGDT wants.
        ".quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff",
        ".quad 0x0000890000000067 + ({task} << 16), 0x0000890000000067 + ({next} << 16)",
        ".word 39",
        ".long {table} + 4",
        "45:",
        "cli",
        "xor ax, ax", "mov ds, ax",
        ".byte 0x66", "lgdt [{table} + 44]",
        "mov eax, 0x11", "mov cr0, eax",
        ".byte 0x66, 0xea", ".long {start} + (41f - 40b)", ".word 8",
        ".code32",
        "41:",
        "mov eax, 16", "mov ds, eax", "mov es, eax", "mov ss, eax",
        "mov esp, {stack}",
        "mov eax, 24", "ltr ax",
        "mov dword ptr [{words}], 1",
        ".byte 0xea", ".long 0", ".word 32",
        "42:",
        "mov dword ptr [{words} + 20], {done}",
        "sti",
        "43:", "hlt", "jmp 43b",
        ".code64",
        start = const START,
        table = const TABLE,
        task = const TASK,
        next = const NEXT_TASK,
        stack = const STACK,
        words = const WORDS,
        done = const DONE,
    )
}
