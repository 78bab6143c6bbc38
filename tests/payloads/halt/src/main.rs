//! Does nothing, with interrupts on, for ever: what stands in for a payload to see whether its scenario notices.

#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use runtime::cmdline::CommandLine;
use runtime::cpu;
use runtime::exit::Verdict;

runtime::payload!(main);

fn main(_line: CommandLine<'static>) -> Verdict {
    loop {
        cpu::wait_for_interrupt();
    }
}
