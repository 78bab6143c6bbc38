//! Registers of a guest's first instruction, as its kind of image promises them.

use abi::register as r;
use alloc::vec::Vec;

use super::Kind;
use super::long_mode::{CODE, DATA};
use super::multiboot1::LOADER_MAGIC;
use super::placement::{BOOT_INFO, GDT, PAGE_TABLES, STACK_TOP};
use crate::calls::vp::{Register, word};

const FLAT: u32 = 0xffff_ffff;
/// Present, accessed, readable code with 4 KiB granularity; 64-bit or 32-bit.
const CODE_64: u16 = 0xa09b;
const CODE_32: u16 = 0xc09b;
const DATA_32: u16 = 0xc093;
const BUSY_TSS: u16 = 0x008b;
const LDT: u16 = 0x0082;

fn segment(name: u32, selector: u16, limit: u32, attributes: u16) -> Register {
    let high = u64::from(limit) | u64::from(selector) << 32 | u64::from(attributes) << 48;
    (name, [0, high])
}

fn table(name: u32, base: u64, limit: u16) -> Register {
    (name, [u64::from(limit) << 48, base])
}

/// Registers of VP 0 before its first instruction.
#[must_use]
pub fn registers(kind: Kind, entry: u64) -> Vec<Register> {
    let mut all = common(entry);
    match kind {
        Kind::Long => all.extend([
            segment(r::CS, CODE, FLAT, CODE_64),
            word(r::CR0, 0x8001_0033),
            word(r::CR3, PAGE_TABLES),
            word(r::CR4, 0x620),
            word(r::EFER, 0xd00),
            word(r::RDI, BOOT_INFO),
            word(r::RAX, u64::from(LOADER_MAGIC)),
        ]),
        Kind::Multiboot1 => all.extend([
            segment(r::CS, CODE, FLAT, CODE_32),
            word(r::CR0, 0x11),
            word(r::CR3, 0),
            word(r::CR4, 0),
            word(r::EFER, 0),
            word(r::RAX, u64::from(LOADER_MAGIC)),
            word(r::RBX, BOOT_INFO),
        ]),
    }
    all
}

fn common(entry: u64) -> Vec<Register> {
    let mut all: Vec<Register> = [r::DS, r::ES, r::FS, r::GS, r::SS]
        .into_iter()
        .map(|name| segment(name, DATA, FLAT, DATA_32))
        .collect();
    all.extend([
        segment(r::TR, 0, 0x67, BUSY_TSS),
        segment(r::LDTR, 0, 0, LDT),
        table(r::GDTR, GDT, 23),
        table(r::IDTR, 0, 0),
        word(r::RFLAGS, 2),
        word(r::RSP, STACK_TOP),
        word(r::RIP, entry),
    ]);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_segment_is_of_the_kind_that_the_image_expects() {
        let cs = |kind| {
            let all = registers(kind, 0x10_0000);
            all.iter().find(|register| register.0 == r::CS).unwrap().1[1]
        };
        assert_eq!(cs(Kind::Long), 0xa09b_0008_ffff_ffff);
        assert_eq!(cs(Kind::Multiboot1), 0xc09b_0008_ffff_ffff);
    }
}
