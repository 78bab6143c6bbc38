//! The commands.

use core::sync::atomic::{AtomicU64, Ordering};

use pci::Interrupts;
use runtime::cmdline::{CommandLine, parse_number};
use runtime::{apic, clock, cpu, interrupt, println, vp};

use crate::device::{BUFFER_BYTES, Edu};

const VECTOR: u8 = 0x50;
/// To which a message may be moved meanwhile.
const OTHER_VECTOR: u8 = 0x51;
/// How long a message may take, in microseconds.
const ARRIVAL: u64 = 1_000_000;
/// What the page and the buffer hold before a transfer that may be blocked.
const BACKGROUND: u64 = 0x0bad_0bad_0bad_0bad;

/// Runs every command of the line; false when one failed.
pub fn run(edu: &Edu, line: CommandLine<'_>) -> bool {
    let mut good = true;
    for word in line.words() {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        good &= match (key, value) {
            ("self", _) => control(edu),
            ("dma", "write") => write(edu, line),
            ("dma", "read") => read(edu, line),
            ("dma", "sweep") => sweep(edu, line),
            ("start", "write") => start(edu, line),
            ("load", text) => load(edu, text),
            ("fill", value) => fill(edu, value),
            ("check", value) => check(edu, value),
            ("msi", "vectors") => vectors(edu),
            ("msi", "raw") => raw_message(edu, line),
            ("msi", _) => messages(edu, line),
            ("raise", _) => raise(edu, line),
            ("storm", _) => storm(edu, line),
            ("where", _) => report("where", true, format_args!("page {:#x}", edu.page())),
            _ => true,
        };
    }
    good
}

fn report(name: &str, good: bool, detail: core::fmt::Arguments<'_>) -> bool {
    println!("edu: {name} {} {detail}", if good { "ok" } else { "FAIL" });
    good
}

fn address(edu: &Edu, line: CommandLine<'_>) -> Option<u64> {
    match line.value("addr") {
        Some("own") => Some(edu.page()),
        _ => line.number("addr"),
    }
}

fn bytes(line: CommandLine<'_>) -> u64 {
    line.number("bytes").unwrap_or(64).clamp(1, BUFFER_BYTES)
}

fn value(line: CommandLine<'_>) -> u64 {
    line.number("value").unwrap_or(0x5a5a_5a5a_5a5a_5a5a)
}

fn wants_blocked(line: CommandLine<'_>) -> bool {
    line.value("expect") == Some("blocked")
}

fn control(edu: &Edu) -> bool {
    const VALUE: u64 = 0x1122_3344_5566_7788;
    let loaded = edu.load(VALUE);
    edu.fill(0);
    let good = loaded && edu.dma_out(edu.page(), 4096) && edu.matching(VALUE, 4096) == 512;
    report("self", good, format_args!("first {:#x}", edu.first()))
}

fn write(edu: &Edu, line: CommandLine<'_>) -> bool {
    let Some(target) = address(edu, line) else {
        return report("dma-write", false, format_args!("addr= is missing"));
    };
    let (bytes, value) = (bytes(line), value(line));
    if !edu.load(value) {
        return report("dma-write", false, format_args!("the device does not end"));
    }
    edu.fill(BACKGROUND);
    if !edu.dma_out(target, bytes) {
        return report("dma-write", false, format_args!("the device does not end"));
    }
    let landed = edu.matching(value, bytes);
    let own = line.value("addr") == Some("own");
    let good = !own || (landed == 0) == wants_blocked(line);
    report(
        "dma-write",
        good,
        format_args!("{target:#x} bytes {bytes} own-words {landed}"),
    )
}

