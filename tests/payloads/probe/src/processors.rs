//! CPU-11, CPU-15, CPU-21, INT-22: VPs that start, stop and interrupt one another.

use core::sync::atomic::{AtomicU64, Ordering};

use runtime::cmdline::CommandLine;
use runtime::fault::{self, NMI};
use runtime::real_mode::{self, DONE, Program};
use runtime::{apic, clock, control, cpu, interrupt, println, vp};

use crate::report;

const OTHER: u32 = 1;
const PATIENCE: u64 = 3_000_000;

/// How far the other VP has counted, and how often it has begun.
static COUNT: AtomicU64 = AtomicU64::new(0);
static BEGUN: AtomicU64 = AtomicU64::new(0);
/// How deep its handler of NMIs is, and was at most.
static DEPTH: AtomicU64 = AtomicU64::new(0);
static DEEPEST: AtomicU64 = AtomicU64::new(0);

fn count_on(_index: u32) {
    BEGUN.fetch_add(1, Ordering::AcqRel);
    cpu::enable_interrupts();
    loop {
        COUNT.fetch_add(1, Ordering::AcqRel);
        cpu::pause();
    }
}

/// Waits until something is so.
fn soon(mut what: impl FnMut() -> bool) -> bool {
    let end = clock::micros() + PATIENCE;
    while clock::micros() < end {
        if what() {
            return true;
        }
        cpu::pause();
    }
    what()
}

fn counts() -> bool {
    let before = COUNT.load(Ordering::Acquire);
    soon(|| COUNT.load(Ordering::Acquire) > before)
}

fn stands() -> bool {
    // What it was about to do, it does.
    clock::spin_micros(20_000);
    let before = COUNT.load(Ordering::Acquire);
    clock::spin_micros(50_000);
    COUNT.load(Ordering::Acquire) == before
}

/// CPU-11: INIT stops a running VP until it is started again.
pub fn init_running(_line: CommandLine<'_>) -> bool {
    let started = vp::start_by_ipi(OTHER, 1, count_on).is_ok() && counts();
    apic::send_init(OTHER);
    let stopped = stands();
    let again = vp::start_by_ipi(OTHER, 2, count_on).is_ok() && counts();
    let begun = BEGUN.load(Ordering::Acquire);
    report(
        "init-running",
        started && stopped && again && begun == 2,
        format_args!("started {started} stopped {stopped} again {again} begun {begun}"),
    )
}

/// CPU-11: a start-up IPI to a VP that runs does nothing; no more does one to a VP that is not there.
pub fn start_up_running(_line: CommandLine<'_>) -> bool {
    let started = vp::start_by_ipi(OTHER, 1, count_on).is_ok() && counts();
    for page in [8, 0xff] {
        apic::send_startup(OTHER, page);
        apic::send_startup(77, page);
    }
    let goes_on = counts() && counts();
    let begun = BEGUN.load(Ordering::Acquire);
    report(
        "start-up-running",
        started && goes_on && begun == 1,
        format_args!("started {started} goes on {goes_on} begun {begun}"),
    )
}

/// CPU-11. Does not come back.
pub fn nowhere(line: CommandLine<'_>) -> bool {
    println!("probe: nowhere begins");
    fault::jump_nowhere(line.number("addr").unwrap_or(0xd000_0000))
}

/// CPU-15: interrupts, faults and exits in real mode.
pub fn real_interrupts(_line: CommandLine<'_>) -> bool {
    real_mode::start(OTHER, Program::Interrupts);
    let done = soon(|| real_mode::word(5) == DONE);
    let words = [0, 1, 2, 3, 4].map(real_mode::word);
    let expected = [2, 1, cpu::cpuid(0, 0).ebx, 0xff, 2];
    report(
        "real-interrupts",
        done && words == expected,
        format_args!("done {done} {words:x?} expected {expected:x?}"),
    )
}

/// CPU-15: a hardware task switch.
pub fn task_switch(_line: CommandLine<'_>) -> bool {
    println!("probe: task-switch begins");
    real_mode::start(OTHER, Program::TaskSwitch);
    let done = soon(|| real_mode::word(5) == DONE);
    let before = real_mode::word(0);
    report(
        "task-switch",
        done && before == 1,
        format_args!("before {before} done {done}"),
    )
}

