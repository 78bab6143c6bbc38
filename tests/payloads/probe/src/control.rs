//! CPU-02, CPU-04, CPU-05, CPU-20: registers that a guest may not have as it likes. Each with values that it may have.

use runtime::cmdline::CommandLine;
use runtime::fault::{self, GENERAL_PROTECTION};
use runtime::{apic, control, cpu, println};

use crate::report;

const REFUSED: Result<(), u8> = Err(GENERAL_PROTECTION);

/// Counts what did not go as it must, and says what it was.
#[derive(Default)]
struct Wrong(u32);

impl Wrong {
    fn check(&mut self, name: &str, value: u64, found: Result<(), u8>, wanted: Result<(), u8>) {
        if found != wanted {
            println!("probe: {name} {value:#x} gave {found:?}");
            self.0 += 1;
        }
    }

    fn report(self, name: &str) -> bool {
        report(name, self.0 == 0, format_args!("wrong {}", self.0))
    }
}

/// CPU-02: no register above 83Fh, and none between those that there are.
pub fn x2apic(_line: CommandLine<'_>) -> bool {
    let mut wrong = Wrong::default();
    for msr in 0x840..=0xbff {
        wrong.check("read", msr.into(), fault::read_msr(msr).map(drop), REFUSED);
        wrong.check(
            "write",
            msr.into(),
            fault::write_apic(msr, 0),
            if msr <= 0x8ff { REFUSED } else { Ok(()) },
        );
    }
    for msr in [0x800, 0x801, 0x804, 0x80c, 0x80e, 0x829, 0x831, 0x83a] {
        wrong.check("read", msr.into(), fault::read_msr(msr).map(drop), REFUSED);
    }
    // Read-only ones, and bits that do not exist.
    for (msr, value) in [
        (0x802, 1),
        (0x803, 1),
        (0x80d, 1),
        (0x839, 1),
        (0x808, 1 << 8),
        (0x80b, 1),
        (0x832, 1 << 31),
    ] {
        wrong.check(
            "write",
            u64::from(msr),
            fault::write_apic(msr, value),
            REFUSED,
        );
    }
    wrong.report("x2apic")
}

/// The control: the registers that there are.
pub fn own_apic(_line: CommandLine<'_>) -> bool {
    let mut wrong = Wrong::default();
    for msr in [
        0x802, 0x803, 0x808, 0x80a, 0x80d, 0x80f, 0x810, 0x818, 0x820, 0x828, 0x830, 0x832, 0x835,
        0x837, 0x839,
    ] {
        wrong.check("read", msr.into(), fault::read_msr(msr).map(drop), Ok(()));
    }
    wrong.check("priority", 0x20, fault::write_apic(0x808, 0x20), Ok(()));
    let kept = fault::read_msr(0x808) == Ok(0x20) && control::cr8() == 2;
    wrong.check("priority", 0, fault::write_apic(0x808, 0), Ok(()));
    let version = apic::version() & 0xff;
    report(
        "own-apic",
        wrong.0 == 0 && kept && (0x10..=0x15).contains(&version),
        format_args!(
            "wrong {} priority kept {kept} version {version:#x}",
            wrong.0
        ),
    )
}

const PG: u64 = 1 << 31;
const PE: u64 = 1;
const NW: u64 = 1 << 29;
const CD: u64 = 1 << 30;

/// CPU-04: values that no processor takes, in registers whose writes leave the guest; with `all` also in those that the processor
/// itself looks after.
pub fn registers(line: CommandLine<'_>) -> bool {
    let mut wrong = Wrong::default();
    for value in [0, 2, 4, 5, 1 << 62, 1 << 63, 0x21] {
        wrong.check("XCR0", value, control::try_xcr0(value), REFUSED);
    }
    let efer = fault::read_msr(0xc000_0080).unwrap_or(0);
    for bits in [1 << 8, 1 << 12, 1 << 1, 1 << 16, 1 << 63] {
        let value = efer ^ bits;
        wrong.check("EFER", value, control::try_efer(value), REFUSED);
    }
    if line.has("all") {
        processors_own(&mut wrong);
    }
    wrong.report("registers")
}

fn processors_own(wrong: &mut Wrong) {
    let (cr0, cr3, cr4) = (control::cr0(), control::cr3(), control::cr4());
    for value in [cr0 & !PE, cr0 & !CD | NW, cr0 | 1 << 32, cr0 | 1 << 63] {
        wrong.check("CR0", value, control::try_cr0(value), REFUSED);
    }
    for value in [0x10, 0x100, 1 << 63] {
        wrong.check("CR8", value, control::try_cr8(value), REFUSED);
    }
    for value in [1 << 32, 1 << 63] {
        wrong.check("DR7", value, control::try_dr7(value | 0x400), REFUSED);
        wrong.check("DR6", value, control::try_dr6(value), REFUSED);
    }
    for bits in [1 << 5, 1 << 13, 1 << 15, 1 << 31, 1 << 63] {
        let value = cr4 ^ bits;
        wrong.check("CR4", value, control::try_cr4(value), REFUSED);
    }
    for value in [cr3 | 1 << 52, cr3 | 1 << 62] {
        wrong.check("CR3", value, control::try_cr3(value), REFUSED);
    }
}

