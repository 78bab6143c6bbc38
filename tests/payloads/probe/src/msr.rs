//! CPU-01: MSRs are denied unless they are the guest's own.

use alloc::vec::Vec;
use core::ops::RangeInclusive;

use runtime::cmdline::CommandLine;
use runtime::{fault, println};

use crate::report;

/// The ranges that exist on some processor.
const RANGES: [RangeInclusive<u32>; 4] = [
    0..=0x1fff,
    0x4000_0000..=0x4000_0fff,
    0xc000_0000..=0xc000_1fff,
    0xc001_0000..=0xc001_1fff,
];

/// Denied unless known: what is let through is a list that a person can read. Processors that answer every unknown
/// register with zero would otherwise hide a hypervisor that lets them all through.
const MOST_READABLE: usize = 200;
const MOST_WRITABLE: usize = 40;

/// What no guest may write, and mostly not even read: microcode, virtualisation, SMM, memory layout, power.
const FORBIDDEN: [u32; 22] = [
    0x3a,
    0x79,
    0x9b,
    0x9e,
    0x480,
    0x48b,
    0x606,
    0x610,
    0x611,
    0x639,
    0xc001_0010,
    0xc001_0015,
    0xc001_001a,
    0xc001_001d,
    0xc001_0058,
    0xc001_0111,
    0xc001_0112,
    0xc001_0113,
    0xc001_0114,
    0xc001_0117,
    0xc001_0130,
    0xc001_1020,
];

/// Reads everything, writes everything but what this program runs by.
pub fn sweep(_line: CommandLine<'_>) -> bool {
    let (mut readable, mut writable) = (Vec::new(), Vec::new());
    for msr in RANGES.into_iter().flatten() {
        if fault::read_msr(msr).is_ok() {
            readable.push(msr);
        }
        if !runs_by(msr) && fault::write_msr(msr, random(msr)).is_ok() {
            writable.push(msr);
        }
    }
    for (name, list) in [("readable", &readable), ("writable", &writable)] {
        println!("probe: msr {name} {list:x?}");
    }
    // A write that is taken and changes nothing is how some of them are on real machines.
    let wrong: Vec<u32> = FORBIDDEN
        .into_iter()
        .filter(|msr| writable.contains(msr) && fault::read_msr(*msr) == Ok(random(*msr)))
        .collect();
    report(
        "msr",
        wrong.is_empty() && readable.len() <= MOST_READABLE && writable.len() <= MOST_WRITABLE,
        format_args!(
            "readable {} writable {} forbidden {wrong:x?}",
            readable.len(),
            writable.len()
        ),
    )
}

/// EFER, the time stamp, segment bases, the local APIC and the synthetic MSRs: a random value there ends this program
/// or the partition, which is the guest's right and no finding.
const fn runs_by(msr: u32) -> bool {
    matches!(
        msr,
        0x10 | 0x1b
            | 0x6e0
            | 0x800..=0x8ff
            | 0x4000_0000..=0x4000_0fff
            | 0xc000_0080
            | 0xc000_0100..=0xc000_0102
    )
}

/// A value that sets some bits in either half, another one for each MSR.
const fn random(msr: u32) -> u64 {
    (msr as u64 | 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
