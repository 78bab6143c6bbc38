//! Time that passes by being looked at.

use std::cell::Cell;

/// A clock with one tick per microsecond, of which each look takes some: waits end in few steps.
#[derive(Debug, Default)]
pub struct Ticks(Cell<u64>);

/// Ticks that pass with every look.
const LOOK: u64 = 50;

impl Ticks {
    /// Now, in microseconds.
    pub fn now(&self) -> u64 {
        self.0.set(self.0.get() + LOOK);
        self.0.get()
    }

    /// Lets time pass.
    pub fn pass(&self, microseconds: u64) {
        self.0.set(self.0.get() + microseconds);
    }
}
