//! What an LP does with an interrupt or exception that arrives in the hypervisor itself.

use core::fmt;
use core::sync::atomic::Ordering;

use address::Vector;
use x86_64::registers::control::Cr2;

use super::apic::{self, vector};
use super::{halt, per_lp};
use crate::{machine, panic};

const NMI: u64 = 2;
const FIRST_EXTERNAL: u64 = 32;

/// What the stubs leave on the stack.
#[repr(C)]
pub struct Frame {
    r15: u64,
    r14: u64,
    r13: u64,
    r12: u64,
    r11: u64,
    r10: u64,
    r9: u64,
    r8: u64,
    rdi: u64,
    rsi: u64,
    rbp: u64,
    rbx: u64,
    rdx: u64,
    rcx: u64,
    rax: u64,
    vector: u64,
    error: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [
            ("error", self.error),
            ("RIP", self.rip),
            ("RSP", self.rsp),
            ("RFLAGS", self.rflags),
            ("CS", self.cs),
            ("SS", self.ss),
            ("RAX", self.rax),
            ("RBX", self.rbx),
            ("RCX", self.rcx),
            ("RDX", self.rdx),
            ("RSI", self.rsi),
            ("RDI", self.rdi),
            ("RBP", self.rbp),
            ("R8", self.r8),
            ("R9", self.r9),
            ("R10", self.r10),
            ("R11", self.r11),
            ("R12", self.r12),
            ("R13", self.r13),
            ("R14", self.r14),
            ("R15", self.r15),
        ];
        words
            .iter()
            .try_for_each(|(name, value)| write!(f, ", {name} {value:#x}"))
    }
}

/// Every stub comes here. The push of a vector above 7Fh is sign extended, so only its low byte counts.
pub extern "C" fn handle(frame: &Frame) {
    match frame.vector & 0xff {
        NMI => nmi(),
        number if number >= FIRST_EXTERNAL => take(Vector(number as u8)),
        number => exception(number, frame),
    }
}

/// Counted; after a panic it means stop. Takes no lock: it may come between any two instructions.
fn nmi() {
    if panic::is_over() {
        halt();
    }
    if let Some(lp) = per_lp::current() {
        lp.nmis.fetch_add(1, Ordering::Relaxed);
    }
}

/// Hands an external interrupt that this LP has acknowledged to the kernel. Interrupts are open only where this LP holds no lock that this could need: at an
/// exit, and at rest.
pub fn take(number: Vector) {
    if number == vector::SPURIOUS {
        return;
    }
    if let Some(kernel) = machine::kernel() {
        let lp = per_lp::current_index();
        match number {
            vector::TIMER => kernel.on_timer(lp),
            // Leaving the guest, or waking up, is all that it was for.
            vector::KICK => {}
            vector::NOTIFY | vector::POSTED => kernel.on_posted(lp),
            vector::IOMMU_FAULT => kernel.on_fault(lp),
            Vector(other) => {
                kernel.on_device_interrupt(lp, other);
            }
        }
    }
    apic::end_of_interrupt();
}

/// Tells the kernel that this LP's deadline has come, by no interrupt.
pub fn note_deadline() {
    if let Some(kernel) = machine::kernel() {
        kernel.on_timer(per_lp::current_index());
    }
}

fn exception(number: u64, frame: &Frame) -> ! {
    let address = Cr2::read_raw();
    panic!("exception {number}, CR2 {address:#x}{frame}");
}
