//! CPU-14, CPU-17, CPU-28, CPU-30: exits as often as a guest can bring them about.

use runtime::cmdline::CommandLine;
use runtime::{apic, clock, cpu, fault, interrupt, println};

use crate::report;

const NO_PORT: u16 = 0x1234;
const UART: u16 = 0x3f8;

/// CPU-14: strings to and from a port that nobody has, longer than one message moves.
pub fn strings(_line: CommandLine<'_>) -> bool {
    let mut bytes = [0x5a_u8; 1500];
    let written = fault::port_string(NO_PORT, &mut bytes, true);
    let kept = bytes.iter().all(|&byte| byte == 0x5a);
    let (inside, outside) = bytes.split_at_mut(1300);
    let read = fault::port_string(NO_PORT, inside, false);
    let ones = inside.iter().all(|&byte| byte == 0xff);
    let beside = outside.iter().all(|&byte| byte == 0x5a);
    let none = fault::port_string(NO_PORT, &mut [], true);
    report(
        "strings",
        written.is_ok() && kept && read.is_ok() && ones && beside && none.is_ok(),
        format_args!("written {written:?} kept {kept} read {read:?} ones {ones} beside {beside}"),
    )
}

/// The control: a string to a port that is there; the line comes by it alone.
pub fn string_line(_line: CommandLine<'_>) -> bool {
    let mut line = *b"probe: string-line ok by one instruction\n";
    fault::port_string(UART, &mut line, true).is_ok()
}

/// CPU-17: interrupts with vectors that there are not, reported by an interrupt with such a vector, and the shortest timers.
pub fn apic_errors(_line: CommandLine<'_>) -> bool {
    const ERROR: u32 = 0x837;
    const STATUS: u32 = 0x828;
    const TIMER: u8 = 0x66;
    const ILLEGAL_RECEIVED_OR_SENT: u64 = 1 << 5 | 1 << 6;
    let mut errors = 0;
    for error_vector in [3, 0x67] {
        let _ = fault::write_apic(ERROR, error_vector);
        for vector in 0..16 {
            let _ = fault::write_apic(0x83f, vector);
            let _ = fault::write_apic(0x832, vector);
        }
        let _ = fault::write_apic(STATUS, 0);
        errors |= fault::read_msr(STATUS).unwrap_or(0);
    }
    let _ = fault::write_apic(ERROR, 1 << 16);
    interrupt::set_handler(0x67, |_| {});
    interrupt::set_handler(TIMER, |_| {});
    cpu::enable_interrupts();
    // Periods of a tick: as many interrupts as the processor can take, and no more.
    for count in [1, 2, 3] {
        let before = interrupt::count(TIMER);
        apic::periodic(TIMER, count);
        clock::spin_micros(3_000);
        apic::stop_timer();
        println!(
            "probe: {} interrupts with {count} ticks",
            interrupt::count(TIMER) - before
        );
    }
    // None: the timer stands.
    let before = interrupt::count(TIMER);
    apic::periodic(TIMER, 0);
    clock::spin_micros(3_000);
    let stands = interrupt::count(TIMER) - before <= 1;
    apic::stop_timer();
    report(
        "apic-errors",
        errors & ILLEGAL_RECEIVED_OR_SENT != 0 && stands && interrupt::count(TIMER) > 0,
        format_args!(
            "errors {errors:#x} stands {stands} interrupts {}",
            interrupt::count(TIMER)
        ),
    )
}

/// CPU-28: instructions that wait, or make the machine wait.
pub fn waits(_line: CommandLine<'_>) -> bool {
    let begin = clock::micros();
    let mut rounds = 0_u32;
    while clock::micros() < begin + 200_000 {
        for _ in 0..100 {
            cpu::pause();
        }
        fault::write_back();
        rounds += 1;
    }
    report("waits", rounds > 10, format_args!("{rounds} rounds"))
}

/// CPU-30: memory that is not there, all over the address space.
pub fn unmapped(line: CommandLine<'_>) -> bool {
    let count = line.number("count").unwrap_or(500);
    let mut wrong = 0;
    for number in 0..count {
        let address = 0xd000_0000 + (number * 0x1_1004) % 0x1000_0000;
        wrong += u32::from(fault::read_anywhere(address) != Ok(u32::MAX));
    }
    report(
        "unmapped",
        wrong == 0 && count > 0,
        format_args!("{wrong} of {count} not all ones"),
    )
}

/// The control: memory that is there.
pub fn mapped(_line: CommandLine<'_>) -> bool {
    let word = 0x600d_600d_u32;
    let good = fault::read_anywhere(&raw const word as u64) == Ok(word);
    report("mapped", good, format_args!("read {good}"))
}
