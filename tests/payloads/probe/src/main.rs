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
//! - Registers with values that they may not have, each beside its control: `x2apic`, `own-apic` (CPU-02), `registers` (with
//!   `all`), `own-registers` (CPU-04), `filtered`, `unfiltered` (CPU-05), `addresses` (with `all`), `own-addresses` (CPU-20).
//! - Exceptions: `returns`, `good-returns` (CPU-07), `alignment`, `alignment-storm` (CPU-08), `steps`, `debug-storm`,
//!   `shadows` (CPU-10), `ring-3` (`but-wbinvd`), `ring-3-allowed` (HC-15). The storms do not come back.
//! - Two VPs (`vps=2`): `init-running`, `start-up-running` (CPU-11), `real-interrupts`, `task-switch` (CPU-15), `nmi-storm`,
//!   `nmi` (CPU-21), `commands` (INT-22), `wake` (INT-20), `cpuid-everywhere` (CPU-06). `nowhere` (CPU-11), `windows`.
//! - `strings`, `string-line` (CPU-14), `apic-errors` (CPU-17), `waits` (CPU-28), `unmapped`, `mapped` (CPU-30).
//! - `fresh`, `leave`, `found`, `keep` (CPU-23; `seed=S`; `but-cr2`), `kept`, `repetitions`, `synthetic`, `own-synthetic` (HC-24, 06, 19).
//! - `mem-fill`, `mem-scan` (MEM-06; `pattern=V`): all free memory; the scan wants zeroes.
//! - `touch addr=A` and `poke addr=A value=V`: one access. `watch addr=A seconds=N`: reads a page again and again.
//! - `lent` (TLB-10): the same with a page of its own, which somebody else changes or takes away.

#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

mod config;
mod control;
mod exits;
mod hypercalls;
mod instructions;
mod leaks;
mod memory;
mod msr;
mod ports;
mod processors;
mod rings;
mod time;
mod vps;

use core::fmt::Arguments;

use runtime::cmdline::CommandLine;
use runtime::exit::Verdict;
use runtime::{input, println};

runtime::payload!(main);

/// A probe: gets the line that names it, says whether it was good.
type Probe = fn(CommandLine<'_>) -> bool;

const PROBES: &[&[(&str, Probe)]] = &[
    &[
        ("cpuid", instructions::cpuid),
        ("msr", msr::sweep),
        ("instructions", instructions::privileged),
        ("ports", ports::sweep),
        ("config", config::scan),
        ("bar", config::bar),
        ("msix", config::msix),
        ("triple", instructions::triple),
        ("halt-off", instructions::halt_off),
    ],
    &[
        ("allowed", hypercalls::allowed),
        ("privileges", hypercalls::privileges),
        ("control-words", hypercalls::control_words),
        ("pages", hypercalls::pages),
        ("calls", hypercalls::fuzz),
        ("hypercall-page", hypercalls::page),
        ("repetitions", hypercalls::repetitions),
        ("synthetic", hypercalls::synthetic),
        ("own-synthetic", hypercalls::own_synthetic),
    ],
    &[
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
    ],
    &[
        ("x2apic", control::x2apic),
        ("own-apic", control::own_apic),
        ("registers", control::registers),
        ("own-registers", control::own_registers),
        ("filtered", control::filtered),
        ("unfiltered", control::unfiltered),
        ("addresses", control::addresses),
        ("own-addresses", control::own_addresses),
    ],
    &[
        ("returns", rings::returns),
        ("good-returns", rings::good_returns),
        ("ring-3", rings::ring_3),
        ("ring-3-allowed", rings::ring_3_allowed),
        ("alignment", rings::alignment),
        ("alignment-storm", rings::alignment_storm),
        ("debug-storm", rings::debug_storm),
        ("steps", rings::steps),
        ("shadows", rings::shadows),
    ],
    &[
        ("init-running", processors::init_running),
        ("start-up-running", processors::start_up_running),
        ("nowhere", processors::nowhere),
        ("real-interrupts", processors::real_interrupts),
        ("task-switch", processors::task_switch),
        ("nmi-storm", processors::nmi_storm),
        ("nmi", processors::nmi),
        ("commands", processors::commands),
        ("windows", processors::windows),
        ("wake", processors::wake),
        ("cpuid-everywhere", processors::cpuid_everywhere),
    ],
    &[
        ("strings", exits::strings),
        ("string-line", exits::string_line),
        ("apic-errors", exits::apic_errors),
        ("waits", exits::waits),
        ("unmapped", exits::unmapped),
        ("mapped", exits::mapped),
        ("fresh", leaks::fresh),
        ("leave", leaks::leave),
        ("found", leaks::found),
        ("keep", leaks::keep),
        ("kept", leaks::kept),
    ],
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
        let mut probes = PROBES.iter().copied().flatten();
        if let Some((_, probe)) = probes.find(|(name, _)| *name == word) {
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
