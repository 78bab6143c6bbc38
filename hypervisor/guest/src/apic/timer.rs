//! The timer of a local APIC: Intel SDM volume 3, "APIC timer". Time is the guest's time-stamp counter, in ticks.

/// Ticks of the time-stamp counter in one tick of the APIC's bus clock, before the divider.
const TICKS_PER_BUS_TICK: u64 = 16;
/// The shortest period of a periodic timer, in ticks: a shorter one would be nothing but exits.
pub const SHORTEST_PERIOD: u64 = 1 << 17;

/// Frequency of the bus clock that the timer counts, in Hz, for this frequency of the time-stamp counter.
#[must_use]
pub const fn bus_frequency(tsc_frequency: u64) -> u64 {
    tsc_frequency / TICKS_PER_BUS_TICK
}

/// How the timer counts: `[18:17]` of its LVT entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Mode {
    OneShot,
    Periodic,
    Deadline,
    Reserved,
}

impl Mode {
    pub(super) const fn from_lvt(lvt: u32) -> Self {
        match lvt >> 17 & 3 {
            0 => Self::OneShot,
            1 => Self::Periodic,
            2 => Self::Deadline,
            _ => Self::Reserved,
        }
    }
}

/// State of the timer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Timer {
    pub(super) initial: u32,
    pub(super) divide: u32,
    /// When it fires next, in ticks; `None`: it is stopped.
    pub(super) deadline: Option<u64>,
}

impl Timer {
    /// Ticks that one count takes.
    const fn count_ticks(&self) -> u64 {
        let code = self.divide & 3 | self.divide >> 1 & 4;
        TICKS_PER_BUS_TICK << ((code + 1) & 7)
    }

    /// Ticks from the start to the end of the count.
    const fn span(&self) -> u64 {
        self.initial as u64 * self.count_ticks()
    }

    /// Starts to count at `now`; an initial count of 0 stops.
    pub(super) fn start(&mut self, initial: u32, now: u64) {
        self.initial = initial;
        self.deadline = if initial == 0 {
            None
        } else {
            Some(now.saturating_add(self.span()))
        };
    }

    /// Sets the divider; a count in progress keeps what is left of it, in counts.
    pub(super) fn set_divide(&mut self, divide: u32, now: u64) {
        let left = self.current(now);
        self.divide = divide & 0xb;
        if self.deadline.is_some() && self.initial != 0 {
            self.deadline = Some(now.saturating_add(u64::from(left) * self.count_ticks()));
        }
    }

    /// What is left of the count.
    pub(super) fn current(&self, now: u64) -> u32 {
        let left = self.deadline.map_or(0, |at| at.saturating_sub(now));
        u32::try_from(left.div_ceil(self.count_ticks()))
            .unwrap_or(u32::MAX)
            .min(self.initial)
    }

    /// Whether the deadline has passed; sets the next one of a periodic timer. Periods that were missed are one.
    pub(super) fn expire(&mut self, mode: Mode, now: u64) -> bool {
        let Some(at) = self.deadline.filter(|&at| at <= now) else {
            return false;
        };
        self.deadline = match mode {
            Mode::Periodic => {
                let period = self.span().max(SHORTEST_PERIOD);
                let next = at.saturating_add(period);
                Some(if next > now {
                    next
                } else {
                    now.saturating_add(period)
                })
            }
            _ => None,
        };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_divider_has_these_codes() {
        let ticks = |divide| {
            Timer {
                divide,
                ..Timer::default()
            }
            .count_ticks()
                / TICKS_PER_BUS_TICK
        };
        assert_eq!(
            [0, 1, 2, 3, 8, 9, 10, 11].map(ticks),
            [2, 4, 8, 16, 32, 64, 128, 1]
        );
    }

    #[test]
    fn a_one_shot_counts_down_and_stops() {
        let mut timer = Timer {
            divide: 0xb,
            ..Timer::default()
        };
        timer.start(100, 1000);
        assert_eq!(
            (timer.current(1000), timer.current(1000 + 16 * 40)),
            (100, 60)
        );
        assert!(!timer.expire(Mode::OneShot, 1000 + 16 * 100 - 1));
        assert!(timer.expire(Mode::OneShot, 1000 + 16 * 100));
        assert_eq!((timer.deadline, timer.current(9999)), (None, 0));
    }

    #[test]
    fn cpu_17_a_periodic_timer_of_one_tick_fires_once_per_shortest_period() {
        let mut timer = Timer {
            divide: 0xb,
            ..Timer::default()
        };
        timer.start(1, 0);
        assert!(timer.expire(Mode::Periodic, 50));
        assert!(timer.deadline.is_some_and(|at| at >= SHORTEST_PERIOD));
        assert!(!timer.expire(Mode::Periodic, 60));
        assert!(timer.expire(Mode::Periodic, 1 << 40));
        assert!(timer.deadline.is_some_and(|at| at > 1 << 40));
    }

    #[test]
    fn the_longest_count_does_not_wrap() {
        let mut timer = Timer {
            divide: 0xa,
            ..Timer::default()
        };
        timer.start(u32::MAX, u64::MAX - 5);
        assert_eq!(timer.deadline, Some(u64::MAX));
    }
}
