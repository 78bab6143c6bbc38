//! What an LP does with an interrupt or exception that arrives in the hypervisor itself.

use core::sync::atomic::Ordering;

use address::Vector;
use x86_64::registers::control::Cr2;

use super::apic::{self, vector};
use super::{halt, msr, per_lp};
use crate::panic;

const NMI: u64 = 2;
const GENERAL_PROTECTION: u64 = 13;
const FIRST_EXTERNAL: u64 = 32;

/// What the stubs leave on the stack.
#[repr(C)]
#[derive(Debug)]
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

/// Every stub comes here. The push of a vector above 7Fh is sign extended, so only its low byte counts.
pub extern "C" fn handle(frame: &mut Frame) {
    match frame.vector & 0xff {
        NMI => nmi(),
        number if number >= FIRST_EXTERNAL => external(Vector(number as u8)),
        GENERAL_PROTECTION if let Some(next) = msr::recover(frame.rip) => frame.rip = next,
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

/// Notes the vector for the LP's loop, which hands it to the kernel outside of interrupt context.
fn external(number: Vector) {
    if number == vector::SPURIOUS {
        return;
    }
    if let Some(lp) = per_lp::current() {
        lp.interrupts.fetch_add(1, Ordering::Relaxed);
        lp.note(number);
    }
    apic::end_of_interrupt();
}

fn exception(number: u64, frame: &Frame) -> ! {
    let address = Cr2::read_raw();
    panic!(
        "exception {number} (error {:#x}, CR2 {address:#x}) {frame:x?}",
        frame.error
    );
}
