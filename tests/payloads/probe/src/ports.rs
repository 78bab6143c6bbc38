//! CFG-12: a port that was not given reads all ones, and a write to it goes nowhere.

use runtime::cmdline::CommandLine;
use runtime::{cpu, exit, port, println};

use crate::report;

/// Ports that a guest has: COM1, configuration space, the exit port.
const fn given(number: u16) -> bool {
    matches!(number, 0x3f8..=0x3ff | 0xcf8..=0xcff) || number == exit::PORT
}

pub fn sweep(line: CommandLine<'_>) -> bool {
    if !cpu::has_hypercalls() {
        return report(
            "ports",
            false,
            format_args!("on the machine's own ports it would reset it"),
        );
    }
    let step = line.number("step").unwrap_or(1).clamp(1, 4096) as usize;
    let (mut tried, mut answered) = (0_u32, 0_u32);
    for number in (0..=u16::MAX).step_by(step).filter(|&n| !given(n)) {
        // Resets, SMIs and the like: values that would do something where the write got through.
        port::write8(number, if number == 0xcf9 { 0x06 } else { 0xff });
        let value = port::read8(number);
        tried += 1;
        if value != 0xff {
            answered += 1;
            if answered <= 16 {
                println!("probe: port {number:#x} reads {value:#x}");
            }
        }
    }
    // Wider accesses, and ones that end beyond a given port.
    let wide = port::read32(0x60) == u32::MAX && port::read16(0x92) == u16::MAX;
    report(
        "ports",
        answered == 0 && wide,
        format_args!("{tried} tried, {answered} answered"),
    )
}
