//! How fast a counter runs, from how far it ran during known ticks of another.

/// Ticks per second of the ACPI power management timer (ACPI specification 6.5, 4.8.2.1).
pub const PM_TIMER_HZ: u64 = 3_579_545;
/// Ticks per second of the PIT.
pub const PIT_HZ: u64 = 1_193_182;

/// Ticks between two readings of a counter of `bits` width that wrapped at most once.
#[must_use]
pub fn elapsed(start: u32, end: u32, bits: u32) -> u32 {
    let mask = if bits >= 32 {
        u32::MAX
    } else {
        (1 << bits) - 1
    };
    end.wrapping_sub(start) & mask
}

/// Ticks per second of a counter that ran `counted` ticks while a reference of `reference_hz` ran `reference_ticks`;
/// 0 where nothing can be said.
#[must_use]
pub fn frequency(counted: u64, reference_ticks: u64, reference_hz: u64) -> u64 {
    if reference_ticks == 0 {
        return 0;
    }
    let hz = u128::from(counted) * u128::from(reference_hz) / u128::from(reference_ticks);
    u64::try_from(hz).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_wrap_at_their_width() {
        assert_eq!(elapsed(0xff_fff0, 0x10, 24), 0x20);
        assert_eq!(elapsed(0xffff_fff0, 0x10, 32), 0x20);
        assert_eq!(elapsed(5, 9, 24), 4);
    }

    #[test]
    fn ten_milliseconds_of_a_gigahertz() {
        assert_eq!(frequency(10_000_000, 35_795, PM_TIMER_HZ), 1_000_012_571);
        assert_eq!(frequency(5, 0, PIT_HZ), 0);
        assert_eq!(frequency(u64::MAX, 1, PIT_HZ), 0);
    }
}
