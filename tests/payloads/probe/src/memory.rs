//! MEM-06, and single accesses to any address.

use alloc::vec::Vec;

use runtime::cmdline::CommandLine;
use runtime::mmio::Mmio;
use runtime::pool::{self, Frames};
use runtime::{clock, println};

use crate::report;

const PATTERN: u64 = 0x7365_6372_6574_2121;

fn pattern(line: CommandLine<'_>) -> u64 {
    line.number("pattern").unwrap_or(PATTERN)
}

/// Everything that is free, in pieces as large as they come.
fn all_free() -> Vec<Frames> {
    let mut pieces = Vec::with_capacity(4096);
    let mut pages = pool::free_bytes() / 4096;
    while pages > 0 && pieces.len() < pieces.capacity() {
        match Frames::allocate_as_found(pages) {
            Some(frames) => pieces.push(frames),
            None => pages /= 2,
        }
    }
    pieces
}

/// Leaves a pattern in all free memory.
pub fn fill(line: CommandLine<'_>) -> bool {
    let value = pattern(line);
    let mut page = [0_u8; 4096];
    for word in page.chunks_mut(8) {
        word.copy_from_slice(&value.to_le_bytes());
    }
    let mut bytes = 0;
    for frames in all_free() {
        for offset in (0..frames.bytes()).step_by(4096) {
            let _ = frames.write(offset, &page);
        }
        bytes += frames.bytes();
    }
    report("mem-fill", bytes > 0, format_args!("{bytes} bytes"))
}

/// Whether free memory is zero, as a new partition's must be.
pub fn scan(line: CommandLine<'_>) -> bool {
    let value = pattern(line);
    let (mut bytes, mut dirty, mut secret) = (0, 0_u64, 0_u64);
    let mut page = [0_u8; 4096];
    for frames in all_free() {
        for offset in (0..frames.bytes()).step_by(4096) {
            let _ = frames.read(offset, &mut page);
            dirty += u64::from(page.iter().any(|&byte| byte != 0));
            let found = page.chunks(8).any(|word| word == value.to_le_bytes());
            secret += u64::from(found);
        }
        bytes += frames.bytes();
    }
    report(
        "mem-scan",
        bytes > 0 && dirty == 0 && secret == 0,
        format_args!("{bytes} bytes, pages not zero {dirty}, with the pattern {secret}"),
    )
}

fn registers(line: CommandLine<'_>) -> Option<(u64, Mmio)> {
    let address = line.number("addr")? & !3;
    Some((address, Mmio::map(address, 8)?))
}

/// Reads four bytes where nothing of this program is; `expect=V` where the value is known.
pub fn touch(line: CommandLine<'_>) -> bool {
    let Some((address, registers)) = registers(line) else {
        return report(
            "touch",
            false,
            format_args!("addr= is missing or in memory"),
        );
    };
    let value = registers.read32(0);
    let good = line
        .number("expect")
        .is_none_or(|wanted| wanted == u64::from(value));
    report("touch", good, format_args!("{address:#x} reads {value:#x}"))
}

/// Writes four bytes where nothing of this program is, and reads them back.
pub fn poke(line: CommandLine<'_>) -> bool {
    let Some((address, registers)) = registers(line) else {
        return report("poke", false, format_args!("addr= is missing or in memory"));
    };
    registers.write32(0, line.number("value").unwrap_or(0) as u32);
    let value = registers.read32(0);
    report("poke", true, format_args!("{address:#x} reads {value:#x}"))
}

/// Reads again and again, and prints every change.
pub fn watch(line: CommandLine<'_>) -> bool {
    let Some((address, registers)) = registers(line) else {
        return report(
            "watch",
            false,
            format_args!("addr= is missing or in memory"),
        );
    };
    let end = clock::micros() + line.number("seconds").unwrap_or(5) * 1_000_000;
    let mut last = registers.read32(0);
    let mut reads = 1_u64;
    println!("probe: watch {address:#x} begins with {last:#x}");
    while clock::micros() < end {
        let value = registers.read32(0);
        reads += 1;
        if value != last {
            println!("probe: watch {address:#x} is now {value:#x}");
            last = value;
        }
    }
    report("watch", true, format_args!("{reads} reads"))
}

/// Reads a page of its own memory without a break until what stands there is no longer what this wrote (TLB-10).
pub fn lent(_line: CommandLine<'_>) -> bool {
    const OWN: u64 = 0x6f77_6e20_7061_6765;
    let Some(page) = Frames::allocate(1, 4096) else {
        return report("lent", false, format_args!("no memory"));
    };
    let _ = page.write_u64(0, OWN);
    println!("probe: lent {:#x}", page.address());
    let end = clock::micros() + 30_000_000;
    let mut value = OWN;
    while value == OWN && clock::micros() < end {
        value = page.read_u64(0).unwrap_or(0);
    }
    report("lent", value != OWN, format_args!("reads {value:#x} end"))
}