fn on_nmi(_vector: u8) {
    let depth = DEPTH.fetch_add(1, Ordering::AcqRel) + 1;
    DEEPEST.fetch_max(depth, Ordering::AcqRel);
    // Exits, on whose way back NMIs must stay blocked.
    let _ = cpu::cpuid(0, 0);
    let _ = fault::read_msr(0x1b);
    DEPTH.fetch_sub(1, Ordering::AcqRel);
}

/// CPU-21: NMIs as fast as a VP can send them. Each that is waited for arrives, and none inside another's handler.
pub fn nmi_storm(line: CommandLine<'_>) -> bool {
    let wanted = line.number("count").unwrap_or(1000);
    interrupt::set_handler(NMI, on_nmi);
    if vp::start_by_ipi(OTHER, 1, count_on).is_err() || !counts() {
        return report(
            "nmi-storm",
            false,
            format_args!("the other VP does not start"),
        );
    }
    let mut lost = 0;
    for _ in 0..wanted.min(100) {
        let before = interrupt::count(NMI);
        apic::send_nmi(OTHER);
        lost += u32::from(!soon(|| interrupt::count(NMI) > before));
    }
    let before = interrupt::count(NMI);
    (0..wanted).for_each(|_| apic::send_nmi(OTHER));
    let stormed = soon(|| interrupt::count(NMI) > before) && counts();
    let (arrived, deepest) = (
        interrupt::count(NMI) - before,
        DEEPEST.load(Ordering::Acquire),
    );
    report(
        "nmi-storm",
        lost == 0 && stormed && arrived <= wanted && deepest == 1,
        format_args!("lost {lost} arrived {arrived} of {wanted} deepest {deepest}"),
    )
}

/// The control: one NMI to oneself, with interrupts off.
pub fn nmi(_line: CommandLine<'_>) -> bool {
    interrupt::set_handler(NMI, on_nmi);
    cpu::disable_interrupts();
    let before = interrupt::count(NMI);
    apic::send_nmi(apic::id());
    let one = soon(|| interrupt::count(NMI) == before + 1);
    report("nmi", one, format_args!("one {one}"))
}

const IPI: u8 = 0x72;
const ICR: u32 = 0x830;

/// INT-22: every delivery mode, shorthand and destination that there can be in the command register.
pub fn commands(_line: CommandLine<'_>) -> bool {
    interrupt::set_handler(IPI, |_| {});
    cpu::enable_interrupts();
    if vp::start_by_ipi(OTHER, 1, count_on).is_err() {
        return report(
            "commands",
            false,
            format_args!("the other VP does not start"),
        );
    }
    let mut refused = 0;
    // Fixed, lowest priority, SMI, reserved ones; not NMI, INIT, start-up, which are for others.
    for mode in [0_u64, 1, 2, 3, 7] {
        for shorthand in 0..4_u64 {
            for destination in [0_u64, 1, 2, 77, 0xffff, 0x1_0001, 0xffff_fffe, 0xffff_ffff] {
                for more in [0, 1 << 11, 1 << 12, 1 << 15] {
                    let vector = if mode == 0 && more & 1 << 11 != 0 {
                        3
                    } else {
                        u64::from(IPI)
                    };
                    let value =
                        destination << 32 | shorthand << 18 | more | 1 << 14 | mode << 8 | vector;
                    refused += u32::from(fault::write_apic(ICR, value).is_err());
                }
            }
        }
    }
    let reserved = fault::write_apic(ICR, 1 << 20 | u64::from(IPI)).is_err();
    let good = soon(|| interrupt::count(IPI) > 1) && counts();
    report(
        "commands",
        good && reserved,
        format_args!(
            "arrived {} refused {refused} reserved refused {reserved}",
            interrupt::count(IPI)
        ),
    )
}

static ORDER: AtomicU64 = AtomicU64::new(0);

fn note(vector: u8) {
    let order = ORDER.load(Ordering::Acquire);
    ORDER.store(order << 8 | u64::from(vector), Ordering::Release);
}

