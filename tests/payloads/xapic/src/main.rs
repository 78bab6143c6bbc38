//! A guest that never heard of x2APIC, nor of 64 bits, nor of hypercalls: Multiboot 1, 32-bit protected mode without paging,
//! its local APIC in memory. It is assembly, because nothing else of this project is made for such a processor. Each word of
//! the command line is a probe, which prints `xapic: NAME ok|FAIL`; the exit code says whether all were good.
//!
//! - `pair` starts a second VP by INIT and a start-up IPI, and lets both talk: physical, logical and shorthand destinations, NMI.
//! - `alone`: task priority, timer, end of interrupt. `forms`: every encoding that reaches a register.
//! - `abuse` (CPU-17): what LVT, ICR, TPR and timer should not be told. `odd` (CPU-13): other sizes, places and pages.
//! - `other` (CPU-13): an instruction that is no MOV; it does not come back. `race` (CPU-12): the second VP rewrites the
//!   instruction; with `still` it writes what is there already.

#![no_std]
#![no_main]

use core::arch::global_asm;
use core::panic::PanicInfo;

global_asm!(include_str!("start.s"));
global_asm!(include_str!("support.s"));
global_asm!(include_str!("probes.s"));
global_asm!(include_str!("hostile.s"));

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}
