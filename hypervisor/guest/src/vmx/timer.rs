//! Intel SDM volume 3, sections "VMX-preemption timer" and "miscellaneous data" (IA32_VMX_MISC): the timer that runs while the
//! guest does, and leaves it whatever its RFLAGS.IF and its interruptibility say.

/// CPUID.1:EAX of processors whose timer does not run at the rate that they state (Intel's specification updates: AAJ124,
/// AAK139, AAM126, AAN92, AAO95, AAP86, AAT59, AAU65, AAX65, BA86; the last one found on a Xeon E3-1220 v2).
const BROKEN: [u32; 9] = [
    0x106a0, 0x106a1, 0x106a4, 0x106a5, 0x106e5, 0x20652, 0x20655, 0x206e6, 0x306a8,
];

/// How many bits of the TSC one tick of the timer stands for; `None`: the timer is not to be trusted. `signature` is
/// CPUID.1:EAX, `misc` IA32_VMX_MISC.
#[must_use]
pub fn shift(signature: u32, misc: u64) -> Option<u8> {
    (!BROKEN.contains(&signature)).then_some(misc as u8 & 0x1f)
}

/// What the timer has to start with, `left` TSC ticks before its end. Never early where time is left: one that ended
/// before would leave the guest before its first instruction.
#[must_use]
#[inline]
pub const fn count(left: u64, shift: u8) -> u32 {
    if left == 0 {
        return 0;
    }
    let ticks = ((left - 1) >> shift) + 1;
    if ticks > u32::MAX as u64 {
        u32::MAX
    } else {
        ticks as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_the_low_five_bits_unless_the_processor_is_known_to_lie() {
        assert_eq!(shift(0x50654, 0x7004_c1e5), Some(5));
        assert_eq!(shift(0x50654, 0), Some(0));
        assert_eq!(shift(0x20655, 5), None);
    }

    #[test]
    fn what_is_left_is_rounded_up() {
        assert_eq!((count(0, 5), count(1, 5), count(32, 5)), (0, 1, 1));
        assert_eq!((count(33, 5), count(7, 0)), (2, 7));
        assert_eq!(count(u64::MAX, 5), u32::MAX, "and looked at again");
    }
}