fn read(edu: &Edu, line: CommandLine<'_>) -> bool {
    let Some(source) = address(edu, line) else {
        return report("dma-read", false, format_args!("addr= is missing"));
    };
    let (bytes, value) = (bytes(line), value(line));
    let own = line.value("addr") == Some("own");
    let mut good = edu.load(BACKGROUND);
    if own {
        edu.fill(value);
    }
    good &= edu.dma_in(source, bytes);
    edu.fill(0);
    good &= edu.dma_out(edu.page(), 4096);
    let seen = edu.matching(value, bytes);
    good &= (seen == 0) == wants_blocked(line);
    // What the read left alone comes out as it went in; otherwise the device did not work at all, which proves nothing.
    good &= bytes == BUFFER_BYTES || edu.last() == BACKGROUND;
    report(
        "dma-read",
        good,
        format_args!("{source:#x} words {seen} first {:#x}", edu.first()),
    )
}

fn sweep(edu: &Edu, line: CommandLine<'_>) -> bool {
    let (Some(from), Some(end)) = (line.number("addr"), line.number("end")) else {
        return report("dma-sweep", false, format_args!("addr= or end= is missing"));
    };
    let step = line.number("step").unwrap_or(4096).max(16);
    let mut good = edu.load(value(line));
    let mut count = 0_u64;
    let mut at = from;
    while at < end {
        good &= edu.dma_out(at, bytes(line));
        count += 1;
        at = at.saturating_add(step);
    }
    report("dma-sweep", good, format_args!("{count} writes"))
}

fn start(edu: &Edu, line: CommandLine<'_>) -> bool {
    let Some(target) = address(edu, line) else {
        return report("start-write", false, format_args!("addr= is missing"));
    };
    let good = line.has("loaded") || edu.load(value(line));
    edu.fill(BACKGROUND);
    // Told first: what follows has little time.
    println!("edu: begins");
    edu.begin_out(target, bytes(line));
    report("start-write", good, format_args!("{target:#x}"))
}

fn load(edu: &Edu, text: &str) -> bool {
    let good = parse_number(text).is_some_and(|value| edu.load(value));
    report("load", good, format_args!("{text}"))
}

fn fill(edu: &Edu, text: &str) -> bool {
    let Some(value) = parse_number(text) else {
        return report("fill", false, format_args!("no number"));
    };
    edu.fill(value);
    report("fill", true, format_args!("{value:#x}"))
}

fn check(edu: &Edu, text: &str) -> bool {
    let Some(value) = parse_number(text) else {
        return report("check", false, format_args!("no number"));
    };
    let words = edu.matching(value, 4096);
    report(
        "check",
        words != 0,
        format_args!("words {words} first {:#x}", edu.first()),
    )
}

fn wait_for(wanted: impl Fn() -> bool) -> bool {
    let end = clock::micros() + ARRIVAL;
    cpu::enable_interrupts();
    while clock::micros() < end {
        if wanted() {
            return true;
        }
        cpu::pause();
    }
    wanted()
}

fn messages(edu: &Edu, line: CommandLine<'_>) -> bool {
    let count = line.number("count").unwrap_or(10);
    if edu.message(VECTOR).is_none() {
        return report("msi", false, format_args!("it has no MSI"));
    }
    let before = interrupt::count(VECTOR);
    let mut arrived = 0;
    for number in 1..=count {
        edu.raise();
        if wait_for(|| interrupt::count(VECTOR) - before >= number) {
            arrived += 1;
        }
        edu.acknowledge();
    }
    let raised = interrupt::count(VECTOR) - before;
    report(
        "msi",
        arrived == count && raised == count,
        format_args!("raised {count} arrived {raised}"),
    )
}

fn raw_message(edu: &Edu, line: CommandLine<'_>) -> bool {
    let Some(message) = edu.message(VECTOR) else {
        return report("msi-raw", false, format_args!("it has no MSI"));
    };
    let address = line.number("addr").unwrap_or(0xfee0_0000) as u32;
    let data = line.number("data").unwrap_or(u64::from(VECTOR)) as u32;
    message.set_raw(0, address, data);
    let (seen, seen_data) = message.read_back();
    let before = interrupt::total();
    edu.raise();
    let arrived = wait_for(|| interrupt::total() != before);
    edu.acknowledge();
    let virtual_back = (seen, seen_data) == (address & !3, data & 0xffff);
    report(
        "msi-raw",
        arrived != wants_blocked(line) && virtual_back,
        format_args!("arrived {arrived} reads back {seen:#x} {seen_data:#x}"),
    )
}

