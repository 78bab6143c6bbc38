//! Measures the TSC and the local APIC timer.

use core::arch::x86_64::_rdtsc;

use boot::calibration::{PIT_HZ, PM_TIMER_HZ, elapsed, frequency};
use x86_64::instructions::port::Port;
use x86_64::registers::model_specific::Msr;

use super::acpi::Acpi;
use super::console::say;

/// About 20 ms of each reference.
const PM_TICKS: u32 = (PM_TIMER_HZ / 50) as u32;
const PIT_TICKS: u16 = (PIT_HZ / 50) as u16;
/// A reading of a port takes at least some tens of nanoseconds: far more than 20 ms.
const MOST_POLLS: u32 = 20_000_000;

const APIC_BASE: u32 = 0x1b;
const X2APIC: u64 = 1 << 10;
const TIMER_LVT: u32 = 0x32;
const TIMER_INITIAL: u32 = 0x38;
const TIMER_CURRENT: u32 = 0x39;
const TIMER_DIVIDE: u32 = 0x3e;
const SPURIOUS: u32 = 0x0f;
const DIVIDE_BY_1: u32 = 0b1011;
const MASKED: u32 = 1 << 16;

/// Ticks per second; 0: not measured.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clocks {
    /// Of the TSC.
    pub tsc_hz: u64,
    /// Of the local APIC timer, divided by 1.
    pub apic_timer_hz: u64,
}

/// Measures both against the ACPI timer, or channel 2 of the PIT where there is none. Bounded.
pub fn calibrate(acpi: &Acpi) -> Clocks {
    let apic = Apic::find();
    apic.start();
    let start = (rdtsc(), apic.count());
    let measured = match acpi.pm_timer {
        Some((port, bits)) => wait_pm_timer(port, bits).map(|ticks| (ticks, PM_TIMER_HZ)),
        None => None,
    };
    let (start, reference) = match measured {
        Some(reference) => (start, Some(reference)),
        None => {
            let start = (rdtsc(), apic.count());
            (start, wait_pit().map(|ticks| (ticks, PIT_HZ)))
        }
    };
    let end = (rdtsc(), apic.count());
    apic.stop();
    let Some((ticks, hz)) = reference else {
        say(format_args!(
            "no timer answers; the clocks could not be measured"
        ));
        return Clocks::default();
    };
    let clocks = Clocks {
        tsc_hz: frequency(end.0 - start.0, u64::from(ticks), hz),
        // The APIC timer counts down.
        apic_timer_hz: frequency(u64::from(start.1.wrapping_sub(end.1)), u64::from(ticks), hz),
    };
    say(format_args!(
        "TSC {} kHz, local APIC timer {} kHz",
        clocks.tsc_hz / 1000,
        clocks.apic_timer_hz / 1000
    ));
    clocks
}

fn rdtsc() -> u64 {
    // SAFETY: reads a counter.
    unsafe { _rdtsc() }
}

/// Waits for `PM_TICKS`; returns how many passed. `None` where the timer stands still.
fn wait_pm_timer(port: u16, bits: u32) -> Option<u32> {
    let mut timer = Port::<u32>::new(port);
    // SAFETY: the FADT names this port as the power management timer, which is read only.
    let mut read = || unsafe { timer.read() };
    let start = read();
    (0..MOST_POLLS)
        .map(|_| elapsed(start, read(), bits))
        .find(|&ticks| ticks >= PM_TICKS)
}

/// Waits for `PIT_TICKS` of channel 2, whose gate and output are in port 61h.
fn wait_pit() -> Option<u32> {
    let (mut control, mut data, mut gate) = (
        Port::<u8>::new(0x43),
        Port::<u8>::new(0x42),
        Port::<u8>::new(0x61),
    );
    // SAFETY: channel 2 drives the speaker only, which stays off (bit 1).
    unsafe {
        let old = gate.read();
        gate.write(old & !3);
        control.write(0b1011_0000);
        data.write(PIT_TICKS as u8);
        data.write((PIT_TICKS >> 8) as u8);
        gate.write(old & !3 | 1);
        let done = (0..MOST_POLLS).any(|_| gate.read() & 0x20 != 0);
        gate.write(old);
        done.then_some(u32::from(PIT_TICKS))
    }
}

/// The boot processor's local APIC, in the mode that firmware left it in.
enum Apic {
    Registers(*mut u32),
    Msrs,
}

impl Apic {
    fn find() -> Self {
        // SAFETY: every processor with long mode has this register.
        let base = unsafe { Msr::new(APIC_BASE).read() };
        if base & X2APIC != 0 {
            Self::Msrs
        } else {
            Self::Registers((base & 0x000f_ffff_ffff_f000) as *mut u32)
        }
    }

    fn read(&self, register: u32) -> u32 {
        match self {
            // SAFETY: the page of the local APIC, mapped by firmware; registers are 16 bytes apart.
            Self::Registers(base) => unsafe { base.add(register as usize * 4).read_volatile() },
            // SAFETY: x2APIC mode is on, so the register exists.
            Self::Msrs => unsafe { Msr::new(0x800 + register).read() as u32 },
        }
    }

    fn write(&self, register: u32, value: u32) {
        match self {
            // SAFETY: as for `read`; only the timer and the spurious vector register are written.
            Self::Registers(base) => unsafe {
                base.add(register as usize * 4).write_volatile(value)
            },
            // SAFETY: as for `read`.
            Self::Msrs => unsafe { Msr::new(0x800 + register).write(u64::from(value)) },
        }
    }

    /// Counts down from the top, masked.
    fn start(&self) {
        self.write(SPURIOUS, self.read(SPURIOUS) | 1 << 8);
        self.write(TIMER_LVT, MASKED | 0xff);
        self.write(TIMER_DIVIDE, DIVIDE_BY_1);
        self.write(TIMER_INITIAL, u32::MAX);
    }

    fn count(&self) -> u32 {
        self.read(TIMER_CURRENT)
    }

    fn stop(&self) {
        self.write(TIMER_INITIAL, 0);
    }
}
