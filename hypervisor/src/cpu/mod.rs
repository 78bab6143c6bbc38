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
    apic::start();
    lp.check_in();
}

/// Sleeps until an interrupt has been taken; returns with interrupts closed. One that came before is not slept over,
/// because STI takes effect after HLT has begun.
pub fn wait_for_interrupt() {
    interrupts::enable_and_hlt();
    interrupts::disable();
}