fn raise(edu: &Edu, line: CommandLine<'_>) -> bool {
    let count = line.number("count").unwrap_or(1);
    let silent = line.value("expect") == Some("silent");
    cpu::enable_interrupts();
    let before = interrupt::total();
    for _ in 0..count {
        edu.raise();
        clock::spin_micros(10_000);
        edu.acknowledge();
    }
    let arrived = interrupt::total() - before;
    report(
        "raise",
        arrived == if silent { 0 } else { count },
        format_args!("raised {count} arrived {arrived}"),
    )
}

/// A message with the vector as data; whether just that vector arrived, once.
fn arrives(edu: &Edu, message: &Interrupts, vector: u8) -> bool {
    message.set_raw(0, 0xfee0_0000 | (apic::id() & 0xff) << 12, vector.into());
    let (before, all) = (interrupt::count(vector), interrupt::total());
    edu.raise();
    let came = wait_for(|| interrupt::count(vector) != before);
    edu.acknowledge();
    came && interrupt::total() == all + 1
}

fn vectors(edu: &Edu) -> bool {
    /// The console's timer.
    const TIMER: u8 = 0xee;
    let Some(message) = edu.message(VECTOR) else {
        return report("msi-vectors", false, format_args!("it has no MSI"));
    };
    cpu::enable_interrupts();
    let mut disturbed = 0;
    for vector in 0..16 {
        message.set_raw(0, 0xfee0_0000, vector);
        let before = interrupt::total();
        edu.raise();
        clock::spin_micros(2_000);
        disturbed += u32::from(interrupt::total() != before);
        edu.acknowledge();
    }
    let fair = || (32..=254).filter(|&vector| vector != TIMER);
    let missing = fair()
        .filter(|&vector| !arrives(edu, &message, vector))
        .count();
    report(
        "msi-vectors",
        disturbed == 0 && missing == 0,
        format_args!(
            "disturbed {disturbed} missing {missing} of {}",
            fair().count()
        ),
    )
}

/// Arrivals of the storm by VP.
static SHARES: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

fn share(_vector: u8) {
    if let Some(share) = SHARES.get(vp::index() as usize) {
        share.fetch_add(1, Ordering::AcqRel);
    }
}

fn idle(_index: u32) {
    loop {
        cpu::wait_for_interrupt();
    }
}

fn storm(edu: &Edu, line: CommandLine<'_>) -> bool {
    let seconds = line.number("seconds").unwrap_or(1);
    for vector in [VECTOR, OTHER_VECTOR] {
        interrupt::set_handler(vector, share);
    }
    if line.number("vps") == Some(2) && vp::start_by_ipi(1, 1, idle).is_err() {
        return report("storm", false, format_args!("VP 1 does not start"));
    }
    if edu.message(VECTOR).is_none() {
        return report("storm", false, format_args!("it has no MSI"));
    }
    println!("edu: storm begins");
    let arrived = || interrupt::count(VECTOR) + interrupt::count(OTHER_VECTOR);
    let before = arrived();
    let end = clock::micros() + seconds * 1_000_000;
    cpu::enable_interrupts();
    let mut raised = 0_u64;
    while clock::micros() < end {
        for _ in 0..10 {
            edu.raise();
            raised += 1;
        }
    }
    clock::spin_micros(10_000);
    let all = arrived();
    edu.raise();
    let last = wait_for(|| arrived() != all);
    edu.acknowledge();
    report(
        "storm",
        all != before && last,
        format_args!(
            "raised {raised} arrived {} last {last} vp0 {} vp1 {} second-vector {}",
            arrived() - before,
            SHARES[0].load(Ordering::Acquire),
            SHARES[1].load(Ordering::Acquire),
            interrupt::count(OTHER_VECTOR)
        ),
    )
}
