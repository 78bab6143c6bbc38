//! Time: the TSC and how fast it runs.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::{cpu, fault, port};

static TSC_HZ: AtomicU64 = AtomicU64::new(0);

/// Assumed where nothing says how fast the TSC runs.
const DEFAULT_HZ: u64 = 1_000_000_000;
/// ACPI PM timer where a q35 machine's firmware puts it: only used without a hypervisor.
const PM_TIMER: u16 = 0x608;
const PM_HZ: u64 = 3_579_545;

/// TSC ticks a second: the hypervisor's word, else measured against the ACPI PM timer, else assumed.
#[must_use]
pub fn tsc_hz() -> u64 {
    let known = TSC_HZ.load(Ordering::Relaxed);
    if known != 0 {
        return known;
    }
    let hz = if cpu::has_hypercalls() {
        fault::read_msr(abi::msr::TSC_FREQUENCY).ok()
    } else {
        measure()
    };
    let hz = hz.filter(|&hz| hz > 1_000_000).unwrap_or(DEFAULT_HZ);
    TSC_HZ.store(hz, Ordering::Relaxed);
    hz
}

/// Ticks of the local APIC's timer a second.
#[must_use]
pub fn apic_hz() -> u64 {
    let told = cpu::has_hypercalls().then(|| fault::read_msr(abi::msr::APIC_FREQUENCY));
    match told {
        Some(Ok(hz)) if hz != 0 => hz,
        // The emulator's timer counts nanoseconds.
        _ => DEFAULT_HZ,
    }
}

/// Microseconds since some moment before the program's start.
#[must_use]
pub fn micros() -> u64 {
    let (ticks, hz) = (u128::from(cpu::tsc()), u128::from(tsc_hz()));
    (ticks * 1_000_000 / hz) as u64
}

/// Waits, busily.
pub fn spin_micros(micros: u64) {
    let end = self::micros().saturating_add(micros);
    while self::micros() < end {
        cpu::pause();
    }
}

/// TSC ticks in 10 ms of the PM timer; `None` where it does not run.
fn measure() -> Option<u64> {
    const TICKS: u32 = (PM_HZ / 100) as u32;
    let begin = port::read32(PM_TIMER);
    let first = cpu::tsc();
    for _ in 0..10_000_000_u32 {
        let passed = port::read32(PM_TIMER).wrapping_sub(begin) & 0xff_ffff;
        if passed >= TICKS {
            let ticks = cpu::tsc().wrapping_sub(first);
            return Some(ticks.saturating_mul(PM_HZ) / u64::from(passed));
        }
    }
    None
}
