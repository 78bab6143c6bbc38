//! Extended processor state: Intel SDM volume 1, chapter 13; AMD64 APM volume 2, section 11.5.

/// x87 state, always there.
pub const X87: u64 = 1 << 0;
/// SSE state.
pub const SSE: u64 = 1 << 1;
/// Upper halves of the 256-bit registers.
pub const AVX: u64 = 1 << 2;
/// The three parts of AVX-512 state.
pub const AVX512: u64 = 7 << 5;
/// The protection-key register.
pub const PKRU: u64 = 1 << 9;

/// Bytes of a legacy region and the XSAVE header.
const LEGACY_BYTES: u32 = 576;
/// Bytes of the largest area that a VP has.
pub const MAX_BYTES: u32 = 4096;

/// What VPs may switch on in XCR0, with the size of the area it takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Xstate {
    /// Bits that a guest may set in XCR0.
    pub offered: u64,
    /// Bits that are saved and restored: the offered ones, and the protection keys that a guest could use unoffered.
    pub switched: u64,
    /// Bytes of an area, in standard form, that holds the offered parts: CPUID 0Dh ECX.
    pub bytes: u32,
}

impl Xstate {
    /// What this processor has of the parts that the hypervisor knows. `cpuid` answers (leaf, sub-leaf).
    #[must_use]
    pub fn supported(cpuid: impl Fn(u32, u32) -> [u32; 4]) -> Self {
        let [low, _, _, high] = cpuid(0xd, 0);
        let mut there = u64::from(high) << 32 | u64::from(low);
        if there & AVX == 0 || there & AVX512 != AVX512 {
            there &= !AVX512;
        }
        let offered = there & (X87 | SSE | AVX | AVX512);
        let bytes =
            (2..=7)
                .filter(|bit| offered >> bit & 1 != 0)
                .fold(LEGACY_BYTES, |bytes, bit| {
                    let [size, offset, ..] = cpuid(0xd, bit);
                    bytes.max(offset.saturating_add(size))
                });
        Self {
            offered,
            switched: offered | there & PKRU,
            bytes,
        }
    }
}

/// Whether a guest may write `value` to XCR0 (SDM volume 1, section 13.3).
#[must_use]
pub const fn is_valid_xcr0(value: u64, offered: u64) -> bool {
    let avx512 = value & AVX512;
    value & !offered == 0
        && value & X87 != 0
        && (value & AVX == 0 || value & SSE != 0)
        && (avx512 == 0 || avx512 == AVX512 && value & AVX != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn processor(leaf: u32, subleaf: u32) -> [u32; 4] {
        match (leaf, subleaf) {
            (0xd, 0) => [0x602e7, 0, 0, 0],
            (0xd, 2) => [256, 576, 0, 0],
            (0xd, 5) => [64, 1088, 0, 0],
            (0xd, 6) => [512, 1152, 0, 0],
            (0xd, 7) => [1024, 1664, 0, 0],
            (0xd, 9) => [8, 2688, 0, 0],
            _ => [0; 4],
        }
    }

    #[test]
    fn unknown_parts_are_not_offered() {
        let xstate = Xstate::supported(processor);
        assert_eq!(
            (xstate.offered, xstate.switched, xstate.bytes),
            (0xe7, 0x2e7, 2688)
        );
        let old = Xstate::supported(|_, _| [3, 0, 0, 0]);
        assert_eq!((old.offered, old.switched, old.bytes), (3, 3, 576));
    }

    #[test]
    fn cpu_04_impossible_combinations_are_refused() {
        for good in [1, 3, 7, 0xe7] {
            assert!(is_valid_xcr0(good, 0xe7), "{good:#x}");
        }
        for bad in [0, 2, 5, 6, 0x27, 0xe3, 0x207, 1 << 63 | 1] {
            assert!(!is_valid_xcr0(bad, 0xe7), "{bad:#x}");
        }
    }
}
