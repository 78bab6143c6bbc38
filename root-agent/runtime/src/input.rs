//! Lines typed at COM1: a payload's commands, one after the other.

use alloc::string::String;

use crate::serial::{COM1, Uart};
use crate::{apic, clock, cpu, interrupt};

/// Vector of the timer that looks for input.
const VECTOR: u8 = 0xee;
/// Between two looks, in milliseconds.
const PERIOD: u64 = 5;
/// Longest line; what is longer is cut.
const LONGEST: usize = 1024;

/// Waits for a line, halted between looks, and gives it without its end. Uses this VP's timer.
#[must_use]
pub fn line() -> String {
    interrupt::set_handler(VECTOR, |_| {});
    let mut line = String::new();
    loop {
        while let Some(byte) = Uart::new(COM1).read() {
            match byte {
                b'\r' | b'\n' if line.is_empty() => {}
                b'\r' | b'\n' => return line,
                byte if byte.is_ascii() && line.len() < LONGEST => line.push(char::from(byte)),
                _ => {}
            }
        }
        let ticks = clock::apic_hz() * PERIOD / 1000;
        // A VP that is preempted between the next two lines must not take the interrupt before it halts.
        cpu::disable_interrupts();
        apic::one_shot(VECTOR, u32::try_from(ticks).unwrap_or(u32::MAX).max(1));
        cpu::wait_for_interrupt();
    }
}
