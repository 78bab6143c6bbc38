//! What leaving the guest costs, in ticks of the TSC. Each figure is a line `bench NAME=MEDIAN samples=N min=MINIMUM`, and under
//! the hypervisor `exits-in-tenths=N` for the exits of one sample.
//!
//! Command line: `samples=N` (at least 1000, 1000 unless told).

#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use abi::Call;
use abi::vendor::{Counters, CountersOf};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use pci::{Interrupts, Way, register};
use runtime::cmdline::CommandLine;
use runtime::exit::Verdict;
use runtime::mmio::Mmio;
use runtime::{apic, clock, cpu, hypercall, interrupt, measure, println};

runtime::payload!(main);

const EOI_VECTOR: u8 = 0x60;
const DEVICE_VECTOR: u8 = 0x61;
const EDU: u32 = 0x11e8_1234;
const RAISE: u64 = 0x60;
const ACKNOWLEDGE: u64 = 0x64;
/// A port that no guest is given.
const NO_PORT: u16 = 0x1234;
/// How long a message may take, in microseconds.
const PATIENCE: u64 = 1_000_000;

static EOI_TICKS: AtomicU64 = AtomicU64::new(0);

fn main(line: CommandLine<'static>) -> Verdict {
    let samples = line.number("samples").unwrap_or(1000).max(1000);
    figure("time_stamps", samples, || Some(measure::nothing()));
    figure("cpuid_exit", samples, || Some(measure::cpuid()));
    if cpu::has_hypercalls() {
        figure("null_hypercall", samples, || {
            Some(measure::unknown_hypercall())
        });
        figure("msr_exit", samples, || {
            Some(measure::read_msr(abi::msr::GUEST_OS_ID))
        });
    }
    interrupt::set_handler_without_eoi(EOI_VECTOR, |_| {
        EOI_TICKS.store(measure::eoi(), Ordering::Release);
    });
    cpu::enable_interrupts();
    figure("apic_eoi", samples, eoi);
    match device() {
        Some(registers) => figure("device_interrupt", samples, || message(&registers)),
        None => println!("bench: no edu device, so no device_interrupt"),
    }
    cpu::disable_interrupts();
    figure("intercept_to_root_and_back", samples, || {
        Some(measure::read_port(NO_PORT))
    });
    Verdict::Success
}

/// Takes samples, the first ones thrown away, and prints median and minimum.
fn figure(name: &str, samples: u64, mut sample: impl FnMut() -> Option<u64>) {
    for _ in 0..16 {
        let _ = sample();
    }
    let before = exits();
    let mut taken: Vec<u64> = (0..samples).filter_map(|_| sample()).collect();
    let after = exits();
    taken.sort_unstable();
    let (Some(median), Some(minimum)) = (taken.get(taken.len() / 2), taken.first()) else {
        println!("bench: {name} gave no sample");
        return;
    };
    let count = taken.len() as u64;
    let each = match (before, after) {
        // The call that asks leaves the guest once itself.
        (Some(before), Some(after)) => {
            let all = after.saturating_sub(before + 1);
            format!(" exits-in-tenths={}", (all * 10 + count / 2) / count)
        }
        _ => String::new(),
    };
    println!("bench {name}={median} samples={count} min={minimum}{each}");
}

/// Exits of this guest so far.
fn exits() -> Option<u64> {
    let own = CountersOf {
        partition: u64::MAX,
        lp: 0,
    };
    let counters: Counters = hypercall::call(Call::VendorCounters, &own).ok()?;
    Some(counters.exits.iter().sum())
}

/// An interrupt to oneself, and what its end costs.
fn eoi() -> Option<u64> {
    EOI_TICKS.store(0, Ordering::Release);
    apic::send_to_self(EOI_VECTOR);
    let end = clock::micros() + PATIENCE;
    loop {
        let ticks = EOI_TICKS.load(Ordering::Acquire);
        if ticks != 0 {
            return Some(ticks);
        }
        if clock::micros() > end {
            return None;
        }
    }
}

/// The edu device, its message on.
fn device() -> Option<Mmio> {
    let function = pci::open().find(&[EDU])?;
    function.command(register::MEMORY | register::MASTER, 0);
    let registers = function.map_bar(0)?;
    interrupt::set_time_stamp(DEVICE_VECTOR);
    Interrupts::open(function, apic::id(), DEVICE_VECTOR, Some(Way::Msi))?;
    Some(registers)
}

/// From just before the store that raises the message to the first instruction of its handler.
fn message(registers: &Mmio) -> Option<u64> {
    let _ = interrupt::take_stamp();
    let begin = registers.write32_stamped(RAISE, 1);
    let end = clock::micros() + PATIENCE;
    loop {
        let stamp = interrupt::take_stamp();
        if stamp != 0 {
            registers.write32(ACKNOWLEDGE, u32::MAX);
            return Some(stamp.wrapping_sub(begin));
        }
        if clock::micros() > end {
            return None;
        }
    }
}
