//! HC-01, HC-03, HC-05, HC-16: hypercalls of a guest that has no rights.

use abi::call::Form;
use abi::vendor::{Counters, CountersOf};
use abi::{Call, CallInput, Status};
use runtime::cmdline::CommandLine;
use runtime::{fault, hypercall, println};
use zerocopy::{FromZeros, IntoBytes};

use crate::report;

const SELF: u64 = u64::MAX;

/// The one call that a guest may make: its own counters.
const ALLOWED: Call = Call::VendorCounters;

fn counters() -> Result<Counters, Status> {
    hypercall::call(
        ALLOWED,
        &CountersOf {
            partition: SELF,
            lp: 0,
        },
    )
}

/// The positive control: the one call that a guest may make works.
pub fn allowed(_line: CommandLine<'_>) -> bool {
    let before = counters();
    let after = counters();
    let counted = match (&before, &after) {
        (Ok(before), Ok(after)) => after.hypercalls > before.hypercalls,
        _ => false,
    };
    report("allowed", counted, format_args!("counts itself {counted}"))
}

/// Where a guest of the suite has nothing.
const NOWHERE: u64 = 0x5000_0000;

/// A call by the code that the hypervisor shows, whatever the processor's instruction: it is made once each time.
pub fn page(_line: CommandLine<'_>) -> bool {
    const TIMES: u64 = 100;
    let Some(page) = hypercall::HypercallPage::open(NOWHERE) else {
        return report("hypercall-page", false, format_args!("it does not show"));
    };
    let request = CountersOf {
        partition: SELF,
        lp: 0,
    };
    let control = CallInput::simple(ALLOWED as u16);
    let made = || {
        let mut counters = Counters::new_zeroed();
        let status = page.raw(control, &[request.as_bytes()], counters.as_mut_bytes());
        (status.status() == Status::SUCCESS).then_some(counters.hypercalls)
    };
    let first = made();
    let good = (1..TIMES).filter(|_| made().is_some()).count() as u64;
    let last = made();
    let unknown = page.raw(CallInput::simple(0x3fff), &[], &mut []).status();
    drop(page);
    let between = last.zip(first).map(|(last, first)| last - first);
    report(
        "hypercall-page",
        good == TIMES - 1
            && between == Some(TIMES)
            && unknown == Status::INVALID_HYPERCALL_CODE
            && counters().is_ok(),
        format_args!("{good} good, {between:?} counted, an unknown one gave {unknown:?}"),
    )
}

/// HC-16: each call is refused, and the one that is allowed works before and after.
pub fn privileges(_line: CommandLine<'_>) -> bool {
    let control = counters().is_ok();
    let mut wrong = 0;
    for &call in Call::ALL.iter().filter(|&&call| call != ALLOWED) {
        let status = attempt(call);
        // Calls that are named and not offered are refused as unknown.
        let absent = matches!(
            call,
            Call::PostMessage | Call::SignalEvent | Call::InstallIntercept
        );
        // A guest may move its own device's interrupts; it has no device with this name.
        let own = call == Call::RetargetDeviceInterrupt && status != Status::SUCCESS;
        let refused = status == Status::ACCESS_DENIED
            || absent && status == Status::INVALID_HYPERCALL_CODE
            || own;
        if !refused {
            println!("probe: call {:#06x} {call:?} gave {status:?}", call as u16);
            wrong += 1;
        }
    }
    let good = control && wrong == 0 && counters().is_ok();
    report(
        "privileges",
        good,
        format_args!("control {control} not denied {wrong}"),
    )
}

/// The call on the own partition, otherwise zeroes.
fn attempt(call: Call) -> Status {
    let mut input = [0_u8; 512];
    if let Some(first) = input.first_chunk_mut::<8>() {
        *first = SELF.to_le_bytes();
    }
    let control = match call.signature().form {
        Form::Rep { .. } => CallInput::rep(call as u16, 1, 0),
        Form::Simple | Form::Variable => CallInput::simple(call as u16),
    };
    hypercall::raw(control, &[&input], &mut []).status()
}

fn with(control: CallInput) -> Status {
    let input = CountersOf {
        partition: SELF,
        lp: 0,
    };
    hypercall::raw(control, &[input.as_bytes()], &mut []).status()
}

