//! CPU-23, HC-24: registers that must be a VP's own.

use runtime::cmdline::CommandLine;
use runtime::{clock, cpu, state};

use crate::report;

fn seed(line: CommandLine<'_>) -> u64 {
    line.number("seed").unwrap_or(1)
}

fn with_cr2(line: CommandLine<'_>) -> bool {
    !line.has("but-cr2")
}

/// What a new VP finds: nothing of anybody.
pub fn fresh(line: CommandLine<'_>) -> bool {
    let differing = state::differing(None, with_cr2(line));
    report(
        "fresh",
        differing == 0,
        format_args!("{differing} registers hold something"),
    )
}

/// Leaves a pattern.
pub fn leave(line: CommandLine<'_>) -> bool {
    state::fill(seed(line));
    let differing = state::differing(Some(seed(line)), with_cr2(line));
    report(
        "leave",
        differing == 0,
        format_args!("{differing} registers do not keep it"),
    )
}

/// The control: what is left is not nothing.
pub fn found(line: CommandLine<'_>) -> bool {
    state::fill(seed(line));
    let differing = state::differing(None, with_cr2(line));
    report(
        "found",
        differing > 500,
        format_args!("{differing} registers hold something"),
    )
}

/// A pattern that must stay while others run on the same LP with theirs.
pub fn keep(line: CommandLine<'_>) -> bool {
    let end = clock::micros() + line.number("ms").unwrap_or(300) * 1000;
    state::fill(seed(line));
    let (mut differing, mut rounds) = (0, 0_u32);
    while clock::micros() < end && differing == 0 {
        // Gives way, so that there is something to switch.
        let pause = clock::micros() + 500;
        while clock::micros() < pause {
            cpu::pause();
        }
        differing = state::differing(Some(seed(line)), with_cr2(line));
        rounds += 1;
    }
    report(
        "keep",
        differing == 0 && rounds > 5,
        format_args!("{differing} registers changed in {rounds} rounds"),
    )
}

/// HC-24: an exit changes no register but those that are its result.
pub fn kept(line: CommandLine<'_>) -> bool {
    let mut lost = 0;
    for number in 0..200 {
        lost += state::lost_in_exits(seed(line) + number);
    }
    report("kept", lost == 0, format_args!("{lost} lost"))
}
