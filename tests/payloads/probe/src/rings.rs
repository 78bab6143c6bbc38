//! CPU-07, CPU-08, CPU-09, CPU-10, HC-15: exceptions that a guest brings about, on its way to and from ring 3 and by single
//! steps.

use runtime::cmdline::CommandLine;
use runtime::fault::{self, ALIGNMENT, DEBUG, GENERAL_PROTECTION, INVALID_OPCODE};
use runtime::user::{End, Mode, User, WITH_INTERRUPTS};
use runtime::{control, cpu, interrupt, println, steps};

use crate::report;

/// UD2: the end of a program.
const END: [u8; 2] = [0x0f, 0x0b];
const TRAP: u64 = 1 << 8;
const CHECK: u64 = 1 << 18;

fn user(name: &str, probe: impl FnOnce(&User) -> bool) -> bool {
    match User::new() {
        Some(user) => probe(&user),
        None => report(name, false, format_args!("no large page is free")),
    }
}

/// CPU-07: IRET and SYSRET to where nothing can be, and IRET with the flag of a nested task.
pub fn returns(_line: CommandLine<'_>) -> bool {
    user("returns", |user| {
        let ends = [
            ("IRET", user.return_nowhere()),
            ("nested IRET", user.return_nested()),
            ("SYSRET", user.sysret(&END, true)),
        ];
        let mut wrong = 0;
        for (name, end) in ends {
            if end.vector != GENERAL_PROTECTION {
                println!("probe: {name} gave {end:?}");
                wrong += 1;
            }
        }
        report("returns", wrong == 0, format_args!("wrong {wrong}"))
    })
}

/// The control: the same ways lead to a program where there is one.
pub fn good_returns(_line: CommandLine<'_>) -> bool {
    user("good-returns", |user| {
        let there = |end: End| (end.vector, end.offset) == (INVALID_OPCODE, 0);
        let iret = there(user.run(&END, Mode::Long, 0));
        let narrow = there(user.run(&END, Mode::Compatibility, 0));
        let sysret = there(user.sysret(&END, false));
        report(
            "good-returns",
            iret && narrow && sysret,
            format_args!("iret {iret} 32-bit {narrow} sysret {sysret}"),
        )
    })
}

/// HC-15, CPU-12: what a program of ring 3 may not do is refused to it, hypercalls too. With `but-wbinvd`, that one is left out.
pub fn ring_3(line: CommandLine<'_>) -> bool {
    const PROGRAMS: [(&str, &[u8], u8); 12] = [
        ("VMCALL", &[0x0f, 0x01, 0xc1], INVALID_OPCODE),
        ("VMMCALL", &[0x0f, 0x01, 0xd9], INVALID_OPCODE),
        ("HLT", &[0xf4], GENERAL_PROTECTION),
        ("CLI", &[0xfa], GENERAL_PROTECTION),
        ("IN", &[0xec], GENERAL_PROTECTION),
        ("OUTSB", &[0x6e], GENERAL_PROTECTION),
        ("RDMSR", &[0x0f, 0x32], GENERAL_PROTECTION),
        ("WRMSR", &[0x0f, 0x30], GENERAL_PROTECTION),
        ("WBINVD", &[0x0f, 0x09], GENERAL_PROTECTION),
        ("MOV CR0", &[0x0f, 0x22, 0xc0], GENERAL_PROTECTION),
        ("LIDT", &[0x0f, 0x01, 0x1f], GENERAL_PROTECTION),
        ("INVLPG", &[0x0f, 0x01, 0x3f], GENERAL_PROTECTION),
    ];
    user("ring-3", |user| {
        let mut wrong = 0;
        let left_out = |name| name == "WBINVD" && line.has("but-wbinvd");
        for (name, code, vector) in PROGRAMS.into_iter().filter(|it| !left_out(it.0)) {
            for mode in [Mode::Long, Mode::Compatibility] {
                let end = user.run(&[code, &END].concat(), mode, 0);
                if (end.vector, end.offset) != (vector, 0) {
                    println!("probe: {name} in {mode:?} gave {end:?}");
                    wrong += 1;
                }
            }
        }
        report("ring-3", wrong == 0, format_args!("wrong {wrong}"))
    })
}

