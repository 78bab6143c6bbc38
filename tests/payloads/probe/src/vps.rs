//! Further VPs, and interrupts between them.

use core::sync::atomic::{AtomicU64, Ordering};

use abi::vendor::{Counters, CountersOf, EXIT_NAMES};
use abi::{Call, Status};
use runtime::cmdline::CommandLine;
use runtime::{MAX_VPS, apic, clock, cpu, hypercall, interrupt, println, vp};

use crate::report;

/// A question and its answer.
const ASK: u8 = 0x70;
const ANSWER: u8 = 0x71;
const ROUNDS: u64 = 100;
const PATIENCE: u64 = 2_000_000;

static ASKED: [AtomicU64; MAX_VPS] = [const { AtomicU64::new(0) }; MAX_VPS];
static FIRST_ID: AtomicU64 = AtomicU64::new(0);

fn asked(_vector: u8) {
    if let Some(count) = ASKED.get(vp::index() as usize) {
        count.fetch_add(1, Ordering::AcqRel);
    }
    apic::send(FIRST_ID.load(Ordering::Acquire) as u32, ANSWER);
}

fn idle(_index: u32) {
    loop {
        cpu::wait_for_interrupt();
    }
}

/// Starts `vps - 1` further VPs by start-up IPIs (APIC ids 1 and up) and asks each of them a hundred times.
pub fn ipi(line: CommandLine<'_>) -> bool {
    let vps = line.number("vps").unwrap_or(2).min(MAX_VPS as u64) as u32;
    FIRST_ID.store(u64::from(apic::id()), Ordering::Release);
    interrupt::set_handler(ASK, asked);
    interrupt::set_handler(ANSWER, |_| {});
    cpu::enable_interrupts();
    for index in 1..vps {
        if let Err(status) = vp::start_by_ipi(index, index, idle) {
            return report("ipi", false, format_args!("VP {index} {status:?}"));
        }
        println!("probe: VP {index} runs");
    }
    let answered = (1..vps).map(ask).sum::<u64>();
    let wanted = ROUNDS * u64::from(vps.saturating_sub(1));
    report(
        "ipi",
        answered == wanted,
        format_args!("{answered} of {wanted} answers"),
    )
}

/// Asks one VP, one question after the other; the answers that came.
fn ask(index: u32) -> u64 {
    let mut answered = 0;
    for _ in 0..ROUNDS {
        let before = interrupt::count(ANSWER);
        apic::send(index, ASK);
        let end = clock::micros() + PATIENCE;
        while interrupt::count(ANSWER) == before && clock::micros() < end {
            cpu::pause();
        }
        answered += interrupt::count(ANSWER) - before;
    }
    let seen = ASKED
        .get(index as usize)
        .map_or(0, |count| count.load(Ordering::Acquire));
    println!("probe: VP {index} was asked {seen} times");
    answered.min(seen)
}

/// Exits of this partition so far: all, and those for something of the host's.
fn exits() -> (u64, u64) {
    let request = CountersOf {
        partition: u64::MAX,
        lp: 0,
    };
    let counters: Result<Counters, Status> = hypercall::call(Call::VendorCounters, &request);
    let host = EXIT_NAMES.iter().position(|&name| name == "host");
    counters.map_or((0, 0), |counters| {
        let of_host = host.and_then(|index| counters.exits.get(index));
        (counters.exits.iter().sum(), of_host.copied().unwrap_or(0))
    })
}

/// Interrupts to itself: all arrive, each at once. How many exits they took depends on the processor.
pub fn self_interrupts(_line: CommandLine<'_>) -> bool {
    const COUNT: u64 = 1000;
    interrupt::set_handler(ASK, |_| {});
    cpu::enable_interrupts();
    let (before, _) = exits();
    let first = interrupt::count(ASK);
    let mut late = 0_u64;
    for number in 1..=COUNT {
        apic::send_to_self(ASK);
        late += u64::from(interrupt::count(ASK) - first != number);
    }
    let taken = exits().0 - before;
    let arrived = interrupt::count(ASK) - first;
    report(
        "self-ipi",
        arrived == COUNT && late == 0,
        format_args!("{arrived} of {COUNT} late {late} exits {taken} end"),
    )
}

fn count_asked(_vector: u8) {
    if let Some(count) = ASKED.get(vp::index() as usize) {
        count.fetch_add(1, Ordering::AcqRel);
    }
}

fn busy(_index: u32) {
    cpu::enable_interrupts();
    loop {
        core::hint::black_box(0);
    }
}

/// Interrupts to a VP that runs on and never waits: all arrive. Whether it leaves the guest for them depends on the processor.
pub fn post(_line: CommandLine<'_>) -> bool {
    const COUNT: u64 = 500;
    interrupt::set_handler(ASK, count_asked);
    cpu::enable_interrupts();
    if let Err(status) = vp::start_by_ipi(1, 1, busy) {
        return report("post", false, format_args!("VP 1 {status:?}"));
    }
    let asked = || {
        ASKED
            .get(1)
            .map_or(0, |count| count.load(Ordering::Acquire))
    };
    let (_, before) = exits();
    let mut arrived = 0;
    for _ in 0..COUNT {
        let seen = asked();
        apic::send(1, ASK);
        let end = clock::micros() + PATIENCE;
        while asked() == seen && clock::micros() < end {
            core::hint::black_box(0);
        }
        arrived += asked() - seen;
    }
    let left = exits().1 - before;
    report(
        "post",
        arrived == COUNT,
        format_args!("{arrived} of {COUNT} exits {left} end"),
    )
}
