//! Repeats its command line, says where it is, and ends.

#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use runtime::cmdline::CommandLine;
use runtime::exit::Verdict;
use runtime::{cpu, memory, println};

runtime::payload!(main);

fn main(line: CommandLine<'static>) -> Verdict {
    println!("hello: {}", line.0);
    println!("hello: hypercalls {}", cpu::has_hypercalls());
    for range in memory::ranges() {
        println!(
            "hello: memory {:#x}..{:#x} kind {}",
            range.start, range.end, range.kind
        );
    }
    for module in memory::modules() {
        println!("hello: module {} {} bytes", module.name, module.bytes.len());
    }
    Verdict::Success
}
