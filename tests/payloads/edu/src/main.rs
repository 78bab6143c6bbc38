//! Drives QEMU's edu device: DMA to and from any address, and messages of any kind.
//!
//! Each command is a line of words; the payload's command line is the first one. With the word `interactive` further
//! lines come from the console until `quit`. Every command prints `edu: NAME ok|FAIL detail`.
//!
//! - `self`: DMA out of and back into own memory (the positive control).
//! - `dma=write addr=A value=V [bytes=N]`: N bytes of V to A; `own` as A is the own page, which is then looked at:
//!   `expect=done` (the default) or `blocked`.
//! - `dma=read addr=A value=V [bytes=N] expect=done|blocked`: whether the device could read V at A.
//! - `dma=sweep addr=A end=B step=S value=V`: a write at every S bytes.
//! - `start=write addr=A value=V`: begins a write and does not wait for its end.
//! - `fill=V`, `check=V`: writes to, and looks at, the own page.
//! - `msi [count=N]`: N messages raised, N interrupts arrived.
//! - `msi=raw addr=A data=D [expect=blocked|done]`: the message as given; done when any vector arrives.
//! - `storm seconds=N`: messages as fast as they go.
//! - `where`: prints the device and the page.

#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

mod command;
mod device;

use runtime::cmdline::CommandLine;
use runtime::exit::Verdict;
use runtime::{input, println};

use device::Edu;

runtime::payload!(main);

fn main(line: CommandLine<'static>) -> Verdict {
    let edu = match Edu::open() {
        Ok(edu) => edu,
        Err(reason) => {
            println!("edu: open FAIL {reason}");
            return Verdict::Failure;
        }
    };
    println!("edu: at {} page {:#x}", edu.function(), edu.page());
    let mut good = command::run(&edu, line);
    if line.has("interactive") {
        println!("edu: ready");
        loop {
            let text = input::line();
            if text == "quit" {
                break;
            }
            good &= command::run(&edu, CommandLine(&text));
            println!("edu: ready");
        }
    }
    Verdict::from(good)
}
