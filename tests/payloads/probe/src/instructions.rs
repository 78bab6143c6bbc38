//! CPUID, and instructions that are not for guests.

use runtime::cmdline::CommandLine;
use runtime::cpu::{self, cpuid as leaf};
use runtime::fault::{self, GENERAL_PROTECTION, INVALID_OPCODE, Instruction};
use runtime::{msr as registers, println};

use crate::report;

/// Nested virtualisation is hidden, the hypervisor says what it is, and no leaf harms.
pub fn cpuid(_line: CommandLine<'_>) -> bool {
    for base in [0, 0x4000_0000, 0x8000_0000] {
        for number in 0..=0x20 {
            for subleaf in 0..3 {
                let _ = leaf(base + number, subleaf);
            }
        }
    }
    let _ = leaf(u32::MAX, u32::MAX);
    let vmx = leaf(1, 0).ecx >> 5 & 1;
    let svm = leaf(0x8000_0001, 0).ecx >> 2 & 1;
    let features = leaf(0x8000_000a, 0);
    let x2apic = leaf(1, 0).ecx >> 21 & 1;
    let good = (vmx, svm, features.edx, x2apic) == (0, 0, 0, 1) && cpu::has_hypercalls();
    report(
        "cpuid",
        good,
        format_args!(
            "vmx {vmx} svm {svm} x2apic {x2apic} hypervisor {} interface {:#x}",
            cpu::has_hypercalls(),
            leaf(0x4000_0001, 0).eax
        ),
    )
}

/// Every one of them faults.
pub fn privileged(_line: CommandLine<'_>) -> bool {
    let mut through = 0;
    for &instruction in Instruction::ALL {
        match fault::execute(instruction) {
            Err(INVALID_OPCODE | GENERAL_PROTECTION) => {}
            outcome => {
                println!("probe: instruction {} gave {outcome:?}", instruction.name());
                through += 1;
            }
        }
    }
    const SVME: u64 = 1 << 12;
    let enabled = fault::write_msr(registers::EFER, registers::read(registers::EFER) | SVME);
    report(
        "instructions",
        through == 0 && enabled.is_err(),
        format_args!(
            "{} tried, {through} not refused, EFER.SVME {enabled:?}",
            Instruction::ALL.len()
        ),
    )
}

/// Does not come back.
pub fn triple(_line: CommandLine<'_>) -> bool {
    println!("probe: triple begins");
    fault::triple()
}

/// Does not come back.
pub fn halt_off(_line: CommandLine<'_>) -> bool {
    println!("probe: halt-off begins");
    cpu::halt_forever()
}
