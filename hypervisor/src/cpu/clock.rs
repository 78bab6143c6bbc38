//! Time: the TSC, and the local APIC's one-shot timer for deadlines. The loader measured both.

use core::arch::x86_64::_rdtsc;
use core::sync::atomic::{AtomicU64, Ordering};

use spin::Once;

use super::{apic, per_lp};
use crate::facts::Facts;

/// Assumed where no timer of the machine answered the loader: waits get longer or shorter, nothing breaks.
const ASSUMED_TSC_HZ: u64 = 2_000_000_000;
const ASSUMED_APIC_HZ: u64 = 100_000_000;

struct Rates {
    tsc_hz: u64,
    apic_timer_hz: u64,
    /// APIC timer ticks per TSC tick, in 2^-32.
    apic_per_tsc: u64,
}

static RATES: Once<Rates> = Once::new();
/// Ticks spent in waits.
static WAITED: AtomicU64 = AtomicU64::new(0);

/// Ticks that all LPs have spent waiting for hardware or for each other.
pub fn waited() -> u64 {
    WAITED.load(Ordering::Relaxed)
}

/// Keeps the loader's figures.
pub fn start(facts: &Facts) {
    let given = &facts.handoff;
    let tsc_hz = if given.tsc_hz == 0 {
        ASSUMED_TSC_HZ
    } else {
        given.tsc_hz
    };
    let apic_timer_hz = if given.apic_timer_hz == 0 {
        ASSUMED_APIC_HZ
    } else {
        given.apic_timer_hz
    };
    if given.tsc_hz == 0 || given.apic_timer_hz == 0 {
        log::warn!("the clocks could not be measured; times are guesses");
    }
    let scaled = (u128::from(apic_timer_hz) << 32) / u128::from(tsc_hz);
    let apic_per_tsc = u64::try_from(scaled).unwrap_or(u64::MAX);
    RATES.call_once(|| Rates {
        tsc_hz,
        apic_timer_hz,
        apic_per_tsc,
    });
}

fn rates() -> &'static Rates {
    RATES.get().unwrap_or(&Rates {
        tsc_hz: ASSUMED_TSC_HZ,
        apic_timer_hz: ASSUMED_APIC_HZ,
        apic_per_tsc: 1 << 28,
    })
}

/// TSC ticks per second.
pub fn tsc_hz() -> u64 {
    rates().tsc_hz
}

/// Local APIC timer ticks per second, divider 1.
pub fn apic_timer_hz() -> u64 {
    rates().apic_timer_hz
}

/// This LP's TSC.
pub fn now() -> u64 {
    // SAFETY: reads a counter.
    unsafe { _rdtsc() }
}

/// TSC ticks in this many microseconds.
pub fn ticks_of_us(us: u64) -> u64 {
    // A 128-bit division is a long call, and every wait for an IOMMU begins here.
    match us.checked_mul(tsc_hz()) {
        Some(product) => product / 1_000_000,
        None => (us / 1_000_000).saturating_mul(tsc_hz()),
    }
}

/// Arms this LP's timer for when the TSC reaches `deadline`; `None` disarms it. It may fire early, where the deadline is
/// farther than the timer reaches: whoever handles it looks at the clock and arms it again.
pub fn set_deadline(deadline: Option<u64>) {
    let Some(deadline) = deadline else {
        apic::set_timer(0);
        return;
    };
    let left = deadline.saturating_sub(now());
    let ticks = (u128::from(left) * u128::from(rates().apic_per_tsc)) >> 32;
    // At least one tick: zero would stop the timer instead.
    apic::set_timer(u32::try_from(ticks + 1).unwrap_or(u32::MAX));
}

/// Notes when this LP's timer is due, [`u64::MAX`] for never, and leaves the timer alone.
#[inline]
pub fn note_deadline(deadline: u64) {
    if let Some(lp) = per_lp::current() {
        lp.deadline.store(deadline, Ordering::Relaxed);
    }
}

/// What was noted on this LP.
#[inline]
pub fn deadline() -> u64 {
    per_lp::current().map_or(u64::MAX, |lp| lp.deadline.load(Ordering::Relaxed))
}

/// Waits this long.
pub fn wait_us(us: u64) {
    wait_until(us, || false);
}

/// Waits until `done`, at most this long; whether it was done.
pub fn wait_until(us: u64, mut done: impl FnMut() -> bool) -> bool {
    let start = now();
    let most = ticks_of_us(us);
    let in_time = loop {
        if done() {
            break true;
        }
        if now().wrapping_sub(start) >= most {
            break false;
        }
        core::hint::spin_loop();
    };
    WAITED.fetch_add(now().wrapping_sub(start), Ordering::Relaxed);
    in_time
}