/// HC-05: each bit that does not belong there is noticed.
pub fn control_words(_line: CommandLine<'_>) -> bool {
    let code = ALLOWED as u16;
    let mut wrong = 0;
    let mut check = |name: &str, control: CallInput, wanted: Status| {
        let status = with(control);
        if status != wanted {
            println!(
                "probe: control word {name} {:#x} gave {status:?}",
                control.0
            );
            wrong += 1;
        }
    };
    let plain = CallInput::simple(code);
    check("plain", plain, Status::SUCCESS);
    for bit in (27..=31).chain(44..=47).chain(60..=63) {
        let control = CallInput(plain.0 | 1 << bit);
        check("reserved", control, Status::INVALID_HYPERCALL_INPUT);
    }
    let refused = [
        ("repetitions", CallInput::rep(code, 1, 0)),
        ("start", plain.with_start(1)),
        ("variable header", plain.with_variable_header(1)),
        ("long header", plain.with_variable_header(0x3ff)),
        ("fast", CallInput::fast(code)),
    ];
    for (name, control) in refused {
        check(name, control, Status::INVALID_HYPERCALL_INPUT);
    }
    for unknown in [0, 1, 0x3f, 0x1ff, 0xefff, 0xf0ff, 0xffff] {
        let control = CallInput::simple(unknown);
        check("unknown", control, Status::INVALID_HYPERCALL_CODE);
    }
    check("plain again", plain, Status::SUCCESS);
    report("control-words", wrong == 0, format_args!("wrong {wrong}"))
}

/// HC-03: parameter addresses that are misaligned, cross a page, overlap, or are not memory.
pub fn pages(_line: CommandLine<'_>) -> bool {
    let (input, output) = hypercall::page_addresses();
    let plain = CallInput::simple(ALLOWED as u16);
    let mut wrong = 0;
    // So that the input page holds a valid request.
    let control = with(plain) == Status::SUCCESS
        && hypercall::at(plain, input, output).status() == Status::SUCCESS;
    let bad = [
        ("input misaligned", input + 4, output),
        ("output misaligned", input, output + 4),
        ("input crosses a page", input + 4096 - 8, output + 8),
        ("output crosses a page", input, output + 4096 - 8),
        ("output is the input", input, input),
        ("output overlaps the input", input, input + 8),
        ("input is not mapped", 0xdead_0000, output),
        ("output is not mapped", input, 0xdead_0000),
        ("input is the local APIC", 0xfee0_0000, output),
        ("output is the local APIC", input, 0xfee0_0000),
        ("input is beyond the addresses", 1 << 60, output),
        ("output is beyond the addresses", input, 1 << 60),
        ("output is at the end", input, !7),
        (
            "input is a hypervisor address",
            0xffff_8000_0010_0000,
            output,
        ),
    ];
    for (name, input, output) in bad {
        let status = hypercall::at(plain, input, output).status();
        if !matches!(
            status,
            Status::INVALID_ALIGNMENT | Status::INVALID_PARAMETER
        ) {
            println!("probe: {name} gave {status:?}");
            wrong += 1;
        }
    }
    let good = control && wrong == 0 && counters().is_ok();
    report(
        "pages",
        good,
        format_args!("control {control} wrong {wrong} of {}", bad.len()),
    )
}

/// HC-06: counts and starts that do not fit together are refused before anything is read; the control is one that fits, and
/// is denied for another reason.
pub fn repetitions(_line: CommandLine<'_>) -> bool {
    let code = Call::MapGpaPages as u16;
    let mut wrong = 0;
    let mut check = |count, start, wanted: &[Status]| {
        let input = [0_u8; 512];
        let result = hypercall::raw(CallInput::rep(code, count, start), &[&input], &mut []);
        if !wanted.contains(&result.status()) || result.completed() > start {
            println!(
                "probe: {count} from {start} gave {:?} {}",
                result.status(),
                result.completed()
            );
            wrong += 1;
        }
    };
    check(1, 0, &[Status::ACCESS_DENIED]);
    for (count, start) in [(0, 0), (0, 1), (1, 1), (1, 2), (5, 0xfff), (0xfff, 0xfff)] {
        check(count, start, &[Status::INVALID_HYPERCALL_INPUT]);
    }
    // More than a page holds.
    check(
        0xfff,
        0,
        &[
            Status::INVALID_HYPERCALL_INPUT,
            Status::INVALID_PARAMETER,
            Status::INVALID_ALIGNMENT,
        ],
    );
    let good = wrong == 0 && counters().is_ok();
    report("repetitions", good, format_args!("wrong {wrong}"))
}