/// Interrupts that wait for a window come by their priority, and those below the task's wait longer.
pub fn windows(_line: CommandLine<'_>) -> bool {
    const LOW: u8 = 0x41;
    const MIDDLE: u8 = 0x62;
    const HIGH: u8 = 0x83;
    for vector in [LOW, MIDDLE, HIGH] {
        interrupt::set_handler(vector, note);
    }
    cpu::disable_interrupts();
    let _ = fault::write_apic(0x808, 0x70);
    for vector in [LOW, HIGH, MIDDLE] {
        apic::send_to_self(vector);
    }
    let none = ORDER.load(Ordering::Acquire) == 0;
    cpu::enable_interrupts();
    let first = soon(|| ORDER.load(Ordering::Acquire) == u64::from(HIGH));
    // By CR8, which leaves the guest only where an interrupt waits below it.
    let lowered = control::set_cr8(0);
    let all = soon(|| ORDER.load(Ordering::Acquire) == 0x83_6241);
    report(
        "windows",
        none && first && lowered && all,
        format_args!(
            "none {none} first {first} all {all} order {:#x}",
            ORDER.load(Ordering::Acquire)
        ),
    )
}

/// An interrupt wakes a VP that halts, a thousand times, by turns.
pub fn wake(_line: CommandLine<'_>) -> bool {
    const ROUNDS: u64 = 300;
    fn sleep(_index: u32) {
        loop {
            cpu::wait_for_interrupt();
        }
    }
    interrupt::set_handler(IPI, |_| {
        COUNT.fetch_add(1, Ordering::AcqRel);
    });
    let started = vp::start_by_ipi(OTHER, 1, sleep).is_ok();
    let mut woken = 0;
    for _ in 0..ROUNDS {
        let before = COUNT.load(Ordering::Acquire);
        apic::send(OTHER, IPI);
        woken += u64::from(soon(|| COUNT.load(Ordering::Acquire) > before));
    }
    report(
        "wake",
        started && woken == ROUNDS,
        format_args!("started {started} woken {woken} of {ROUNDS}"),
    )
}

/// CPU-06: every VP is told the same of itself, but its own number.
pub fn cpuid_everywhere(_line: CommandLine<'_>) -> bool {
    static SUM: AtomicU64 = AtomicU64::new(0);
    fn say(_index: u32) {
        SUM.store(sum(), Ordering::Release);
        // It must not be seen to halt for ever.
        count_on(0);
    }
    let started = vp::start_by_ipi(OTHER, 1, say).is_ok();
    let ours = sum();
    let same = started && soon(|| SUM.load(Ordering::Acquire) == ours);
    let leaf = cpu::cpuid;
    let ids = (leaf(1, 0).ebx >> 24, leaf(11, 0).edx);
    let own = ids == (apic::id(), apic::id());
    // No serial number; power, monitoring, counters and trace are nobody's.
    let hidden = [3, 5, 6, 10, 0x14].into_iter().all(|number| {
        let answer = leaf(number, 0);
        number == 6 || (answer.eax, answer.ebx, answer.ecx, answer.edx) == (0, 0, 0, 0)
    });
    let extended = leaf(13, 0);
    let sizes = extended.ecx >= 576 && extended.ebx <= extended.ecx;
    report(
        "cpuid-everywhere",
        same && own && hidden && sizes,
        format_args!("same {same} own {own} hidden {hidden} sizes {sizes} ids {ids:x?}"),
    )
}

/// AMD64 APM volume 3, appendix E: a leaf of nothing but numbers of the VP.
const OWN_NUMBERS: u32 = 0x8000_001e;

/// All leaves, but for the numbers of the VP.
fn sum() -> u64 {
    let mut sum = 1_u64;
    let mut add = |value: u32| {
        sum = (sum ^ u64::from(value))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29)
    };
    for base in [0, 0x4000_0000, 0x8000_0000] {
        for number in (0..=0x20).filter(|number| base + number != OWN_NUMBERS) {
            let answer = cpu::cpuid(base + number, 0);
            add(answer.eax);
            add(if number == 1 {
                answer.ebx & 0xff_ffff
            } else {
                answer.ebx
            });
            add(answer.ecx);
            add(if number == 11 { 0 } else { answer.edx });
        }
    }
    sum
}
