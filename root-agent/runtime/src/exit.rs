//! The exit port: how a guest ends itself with a verdict.

use core::sync::atomic::{AtomicU8, Ordering};

use crate::{cpu, port};

/// A byte `v` written here ends the guest with exit code `2·v + 1`.
pub const PORT: u16 = 0xf4;

static PANIC_VALUE: AtomicU8 = AtomicU8::new(1);

/// What a program reports at its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// All went as it must: 0 on the exit port.
    Success,
    /// Something did not: 1 on the exit port.
    Failure,
}

impl From<bool> for Verdict {
    fn from(good: bool) -> Self {
        if good { Self::Success } else { Self::Failure }
    }
}

/// Ends the guest with this value; where nobody listens, the VP halts.
pub fn exit(value: u8) -> ! {
    port::write8(PORT, value);
    cpu::halt_forever()
}

/// Ends the guest with a verdict.
pub fn with(verdict: Verdict) -> ! {
    exit(match verdict {
        Verdict::Success => 0,
        Verdict::Failure => 1,
    })
}

/// Sets the exit value that a panic or an unexpected exception reports; 1 until then.
pub fn set_panic_value(value: u8) {
    PANIC_VALUE.store(value, Ordering::Relaxed);
}

/// Ends the guest after a panic.
pub(crate) fn panicked() -> ! {
    exit(PANIC_VALUE.load(Ordering::Relaxed))
}