/// HC-19: registers of the interface with pages that are not memory, and bits that are not theirs.
pub fn synthetic(_line: CommandLine<'_>) -> bool {
    let (mut taken, mut refused) = (0, 0);
    for index in 0x4000_0000..=0x4000_01ff_u32 {
        for value in [
            1,
            0xdead_b001,
            0xfee0_0001,
            1 << 60 | 1,
            0xffff_ffff_ffff_f001,
        ] {
            match fault::write_msr(index, value) {
                Ok(()) => taken += 1,
                Err(_) => refused += 1,
            }
        }
    }
    // Read-only ones stay so, and what there is not is not there.
    let constant = [
        abi::msr::VP_INDEX,
        abi::msr::TIME_REF_COUNT,
        abi::msr::TSC_FREQUENCY,
        0x4000_01ff,
    ];
    let written = constant
        .iter()
        .filter(|&&index| fault::write_msr(index, 0).is_ok())
        .count();
    let good = refused > 2000 && written == 0 && counters().is_ok();
    report(
        "synthetic",
        good,
        format_args!("taken {taken} refused {refused} written {written}"),
    )
}

/// The control: the registers of the interface that a guest has.
pub fn own_synthetic(_line: CommandLine<'_>) -> bool {
    let read = |index| fault::read_msr(index);
    let id = fault::write_msr(abi::msr::GUEST_OS_ID, 0x8100_0000_0000_0000);
    let index = read(abi::msr::VP_INDEX);
    let (first, then) = (
        read(abi::msr::TIME_REF_COUNT),
        read(abi::msr::TIME_REF_COUNT),
    );
    let frequency = read(abi::msr::TSC_FREQUENCY);
    report(
        "own-synthetic",
        id.is_ok()
            && index == Ok(0)
            && first.is_ok()
            && then >= first
            && frequency.is_ok_and(|hz| hz > 1_000_000),
        format_args!("id {id:?} index {index:?} time {first:?} {then:?} frequency {frequency:?}"),
    )
}

/// A sequence of numbers without a pattern (xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// HC-01: random calls get a status that the interface has, and leave this guest as it is.
pub fn fuzz(line: CommandLine<'_>) -> bool {
    let count = line.number("count").unwrap_or(20_000);
    let mut random = Random(line.number("seed").unwrap_or(1) | 1);
    let (mut unknown, mut done) = (0, 0_u64);
    let mut input = [0_u8; 512];
    for _ in 0..count {
        for byte in input.chunks_mut(8) {
            let value = random.next().to_le_bytes();
            byte.copy_from_slice(value.get(..byte.len()).unwrap_or(&[]));
        }
        let control = control_word(&mut random);
        let mut output = [0_u8; 64];
        let status = hypercall::raw(control, &[&input], &mut output).status();
        if status.name() == "UNKNOWN" {
            println!("probe: control word {:#x} gave {status:?}", control.0);
            unknown += 1;
        }
        done += u64::from(status == Status::SUCCESS);
    }
    report(
        "calls",
        unknown == 0 && counters().is_ok(),
        format_args!("{count} made, {done} succeeded, {unknown} with no known status"),
    )
}

/// Half of them nearly right, the others anything. Fast calls are left out of the nearly right ones' addresses: what
/// a slow one may write to is this VP's own pages.
fn control_word(random: &mut Random) -> CallInput {
    let value = random.next();
    let pick = (value >> 8) as usize % Call::ALL.len();
    let code = Call::ALL.get(pick).map_or(0, |&call| call as u16);
    match value & 3 {
        0 => CallInput(random.next()),
        1 => CallInput::rep(code, (value >> 16) as u16 & 0xff, 0),
        2 => CallInput::simple(code).with_variable_header((value >> 16) as u16 & 7),
        _ => CallInput::simple(code),
    }
}
