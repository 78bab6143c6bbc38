//! Probes of what a guest's processor may do. Each is chosen by its name as a word of the command line and prints
//! `probe: NAME ok|FAIL detail`; the exit code says whether all were good. With the word `interactive` further lines
//! come from the console until `quit`.
//!
//! - `cpuid`, `msr` (CPU-01), `instructions` (CPU-18), `ports` (CFG-12), `config` (CFG-11; `expect=N` functions; `buses=N` by ports),
//!   `bar` (CFG-01 and CFG-03 on the first device given), `msix addr=A data=D` (INT-02 likewise).
//! - `allowed` (their control), `privileges` (HC-16), `control-words` (HC-05), `pages` (HC-03), `calls` (HC-01; `count=N seed=S`).
//! - `triple`, `halt-off` (CPU-11): they do not come back. `spin` (CPU-29): neither, with interrupts off.
//! - `heartbeat` (`period=MS count=N`): prints `probe: tick N`, with `quiet` only the first. `timer`, `ipi` (`vps=N`), `clock`.
//! - `self-ipi`, `post` (two VPs): interrupts that arrive while the guest runs, and the exits that they took.
//! - `mem-fill`, `mem-scan` (MEM-06; `pattern=V`): all free memory; the scan wants zeroes.
//! - `touch addr=A` and `poke addr=A value=V`: one access. `watch addr=A seconds=N`: reads a page again and again.
//! - `lent` (TLB-10): the same with a page of its own, which somebody else changes or takes away.

#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

mod config;
mod hypercalls;
mod instructions;
mod memory;
mod msr;
mod ports;
mod time;
mod vps;

use core::fmt::Arguments;

use runtime::cmdline::CommandLine;
use runtime::exit::Verdict;
use runtime::{input, println};

runtime::payload!(main);

/// A probe: gets the line that names it, says whether it was good.
type Probe = fn(CommandLine<'_>) -> bool;

const PROBES: [(&str, Probe); 27] = [
    ("cpuid", instructions::cpuid),
    ("msr", msr::sweep),
    ("instructions", instructions::privileged),
    ("ports", ports::sweep),
    ("config", config::scan),
    ("bar", config::bar),
    ("msix", config::msix),
    ("allowed", hypercalls::allowed),
    ("privileges", hypercalls::privileges),
    ("control-words", hypercalls::control_words),
    ("pages", hypercalls::pages),
    ("calls", hypercalls::fuzz),
    ("triple", instructions::triple),
    ("halt-off", instructions::halt_off),
    ("spin", time::spin),
    ("heartbeat", time::heartbeat),
    ("timer", time::timer),
    ("clock", time::clock),
    ("ipi", vps::ipi),
    ("self-ipi", vps::self_interrupts),
    ("post", vps::post),
    ("mem-fill", memory::fill),
    ("mem-scan", memory::scan),
    ("touch", memory::touch),
    ("poke", memory::poke),
    ("watch", memory::watch),
    ("lent", memory::lent),
];

fn main(line: CommandLine<'static>) -> Verdict {
    let mut good = run(line);
    if line.has("interactive") {
        println!("probe: ready");
        loop {
            let text = input::line();
            if text == "quit" {
                break;
            }
            good &= run(CommandLine(&text));
            println!("probe: ready");
        }
    }
    Verdict::from(good)
}

fn run(line: CommandLine<'_>) -> bool {
    let mut good = true;
    for word in line.words() {
        if let Some((_, probe)) = PROBES.iter().find(|(name, _)| *name == word) {
            good &= probe(line);
        }
    }
    good
}

/// Prints the verdict of a probe, and passes it on.
fn report(name: &str, good: bool, detail: Arguments<'_>) -> bool {
    println!(
        "probe: {name} {} {detail}",
        if good { "ok" } else { "FAIL" }
    );
    good
}
