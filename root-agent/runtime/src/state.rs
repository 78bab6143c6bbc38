//! Processor state that only a probe puts something into: extended registers, debug registers, MSRs that this program does
//! not use. What a VP has left there, no other VP may see.

use core::arch::asm;

use crate::{control, cpu, fault, msr};

/// Legacy area, header, upper halves (SDM volume 1, section "XSAVE area").
const AREA: usize = 1024;
const X87_AND_SSE: u64 = 3;
const AVX: u64 = 4;

#[repr(C, align(64))]
struct Area([u8; AREA]);

/// MSRs with the bits that they hold.
const REGISTERS: [(u32, u64); 11] = [
    (0x174, 0xffff),
    (0x175, ADDRESS),
    (0x176, ADDRESS),
    (0xc000_0081, !0),
    (0xc000_0082, ADDRESS),
    (0xc000_0083, ADDRESS),
    (0xc000_0084, 0x3f_ffff),
    (0xc000_0100, ADDRESS),
    (0xc000_0101, ADDRESS),
    (0xc000_0102, ADDRESS),
    (0xc000_0103, 0xffff_ffff),
];
/// Bits that may be anything in a canonical address.
const ADDRESS: u64 = 0x7fff_ffff_ffff;

const fn value(seed: u64, number: u64) -> u64 {
    (seed ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The extended state that this processor has and this program may use.
fn components() -> u64 {
    u64::from(cpu::cpuid(13, 0).eax) & (X87_AND_SSE | AVX)
}

fn set_components(value: u64) {
    // SAFETY: the caller has allowed the instruction; x87 state is always in the set.
    unsafe {
        asm!("xsetbv", in("ecx") 0, in("eax") value as u32, in("edx") (value >> 32) as u32, options(nostack));
    }
}

/// Places of the registers in the area, without the six bytes behind each of x87.
fn places(components: u64) -> impl Iterator<Item = usize> {
    let x87 = (32..160).filter(|at| (at - 32) % 16 < 10);
    let upper = if components & AVX != 0 {
        576..832
    } else {
        0..0
    };
    x87.chain(160..416).chain(upper)
}

/// Puts a pattern everywhere.
pub fn fill(seed: u64) {
    let components = components();
    control::allow_xsave();
    set_components(components);
    let mut area = Area([0; AREA]);
    for at in places(components) {
        area.0[at] = value(seed, at as u64 / 8).to_le_bytes()[at % 8];
    }
    // Control word, and that every x87 register holds something; MXCSR; what of all this is in the area.
    area.0[..2].copy_from_slice(&0x37f_u16.to_le_bytes());
    area.0[4] = 0xff;
    area.0[24..28].copy_from_slice(&0x1f80_u32.to_le_bytes());
    area.0[512..520].copy_from_slice(&components.to_le_bytes());
    // SAFETY: a well-formed area; the compiler keeps nothing in these registers.
    unsafe {
        asm!("xrstor64 [{}]", in(reg) &raw const area, in("eax") !0, in("edx") !0, options(nostack))
    };
    for (index, (register, bits)) in REGISTERS.into_iter().enumerate() {
        // SAFETY: this program uses none of them.
        unsafe { msr::write_any(register, value(seed, 1000 + index as u64) & bits) };
    }
    let debug = [0, 1, 2, 3].map(|index| value(seed, 2000 + index) & ADDRESS);
    // SAFETY: no breakpoint is enabled.
    unsafe {
        asm!("mov dr0, {}", "mov dr1, {}", "mov dr2, {}", "mov dr3, {}", "mov cr2, {}", in(reg) debug[0],
            in(reg) debug[1], in(reg) debug[2], in(reg) debug[3], in(reg) value(seed, 3000), options(nostack));
    }
}

/// How many registers differ from the pattern; without a seed from what a new VP has: zeroes. CR2 counts where `with_cr2` is
/// set: an emulator may not switch it.
#[must_use]
pub fn differing(seed: Option<u64>, with_cr2: bool) -> u32 {
    let expected = |number| seed.map_or(0, |seed| value(seed, number));
    let components = components();
    control::allow_xsave();
    set_components(components);
    let mut area = Area([0xa5; AREA]);
    area.0[512..576].fill(0);
    // SAFETY: the area holds all of these components.
    unsafe {
        asm!("xsave64 [{}]", in(reg) &raw mut area, in("eax") !0, in("edx") !0, options(nostack))
    };
    // Where a component is as after a reset, its place in the area means nothing.
    let kept = u64::from_le_bytes(area.0[512..520].try_into().unwrap_or_default());
    let component = |at: usize| match at {
        0..160 => 1,
        160..416 => 2,
        _ => AVX,
    };
    let mut wrong = 0;
    for at in places(components) {
        let byte = if kept & component(at) == 0 {
            0
        } else {
            area.0[at]
        };
        wrong += u32::from(byte != expected(at as u64 / 8).to_le_bytes()[at % 8]);
    }
    for (index, (register, bits)) in REGISTERS.into_iter().enumerate() {
        let wanted = expected(1000 + index as u64) & bits;
        wrong += u32::from(fault::read_msr(register) != Ok(wanted));
    }
    let (mut debug, address) = ([0_u64; 4], fault::page_fault_address());
    // SAFETY: reads registers.
    unsafe {
        asm!("mov {}, dr0", "mov {}, dr1", "mov {}, dr2", "mov {}, dr3", out(reg) debug[0], out(reg) debug[1],
            out(reg) debug[2], out(reg) debug[3], options(nostack));
    }
    for (index, found) in debug.into_iter().enumerate() {
        wrong += u32::from(found != expected(2000 + index as u64) & ADDRESS);
    }
    wrong + u32::from(with_cr2 && address != expected(3000))
}

/// How many general registers an exit has changed that it must not: an MSR read, a port that nobody has, a hypercall.
#[must_use]
pub fn lost_in_exits(seed: u64) -> u32 {
    let other_call = cpu::is_amd();
    let (mut kept, mut sum) = ([0_u64; 7], 0);
    for number in 0..3_u64 {
        let want = [1, 2, 3, 4, 5, 6, 7].map(|index| value(seed, number * 8 + index));
        // SAFETY: each of them leaves the guest and comes back; the hypercall is one that does not exist, and the port
        // nobody's.
        unsafe {
            asm!(
                "cmp eax, 1", "je 3f", "ja 4f",
                "mov ecx, 0x1b", "rdmsr", "jmp 5f",
                "3:", "mov edx, 0x1234", "in al, dx", "jmp 5f",
                "4:", "test ecx, ecx", "mov ecx, 0x3f", "mov edx, 0", "jnz 2f", "vmcall", "jmp 5f",
                "2:", "vmmcall", "5:",
                inout("r12") want[0] => kept[0], inout("r9") want[1] => kept[1], inout("r13") want[2] => kept[2],
                inout("r14") want[3] => kept[3], inout("r15") want[4] => kept[4], inout("rsi") want[5] => kept[5],
                inout("rdi") want[6] => kept[6], inout("rax") number => _, inout("rcx") u64::from(other_call) => _,
                out("rdx") _, out("r10") _, out("r11") _, inout("r8") 0_u64 => _,
            );
        }
        // The interface lets a call change R9.
        let counted = |index: usize| number != 2 || index != 1;
        let lost = (0..7).filter(|&index| counted(index) && kept[index] != want[index]);
        sum += lost.count() as u32;
    }
    sum
}
