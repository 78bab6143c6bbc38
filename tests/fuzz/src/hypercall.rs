//! HC-01: a child and the root call whatever the bytes say, on the whole kernel with modelled hardware.
//!
//! A record is: who (bit 0: the root) and how many words (bits 7:4), two bytes of call code, four bytes of the control word's
//! upper part in their places, then the words of the parameter page. Every call must end, with a status of the list, and the
//! partitions must come apart at the end as if nothing had happened.

use abi::{Call, Status};
use flow::lab::{Caller, Lab};

/// Calls in one run.
const MOST: usize = 24;

/// One call.
struct Record {
    by_root: bool,
    control: u64,
    words: Vec<u8>,
}

fn record(data: &[u8]) -> Option<(Record, &[u8])> {
    let (&[who, c0, c1, flags, count, start, shape], rest) = data.split_first_chunk::<7>()?;
    let length = (usize::from(who >> 4) + 1) * 8;
    let (words, rest) = rest.split_at(length.min(rest.len()));
    let code = u64::from(u16::from_le_bytes([c0, c1]));
    let wild = if shape & 0x80 != 0 {
        u64::from(shape) << 56
    } else {
        0
    };
    let control =
        code | u64::from(flags) << 16 | u64::from(count) << 32 | u64::from(start) << 48 | wild;
    let record = Record {
        by_root: who & 1 != 0,
        control,
        words: words.to_vec(),
    };
    Some((record, rest))
}

/// Whether a call of the root may take its own or the child's VP from its LP, so that nobody would be left to call.
fn ends(code: u64, root: bool) -> bool {
    let takes = [
        Call::FinalizePartition,
        Call::DeleteVp,
        Call::SetVpRegisters,
        Call::AssertVirtualInterrupt,
        Call::UnmapGpaPages,
    ];
    root && takes.iter().any(|&call| call as u64 == code & 0xffff)
}

/// Makes the calls.
pub fn run(data: &[u8]) {
    let lab = Lab::new();
    let (id, child) = lab.guest(0x2100, 40, 0);
    let mut rest = data;
    for _ in 0..MOST {
        let Some((record, after)) = record(rest) else {
            break;
        };
        rest = after;
        if !ends(record.control, record.by_root) {
            let caller = if record.by_root {
                lab.root_on(0)
            } else {
                child
            };
            call(&lab, caller, &record, id);
        }
    }
    lab.end(id);
}

fn call(lab: &Lab, caller: Caller, record: &Record, child: u64) {
    let mut words = record.words.clone();
    // Names cannot be guessed: small numbers stand for the ones that there are.
    if let Some(first) = words.first_chunk_mut::<8>() {
        match u64::from_le_bytes(*first) {
            2 => *first = child.to_le_bytes(),
            3 => *first = u64::MAX.to_le_bytes(),
            _ => (),
        }
    }
    let answer = lab.raw(caller, record.control, &words);
    assert_ne!(answer.status.name(), "UNKNOWN");
    let done = answer.status == Status::SUCCESS;
    assert!(done || answer.reps <= 4095);
}
