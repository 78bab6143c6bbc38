//! The feature bits that guests may see, by name (Intel SDM volume 2, "CPUID"; AMD64 APM volume 3, appendix E).

use super::Facts;
use crate::xstate;

/// A mask from bit numbers.
const fn mask(bits: &[u32]) -> u32 {
    let (mut mask, mut i) = (0, 0);
    while i < bits.len() {
        mask |= 1 << bits[i];
        i += 1;
    }
    mask
}

/// The features by name: the tables hold what guests may see.
mod tables {
    use super::mask;

    /// Each table is a mask; the names are for the reader.
    macro_rules! export {
        ($($name:ident: $($feature:ident = $bit:literal)*;)*) => {
            $(pub(super) const $name: u32 = mask(&[$($bit),*]);)*
        };
    }

    export! {
        LEAF_1_ECX: SSE3 = 0 PCLMULQDQ = 1 SSSE3 = 9 FMA = 12 CMPXCHG16B = 13 PCID = 17 SSE4_1 = 19 SSE4_2 = 20 MOVBE = 22
            POPCNT = 23 AES = 25 XSAVE = 26 AVX = 28 F16C = 29 RDRAND = 30;
        LEAF_1_EDX: FPU = 0 VME = 1 DE = 2 PSE = 3 TSC = 4 MSR = 5 PAE = 6 MCE = 7 CMPXCHG8B = 8 SYSENTER = 11 MTRR = 12
            PGE = 13 MCA = 14 CMOV = 15 PAT = 16 PSE36 = 17 CLFLUSH = 19 MMX = 23 FXSR = 24 SSE = 25 SSE2 = 26;
        LEAF_7_EBX: FSGSBASE = 0 BMI1 = 3 AVX2 = 5 SMEP = 7 BMI2 = 8 ERMS = 9 INVPCID = 10 AVX512F = 16 AVX512DQ = 17
            RDSEED = 18 ADX = 19 SMAP = 20 AVX512_IFMA = 21 CLFLUSHOPT = 23 CLWB = 24 AVX512CD = 28 SHA = 29 AVX512BW = 30
            AVX512VL = 31;
        LEAF_7_ECX: AVX512_VBMI = 1 UMIP = 2 AVX512_VBMI2 = 6 GFNI = 8 VAES = 9 VPCLMULQDQ = 10 AVX512_VNNI = 11
            AVX512_BITALG = 12 AVX512_VPOPCNTDQ = 14 RDPID = 22;
        LEAF_7_EDX: FAST_SHORT_REP_MOV = 4;
        LEAF_7_1_EAX: AVX_VNNI = 4 AVX512_BF16 = 5;
        LEAF_8000_0001_ECX: LAHF_LM = 0 CR8_LEGACY = 4 ABM = 5 SSE4A = 6 MISALIGNED_SSE = 7 PREFETCH_3DNOW = 8 XOP = 11
            FMA4 = 16 TBM = 21 TOPOLOGY_EXTENSIONS = 22;
        LEAF_8000_0001_EDX: FPU = 0 VME = 1 DE = 2 PSE = 3 TSC = 4 MSR = 5 PAE = 6 MCE = 7 CMPXCHG8B = 8 SYSCALL = 11
            MTRR = 12 PGE = 13 MCA = 14 CMOV = 15 PAT = 16 PSE36 = 17 NX = 20 MMX_EXTENSIONS = 22 MMX = 23 FXSR = 24
            PAGE_1G = 26 RDTSCP = 27 LONG_MODE = 29 THREEDNOW_EXTENSIONS = 30 THREEDNOW = 31;
        LEAF_8000_0021_EAX: NO_NESTED_DATA_BREAKPOINTS = 0 LFENCE_SERIALIZING = 2 NULL_SELECTOR_CLEARS_BASE = 6;
        // What goes with state that XCR0 does not offer.
        NEEDS_AVX_1_ECX: FMA = 12 AVX = 28 F16C = 29;
        NEEDS_AVX_7_EBX: AVX2 = 5;
        NEEDS_AVX_7_ECX: VAES = 9 VPCLMULQDQ = 10;
        NEEDS_AVX_7_1_EAX: AVX_VNNI = 4;
        NEEDS_AVX_8000_0001_ECX: XOP = 11 FMA4 = 16;
        NEEDS_AVX512_7_EBX: F = 16 DQ = 17 IFMA = 21 CD = 28 BW = 30 VL = 31;
        NEEDS_AVX512_7_ECX: VBMI = 1 VBMI2 = 6 VNNI = 11 BITALG = 12 VPOPCNTDQ = 14;
        NEEDS_AVX512_7_1_EAX: BF16 = 5;
    }
}

