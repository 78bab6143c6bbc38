//! Interrupt handlers. A handler is a plain function that gets the vector; the local APIC is told afterwards, by
//! itself. Exceptions that nobody expects print what happened and end the program.

use core::arch::naked_asm;
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use crate::{apic, console, descriptor, exit, fault};

/// First vector that devices, IPIs and timers may use.
pub const FIRST: u8 = 32;
/// Vector for the local APIC's spurious interrupts: counted, never acknowledged.
pub const SPURIOUS: u8 = 0xff;

/// What a handler is.
pub type Handler = fn(u8);

/// What happens for a vector besides its handler.
const ACKNOWLEDGE: u8 = 0;
const LEAVE: u8 = 1;

static HANDLERS: [AtomicU64; 256] = [const { AtomicU64::new(0) }; 256];
static MODES: [AtomicU8; 256] = [const { AtomicU8::new(ACKNOWLEDGE) }; 256];
static COUNTS: [AtomicU64; 256] = [const { AtomicU64::new(0) }; 256];
static STAMP: AtomicU64 = AtomicU64::new(0);

/// Calls `handler` with interrupts off whenever `vector` arrives, on every VP. It must not allocate: the code that it
/// interrupts may hold the allocator.
pub fn set_handler(vector: u8, handler: Handler) {
    HANDLERS[usize::from(vector)].store(handler as *const () as u64, Ordering::Release);
}

/// As [`set_handler`], but the handler itself calls [`apic::eoi`].
pub fn set_handler_without_eoi(vector: u8, handler: Handler) {
    MODES[usize::from(vector)].store(LEAVE, Ordering::Relaxed);
    set_handler(vector, handler);
}

/// How often a vector has arrived.
#[must_use]
pub fn count(vector: u8) -> u64 {
    COUNTS[usize::from(vector)].load(Ordering::Acquire)
}

/// How often any vector of devices, IPIs and timers has arrived.
#[must_use]
pub fn total() -> u64 {
    COUNTS
        .iter()
        .skip(usize::from(FIRST))
        .map(|count| count.load(Ordering::Relaxed))
        .sum()
}

/// Makes `vector` read the time stamp counter as its very first instruction, for [`stamp`]; no other handler runs.
pub fn set_time_stamp(vector: u8) {
    descriptor::set_gate(vector, stamp_entry as *const () as u64);
}

/// The time stamp of the last interrupt of a vector of [`set_time_stamp`], once; 0 until one arrives.
pub fn take_stamp() -> u64 {
    STAMP.swap(0, Ordering::AcqRel)
}

/// Registers of the interrupted code, as the stubs push them.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Frame {
    pub registers: [u64; 15],
    pub vector: u64,
    pub error: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

const STUB_BYTES: u64 = 16;

/// Address of the stub of a vector.
pub(crate) fn stub(vector: u8) -> u64 {
    stubs as *const () as u64 + STUB_BYTES * u64::from(vector)
}

/// 256 entry points of 16 bytes: each pushes a zero where the processor pushes no error code, and its vector.
#[unsafe(naked)]
extern "C" fn stubs() {
    naked_asm!(
        ".balign 16",
        ".set vector, 0",
        ".rept 256",
        ".balign 16",
        ".if (vector == 8) || (vector >= 10 && vector <= 14) || (vector == 17) || (vector == 21) || (vector == 29) || (vector == 30)",
        ".else",
        "push 0",
        ".endif",
        "push vector",
        "jmp {common}",
        ".set vector, vector + 1",
        ".endr",
        common = sym common,
    )
}

#[unsafe(naked)]
extern "C" fn common() {
    naked_asm!(
        "push rax", "push rbx", "push rcx", "push rdx", "push rsi", "push rdi", "push rbp",
        "push r8", "push r9", "push r10", "push r11", "push r12", "push r13", "push r14", "push r15",
        "cld",
        "mov rdi, rsp",
        "call {dispatch}",
        "pop r15", "pop r14", "pop r13", "pop r12", "pop r11", "pop r10", "pop r9", "pop r8",
        "pop rbp", "pop rdi", "pop rsi", "pop rdx", "pop rcx", "pop rbx", "pop rax",
        "add rsp, 16",
        "iretq",
        dispatch = sym dispatch,
    )
}

#[unsafe(naked)]
extern "C" fn stamp_entry() {
    naked_asm!(
        "push rax",
        "push rdx",
        "rdtsc",
        "shl rdx, 32",
        "or rax, rdx",
        "mov [rip + {stamp}], rax",
        "push rcx",
        "mov ecx, 0x80b",
        "xor eax, eax",
        "xor edx, edx",
        "wrmsr",
        "pop rcx",
        "pop rdx",
        "pop rax",
        "iretq",
        stamp = sym STAMP,
    )
}

extern "C" fn dispatch(frame: &mut Frame) {
    let vector = frame.vector as u8;
    COUNTS[usize::from(vector)].fetch_add(1, Ordering::AcqRel);
    if vector < FIRST {
        // A handler goes before the end of a program of ring 3: it may let the program go on.
        let user = frame.cs & 3 == 3 && handle(vector);
        if !user && !fault::recover(frame) && !handle(vector) {
            unexpected(frame);
        }
        return;
    }
    handle(vector);
    if vector != SPURIOUS && MODES[usize::from(vector)].load(Ordering::Relaxed) == ACKNOWLEDGE {
        apic::eoi();
    }
}

/// Runs the handler of a vector; false where there is none.
fn handle(vector: u8) -> bool {
    let address = HANDLERS[usize::from(vector)].load(Ordering::Acquire);
    if address == 0 {
        return false;
    }
    // SAFETY: only `set_handler` stores here, and it stores a `Handler`.
    let handler = unsafe { core::mem::transmute::<*const (), Handler>(address as *const ()) };
    handler(vector);
    true
}

fn unexpected(frame: &Frame) -> ! {
    let cr2 = fault::page_fault_address();
    console::write_at_end(format_args!(
        "exception {} error {:#x} at {:#x} cr2 {cr2:#x}\n{frame:x?}\n",
        frame.vector, frame.error, frame.rip
    ));
    exit::panicked()
}

#[cfg(not(test))]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    console::write_at_end(format_args!("{info}\n"));
    exit::panicked()
}