/// The control: values that are allowed.
pub fn own_registers(_line: CommandLine<'_>) -> bool {
    let mut wrong = Wrong::default();
    let (cr0, cr4) = (control::cr0(), control::cr4());
    for value in [cr0, cr0 ^ 1 << 16, cr0 | 1 << 18, cr0 | CD, cr0 | PG] {
        wrong.check("CR0", value, control::try_cr0(value), Ok(()));
    }
    for value in [cr4, cr4 ^ 1 << 7, cr4 ^ 1 << 6, cr4 | 1 << 9, cr4 | 1 << 2] {
        wrong.check("CR4", value, control::try_cr4(value), Ok(()));
    }
    wrong.check(
        "CR3",
        control::cr3(),
        control::try_cr3(control::cr3()),
        Ok(()),
    );
    wrong.check("CR8", 15, control::try_cr8(15), Ok(()));
    wrong.check("DR7", 0x400, control::try_dr7(0x400), Ok(()));
    let offered = u64::from(cpu::cpuid(13, 0).eax) & 7;
    for value in [1, 3, offered] {
        wrong.check("XCR0", value, control::try_xcr0(value), Ok(()));
    }
    let efer = fault::read_msr(0xc000_0080).unwrap_or(0);
    for value in [efer, efer ^ 1, efer ^ 1 << 11] {
        wrong.check("EFER", value, control::try_efer(value), Ok(()));
    }
    wrong.report("own-registers")
}

/// CPU-05: what would reach the machine: debugging aids, counters, speculation, memory types, the local APIC's place.
pub fn filtered(_line: CommandLine<'_>) -> bool {
    let mut wrong = Wrong::default();
    let base = fault::read_msr(0x1b).unwrap_or(0);
    let values = [
        (0x1d9, 1),
        (0x1d9, 2),
        (0x1a0, 0),
        (0x1a0, 1 << 18),
        (0x277, 0x0007_0406_0002_0406),
        (0x277, 0x0807_0406_0007_0406),
        (0x2ff, 0x802),
        (0xfe, 0),
        (0x3a, 5),
        (0x1b, base & !(1 << 11)),
        (0x1b, base & !(1 << 10)),
        (0x1b, base ^ 0x10_0000),
        (0x1b, base | 1 << 62),
        (0xc001_0114, 0),
    ];
    for (msr, value) in values {
        wrong.check(
            "MSR value",
            u64::from(msr) << 32 | value,
            control::try_msr(msr, value),
            REFUSED,
        );
    }
    for msr in [
        0x48,
        0x49,
        0x10b,
        0x186,
        0x38f,
        0x38d,
        0x1c9,
        0x200,
        0x250,
        0x606,
        0xc001_0000,
        0xc001_0004,
    ] {
        wrong.check("MSR", msr.into(), fault::write_msr(msr, 1), REFUSED);
    }
    wrong.report("filtered")
}

/// The control: the same registers with values that they may have.
pub fn unfiltered(_line: CommandLine<'_>) -> bool {
    let mut wrong = Wrong::default();
    let base = fault::read_msr(0x1b).unwrap_or(0);
    for (msr, value) in [
        (0x1d9, 0),
        (0x1a0, 1),
        (0x277, 0x0006_0406_0007_0405),
        (0x2ff, 0x806),
        (0x1b, base),
        (0x3a, 1),
    ] {
        wrong.check(
            "MSR value",
            u64::from(msr) << 32 | value,
            control::try_msr(msr, value),
            Ok(()),
        );
    }
    wrong.report("unfiltered")
}

/// CPU-20: addresses that no page can have. With `all` also those whose refusal one emulator leaves out.
pub fn addresses(line: CommandLine<'_>) -> bool {
    const NOWHERE: u64 = 1 << 63;
    let mut wrong = Wrong::default();
    if line.has("all") {
        for msr in [0xc000_0082, 0xc000_0100, 0xc000_0101, 0xc000_0102] {
            wrong.check("MSR", msr.into(), control::try_msr(msr, NOWHERE), REFUSED);
        }
    }
    // INVLPG never faults for an address.
    wrong.check("INVLPG", NOWHERE, fault::forget_page(NOWHERE), Ok(()));
    wrong.check(
        "read",
        NOWHERE,
        fault::read_anywhere(NOWHERE).map(drop),
        REFUSED,
    );
    wrong.report("addresses")
}

/// The control: addresses that are canonical, mapped or not.
pub fn own_addresses(_line: CommandLine<'_>) -> bool {
    const HIGH: u64 = 0xffff_8000_0000_0000;
    let mut wrong = Wrong::default();
    for msr in [0xc000_0082, 0xc000_0100, 0xc000_0101, 0xc000_0102, 0x176] {
        wrong.check("MSR", msr.into(), control::try_msr(msr, HIGH), Ok(()));
    }
    wrong.check("INVLPG", HIGH, fault::forget_page(HIGH), Ok(()));
    wrong.check(
        "read",
        HIGH,
        fault::read_anywhere(HIGH).map(drop),
        Err(fault::PAGE_FAULT),
    );
    wrong.report("own-addresses")
}
