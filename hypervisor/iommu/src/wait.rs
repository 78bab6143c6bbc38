//! Waiting, never for ever.

use crate::{Clock, Error};

/// Longest wait for a unit to carry out a command, in microseconds. Hardware answers in a few; past this it is dead.
pub(crate) const DEADLINE_US: u64 = 50_000;

/// Polls `done` until it says `Some`, or the deadline has passed.
///
/// The last poll comes after the last look at the clock: a processor that was held up between the two does not condemn a unit
/// that has answered meanwhile.
pub(crate) fn wait<C: Clock, T>(
    clock: &C,
    mut done: impl FnMut() -> Option<T>,
) -> Result<T, Error> {
    let start = clock.now();
    let ticks = DEADLINE_US.saturating_mul(clock.ticks_per_us().max(1));
    loop {
        let expired = clock.now().wrapping_sub(start) > ticks;
        if let Some(value) = done() {
            return Ok(value);
        }
        if expired {
            return Err(Error::UnitFailed);
        }
        core::hint::spin_loop();
    }
}
