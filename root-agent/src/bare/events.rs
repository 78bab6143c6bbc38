//! What wakes a VP of the root: messages, the console, and for the first VP a tick, because the second serial port has
//! no interrupt of its own.

use core::sync::atomic::{AtomicBool, Ordering};

use abi::message::SINT_INTERCEPT;
use runtime::{MAX_VPS, apic, cpu, interrupt, synic, vp};

/// Vectors of the root.
const MESSAGE: u8 = 0x30;
const TICK: u8 = 0x31;
/// The console's.
pub const CONSOLE: u8 = 0x32;
/// Ticks in a second.
const TICK_HZ: u64 = 500;
/// TSC ticks that the first tick may take until the timer counts as broken.
const PATIENCE: u64 = 1_000_000_000;

static PENDING: [AtomicBool; MAX_VPS] = [const { AtomicBool::new(false) }; MAX_VPS];
static TICKING: AtomicBool = AtomicBool::new(false);

/// All that a handler does: the loop of its VP does the rest.
fn wake(_vector: u8) {
    if let Some(pending) = PENDING.get(vp::index() as usize) {
        pending.store(true, Ordering::Release);
    }
}

/// Sets the first VP up.
pub fn begin(apic_hz: u64) {
    for vector in [MESSAGE, TICK, CONSOLE] {
        interrupt::set_handler(vector, wake);
    }
    synic::enable(SINT_INTERCEPT, MESSAGE);
    let count = (apic_hz / TICK_HZ).clamp(1000, u64::from(u32::MAX));
    apic::periodic(TICK, count as u32);
    cpu::enable_interrupts();
    let begin = cpu::tsc();
    while interrupt::count(TICK) == 0 && cpu::tsc().wrapping_sub(begin) < PATIENCE {
        cpu::pause();
    }
    TICKING.store(interrupt::count(TICK) != 0, Ordering::Relaxed);
}

/// Sets another VP up.
pub fn begin_other() {
    apic::enable();
    synic::enable(SINT_INTERCEPT, MESSAGE);
    cpu::enable_interrupts();
}

/// Waits until something happened since the last call.
pub fn idle() {
    let index = vp::index() as usize;
    let Some(pending) = PENDING.get(index) else {
        return;
    };
    if index == 0 && !TICKING.load(Ordering::Relaxed) {
        // Without a tick the serial ports are asked all the time.
        cpu::pause();
        return;
    }
    cpu::wait_unless(|| pending.load(Ordering::Acquire));
    pending.store(false, Ordering::Release);
}