use tables as t;

const X2APIC: u32 = 1 << 21;
const TSC_DEADLINE: u32 = 1 << 24;
const OSXSAVE: u32 = 1 << 27;
const HYPERVISOR: u32 = 1 << 31;
const APIC: u32 = 1 << 9;
/// Leaf 1 EDX: the count of logical processors in EBX is valid.
const MULTITHREADING: u32 = 1 << 28;
/// Leaf 8000_0001 ECX: those are cores.
const LEGACY_MULTICORE: u32 = 1 << 1;

/// The bits to hide for state that is not offered: `avx` without AVX, `avx512` without AVX-512.
const fn without_state(facts: &Facts, avx: u32, avx512: u32) -> u32 {
    let mut hidden = 0;
    if facts.xstate.offered & xstate::AVX == 0 {
        hidden |= avx | avx512;
    }
    if facts.xstate.offered & xstate::AVX512 == 0 {
        hidden |= avx512;
    }
    !hidden
}

const fn when(condition: bool, bits: u32) -> u32 {
    if condition { bits } else { 0 }
}

pub(super) const fn leaf_1(host: [u32; 4], facts: &Facts) -> [u32; 4] {
    const CLFLUSH_LINE: u32 = 0xff00;
    let count = if facts.vp_count < 255 {
        facts.vp_count
    } else {
        255
    };
    let ebx = facts.apic_id << 24 | count << 16 | host[1] & CLFLUSH_LINE;
    let ecx = host[2] & t::LEAF_1_ECX & without_state(facts, t::NEEDS_AVX_1_ECX, 0);
    let always = TSC_DEADLINE | HYPERVISOR | when(facts.x2apic, X2APIC);
    let apic = when(facts.apic, APIC);
    let edx = host[3] & t::LEAF_1_EDX | apic | when(facts.vp_count > 1, MULTITHREADING);
    [
        host[0],
        ebx,
        ecx | always | when(facts.osxsave, OSXSAVE),
        edx,
    ]
}

pub(super) const fn leaf_7(subleaf: u32, host: [u32; 4], facts: &Facts) -> [u32; 4] {
    match subleaf {
        0 => [
            if host[0] < 1 { host[0] } else { 1 },
            host[1]
                & t::LEAF_7_EBX
                & without_state(facts, t::NEEDS_AVX_7_EBX, t::NEEDS_AVX512_7_EBX),
            host[2]
                & t::LEAF_7_ECX
                & without_state(facts, t::NEEDS_AVX_7_ECX, t::NEEDS_AVX512_7_ECX),
            host[3] & t::LEAF_7_EDX,
        ],
        1 => {
            let hidden = without_state(facts, t::NEEDS_AVX_7_1_EAX, t::NEEDS_AVX512_7_1_EAX);
            [host[0] & t::LEAF_7_1_EAX & hidden, 0, 0, 0]
        }
        _ => [0; 4],
    }
}

pub(super) const fn leaf_8000_0001(host: [u32; 4], facts: &Facts) -> [u32; 4] {
    let ecx = host[2] & t::LEAF_8000_0001_ECX & without_state(facts, t::NEEDS_AVX_8000_0001_ECX, 0);
    let edx = host[3] & t::LEAF_8000_0001_EDX;
    let amd_apic = when(facts.apic && host[3] & APIC != 0, APIC);
    [
        host[0],
        host[1],
        ecx | when(facts.vp_count > 1, LEGACY_MULTICORE),
        edx | amd_apic,
    ]
}

pub(super) const fn leaf_8000_0021(host: [u32; 4]) -> [u32; 4] {
    [host[0] & t::LEAF_8000_0021_EAX, 0, 0, 0]
}
