//! The end: all LPs stop, no guest runs again, and the last words say where and why. Devices stay in the domains that
//! they were in, so that nothing that was blocked opens.

use core::fmt::Write;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::console::Emergency;
use crate::cpu;

static PANICKED: AtomicBool = AtomicBool::new(false);

/// Whether some LP has panicked: an NMI then means stop.
pub fn is_over() -> bool {
    PANICKED.load(Ordering::Acquire)
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    if PANICKED.swap(true, Ordering::AcqRel) {
        cpu::halt();
    }
    cpu::apic::stop_others();
    let lp = cpu::per_lp::current().map_or(0, |lp| lp.index.0);
    let mut out = Emergency::take();
    let _ = writeln!(out, "\nPORTCULLIS PANIC on LP {lp}: {info}");
    cpu::halt()
}