/// The control: what ring 3 may do, exits included, goes on to the program's end.
pub fn ring_3_allowed(_line: CommandLine<'_>) -> bool {
    // XOR EAX, EAX; CPUID; PAUSE; RDTSC; MOV EAX, 12345678h.
    const CODE: [u8; 15] = [
        0x31, 0xc0, 0x0f, 0xa2, 0xf3, 0x90, 0x0f, 0x31, 0xb8, 0x78, 0x56, 0x34, 0x12, 0x0f, 0x0b,
    ];
    user("ring-3-allowed", |user| {
        let ends =
            [Mode::Long, Mode::Compatibility].map(|mode| user.run(&CODE, mode, WITH_INTERRUPTS));
        let good = ends
            .iter()
            .all(|end| (end.vector, end.offset, end.rax) == (INVALID_OPCODE, 13, 0x1234_5678));
        report("ring-3-allowed", good, format_args!("{ends:?}"))
    })
}

/// MOV EAX, [RDI + 1]: not aligned.
const MISALIGNED: [u8; 5] = [0x8b, 0x47, 0x01, 0x0f, 0x0b];

/// CPU-08: the same exception for ever: its handler mends nothing. Does not come back.
pub fn alignment_storm(_line: CommandLine<'_>) -> bool {
    interrupt::set_handler(ALIGNMENT, |_| {});
    storm("alignment-storm", |user| {
        control::allow_alignment_checks();
        user.run(&MISALIGNED, Mode::Long, CHECK | WITH_INTERRUPTS)
    })
}

/// The control: one such exception, and with the check off none.
pub fn alignment(_line: CommandLine<'_>) -> bool {
    user("alignment", |user| {
        control::allow_alignment_checks();
        let checked = user.run(&MISALIGNED, Mode::Long, CHECK);
        let unchecked = user.run(&MISALIGNED, Mode::Long, 0);
        report(
            "alignment",
            (checked.vector, checked.offset) == (ALIGNMENT, 0)
                && (unchecked.vector, unchecked.offset) == (INVALID_OPCODE, 3),
            format_args!("checked {checked:?} unchecked {unchecked:?}"),
        )
    })
}

/// CPU-09: single steps for ever. Does not come back.
pub fn debug_storm(_line: CommandLine<'_>) -> bool {
    interrupt::set_handler(DEBUG, |_| {});
    // JMP to itself.
    storm("debug-storm", |user| {
        user.run(&[0xeb, 0xfe], Mode::Long, TRAP | WITH_INTERRUPTS)
    })
}

fn storm(name: &str, run: impl FnOnce(&User) -> End) -> bool {
    user(name, |user| {
        println!("probe: {name} begins");
        let end = run(user);
        report(name, false, format_args!("it ended: {end:?}"))
    })
}

fn debugged(step: fn()) -> u64 {
    let before = interrupt::count(DEBUG);
    let on = cpu::interrupts_enabled();
    step();
    if on {
        cpu::enable_interrupts();
    }
    interrupt::count(DEBUG) - before
}

/// The control: as many debug exceptions as there are steps, and one for a watched write.
pub fn steps(_line: CommandLine<'_>) -> bool {
    interrupt::set_handler(DEBUG, |_| {});
    println!("probe: steps begins");
    let (plain, leaving, watched) = (
        debugged(steps::plain),
        debugged(steps::leaving),
        debugged(steps::watched_write),
    );
    // Behind the two instructions come the three that end it.
    report(
        "steps",
        plain == leaving && (4..=5).contains(&plain) && watched == 1,
        format_args!("plain {plain} leaving {leaving} watched {watched}"),
    )
}

/// CPU-10: in a shadow, with exceptions waiting. None is lost that the control sees, but those which a shadow holds back.
pub fn shadows(_line: CommandLine<'_>) -> bool {
    const STEPS: [(&str, fn()); 7] = [
        ("MOV SS", steps::stack_segment),
        ("MOV SS, exit", steps::stack_segment_leaving),
        ("STI", steps::interrupts_on),
        ("STI, exit", steps::interrupts_on_leaving),
        ("MOV SS, INT1", steps::stack_segment_trap),
        ("STI, INT1", steps::interrupts_on_trap),
        ("watched MOV SS, exit", steps::watched_stack_segment),
    ];
    interrupt::set_handler(DEBUG, |_| {});
    println!("probe: shadows begins");
    let mut wrong = 0;
    for (name, step) in STEPS {
        let count = debugged(step);
        println!("probe: {name}: {count} exceptions");
        // A breakpoint met in MOV SS may be dropped with it.
        wrong += u32::from(count < 3 && !name.starts_with("watched"));
    }
    let alive = fault::read_msr(abi::msr::TIME_REF_COUNT).is_ok();
    report(
        "shadows",
        wrong == 0 && alive,
        format_args!("wrong {wrong}"),
    )
}
