//! Timers, clocks, and a VP that never yields.

use runtime::cmdline::CommandLine;
use runtime::{apic, clock as clocks, cpu, fault, interrupt, println};

use crate::report;

const VECTOR: u8 = 0x60;

fn ticks(micros: u64) -> u32 {
    let ticks = u128::from(clocks::apic_hz()) * u128::from(micros) / 1_000_000;
    u32::try_from(ticks).unwrap_or(u32::MAX).max(1)
}

/// CPU-29. Does not come back. With `shadow` interrupts are turned on and off again before one could be taken.
pub fn spin(line: CommandLine<'_>) -> bool {
    println!("probe: spin begins");
    if line.has("shadow") {
        cpu::spin_in_shadow();
    }
    cpu::disable_interrupts();
    loop {
        core::hint::black_box(0);
    }
}

/// Prints ticks; how late the latest came, against the clock.
pub fn heartbeat(line: CommandLine<'_>) -> bool {
    let period = line.number("period").unwrap_or(100).max(1) * 1000;
    let count = line.number("count").unwrap_or(u64::MAX);
    interrupt::set_handler(VECTOR, |_| {});
    let begin = clocks::micros();
    let mut latest = 0;
    for number in 1..=count {
        let due = begin + number * period;
        while let Some(left) = due.checked_sub(clocks::micros()).filter(|&left| left > 0) {
            // Not to be taken before the halt, however long this VP is preempted in between.
            cpu::disable_interrupts();
            apic::one_shot(VECTOR, ticks(left));
            cpu::wait_for_interrupt();
        }
        let late = clocks::micros() - due;
        latest = latest.max(late);
        if number == 1 || !line.has("quiet") {
            println!("probe: tick {number} late {late}");
        }
    }
    report(
        "heartbeat",
        true,
        format_args!("{count} ticks, latest {latest} us"),
    )
}

/// Periodic interrupts come as often as they should, within a third.
pub fn timer(_line: CommandLine<'_>) -> bool {
    const PERIOD: u64 = 2_000;
    const SPAN: u64 = 200_000;
    interrupt::set_handler(VECTOR, |_| {});
    let before = interrupt::count(VECTOR);
    let end = clocks::micros() + SPAN;
    apic::periodic(VECTOR, ticks(PERIOD));
    while clocks::micros() < end {
        cpu::wait_for_interrupt();
    }
    apic::stop_timer();
    let arrived = interrupt::count(VECTOR) - before;
    let wanted = SPAN / PERIOD;
    report(
        "timer",
        arrived * 3 >= wanted * 2 && arrived <= wanted * 4 / 3 + 2,
        format_args!("{arrived} of {wanted}"),
    )
}

/// The reference counter runs forward, and as fast as the TSC says.
pub fn clock(_line: CommandLine<'_>) -> bool {
    let read = || fault::read_msr(abi::msr::TIME_REF_COUNT);
    let (Ok(first), begin) = (read(), clocks::micros()) else {
        return report(
            "clock",
            false,
            format_args!("there is no reference counter"),
        );
    };
    let mut last = first;
    let mut backwards = 0;
    while clocks::micros() < begin + 100_000 {
        let now = read().unwrap_or(0);
        backwards += u32::from(now < last);
        last = now;
    }
    let passed = (last - first) / 10;
    report(
        "clock",
        backwards == 0 && (80_000..=120_000).contains(&passed),
        format_args!("100000 us were {passed} us, backwards {backwards}"),
    )
}
