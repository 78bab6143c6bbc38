//! Drives QEMU's edu device: DMA to and from any address, and messages of any kind.
//!
//! Each command is a line of words; the payload's command line is the first one. With the word `interactive` further
//! lines come from the console until `quit`. Where a guest has several of the devices, `device=N` picks one, from 0. Every command prints `edu: NAME ok|FAIL detail`.
//!
//! - `self`: DMA out of and back into own memory (the positive control).
//! - `dma=write addr=A value=V [bytes=N]`: N bytes of V to A; `own` as A is the own page, which is then looked at:
//!   `expect=done` (the default) or `blocked`.
//! - `dma=read addr=A value=V [bytes=N] expect=done|blocked`: whether the device could read V at A.
//! - `dma=sweep addr=A end=B step=S value=V`: a write at every S bytes.
//! - `start=write addr=A value=V`: begins a write and does not wait for its end; with `loaded` of what
//!   `load=V` has put into the device before.
//! - `fill=V`, `check=V`: writes to, and looks at, the own page.
//! - `msi [count=N]`: N messages raised, N interrupts arrived.
//! - `msi=raw addr=A data=D [expect=blocked|done]`: the message as given; done when any vector arrives.
//! - `raise [count=N] expect=silent|arrive`: as the device is programmed, by whomever.
//! - `msi=vectors`: every vector as the message's data; those below 16 are no vectors and must stay silent.
//! - `storm seconds=N [vps=2]`: messages as fast as they go; VP 1 waits for its share. Both vectors 50h and 51h count.
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
    let Some(mut edu) = open(line) else {
        return Verdict::Failure;
    };
    let mut good = command::run(&edu, line);
    if line.has("interactive") {
        println!("edu: ready");
        loop {
            let text = input::line();
            if text == "quit" {
                break;
            }
            let line = CommandLine(&text);
            if line.number("device").is_some() {
                match open(line) {
                    Some(other) => edu = other,
                    None => good = false,
                }
            }
            good &= command::run(&edu, line);
            println!("edu: ready");
        }
    }
    Verdict::from(good)
}

/// The device that the line names, else the first.
fn open(line: CommandLine<'_>) -> Option<Edu> {
    match Edu::open(line.number("device").unwrap_or(0) as usize) {
        Ok(edu) => {
            println!("edu: at {} page {:#x}", edu.function(), edu.page());
            Some(edu)
        }
        Err(reason) => {
            println!("edu: open FAIL {reason}");
            None
        }
    }
}
