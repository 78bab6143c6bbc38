//! The processor: tables, exceptions, local APIC, clock, start-up.

pub mod apic;
pub mod clock;
pub mod entry;
pub mod features;
pub mod gdt;
pub mod idt;
pub mod interrupt;
pub mod msr;
pub mod per_lp;
pub mod stack;
pub mod start_up;

use x86_64::instructions::{hlt, interrupts};
use x86_64::registers::control::{Cr4, Cr4Flags};

use per_lp::Lp;

/// Stops this LP for good.
pub fn halt() -> ! {
    interrupts::disable();
    loop {
        hlt();
    }
}

/// Gives the boot processor its tables, its data and its local APIC.
pub fn start_boot_processor() -> &'static Lp {
    let lp = per_lp::create(apic::initial_id());
    start_this_processor(lp);
    lp
}

/// What every LP does first: tables of its own, then its local APIC in x2APIC mode.
pub fn start_this_processor(lp: &'static Lp) {
    gdt::load(lp);
    idt::load();
    per_lp::set_current(lp);
    let_machine_checks_come();
    apic::start();
    lp.check_in();
}

/// Where CR4.MCE is clear, as firmware may leave it, a machine check shuts the processor down without a word (CPU-22).
fn let_machine_checks_come() {
    // SAFETY: the IDT has a gate for it, with a stack of its own. Every processor with long mode has the bit.
    unsafe { Cr4::update(|cr4| cr4.insert(Cr4Flags::MACHINE_CHECK_EXCEPTION)) };
}

/// Sleeps until an interrupt has been taken; returns with interrupts closed. One that came before is not slept over,
/// because STI takes effect after HLT has begun.
pub fn wait_for_interrupt() {
    interrupts::enable_and_hlt();
    interrupts::disable();
}
