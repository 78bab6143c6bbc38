//! The two words of every hypercall: the input value in RCX and the result value in RAX (TLFS, "Hypercall
//! inputs" and "Hypercall outputs").

use crate::Status;

/// Hypercall input value.
///
/// `[15:0]` call code, `16` fast, `[26:17]` variable header size in 8-byte units, `[30:27]` zero, `31` nested,
/// `[43:32]` repetition count, `[47:44]` zero, `[59:48]` repetition start, `[63:60]` zero.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(transparent)]
pub struct CallInput(pub u64);

impl CallInput {
    const FAST: u64 = 1 << 16;
    const RESERVED: u64 = 0xf << 27 | 1 << 31 | 0xf << 44 | 0xf << 60;

    /// A call without repetitions, parameters in memory.
    #[must_use]
    pub const fn simple(code: u16) -> Self {
        Self(code as u64)
    }

    /// A call without repetitions, parameters in RDX and R8.
    #[must_use]
    pub const fn fast(code: u16) -> Self {
        Self(code as u64 | Self::FAST)
    }

    /// A call with `count` repetitions (1 to 4095), of which those before `start` are done.
    #[must_use]
    pub const fn rep(code: u16, count: u16, start: u16) -> Self {
        Self(code as u64 | (count as u64 & 0xfff) << 32 | (start as u64 & 0xfff) << 48)
    }

    /// The same call with a variable header of this many 8-byte units.
    #[must_use]
    pub const fn with_variable_header(self, qwords: u16) -> Self {
        Self(self.0 & !(0x3ff << 17) | (qwords as u64 & 0x3ff) << 17)
    }

    /// The same call, to be continued at this repetition.
    #[must_use]
    pub const fn with_start(self, start: u16) -> Self {
        Self(self.0 & !(0xfff << 48) | (start as u64 & 0xfff) << 48)
    }

    /// Call code.
    #[must_use]
    pub const fn code(self) -> u16 {
        self.0 as u16
    }

    /// Whether the parameters are in registers.
    #[must_use]
    pub const fn is_fast(self) -> bool {
        self.0 & Self::FAST != 0
    }

    /// Size of the variable header in 8-byte units.
    #[must_use]
    pub const fn variable_header(self) -> u16 {
        (self.0 >> 17) as u16 & 0x3ff
    }

    /// Number of repetitions; 0 for a call that has none.
    #[must_use]
    pub const fn count(self) -> u16 {
        (self.0 >> 32) as u16 & 0xfff
    }

    /// Index of the first repetition that is still to do.
    #[must_use]
    pub const fn start(self) -> u16 {
        (self.0 >> 48) as u16 & 0xfff
    }

    /// Whether a bit is set that must be zero.
    #[must_use]
    pub const fn has_reserved_bits(self) -> bool {
        self.0 & Self::RESERVED != 0
    }
}

/// Hypercall result value: `[15:0]` status, `[43:32]` repetitions completed, counted from the first of the list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(transparent)]
pub struct CallResult(pub u64);

impl CallResult {
    /// The result of a call after `completed` repetitions.
    #[must_use]
    pub const fn new(status: Status, completed: u16) -> Self {
        Self(status.0 as u64 | (completed as u64 & 0xfff) << 32)
    }

    /// Status.
    #[must_use]
    pub const fn status(self) -> Status {
        Status(self.0 as u16)
    }

    /// Repetitions completed, those before the start index included.
    #[must_use]
    pub const fn completed(self) -> u16 {
        (self.0 >> 32) as u16 & 0xfff
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_stand_where_the_specification_puts_them() {
        let input = CallInput::rep(0x4b, 0x123, 0x45).with_variable_header(3);
        assert_eq!(input.0, 0x0045_0123_0006_004b);
        assert_eq!(
            (input.code(), input.count(), input.start()),
            (0x4b, 0x123, 0x45)
        );
        assert_eq!(CallInput::fast(0x41).0, 0x1_0041);
        assert_eq!(
            CallResult::new(Status::INSUFFICIENT_MEMORY, 7).0,
            0x0000_0007_0000_000b
        );
    }

    #[test]
    fn every_reserved_bit_is_noticed() {
        for bit in [27, 28, 29, 30, 31, 44, 45, 46, 47, 60, 61, 62, 63] {
            assert!(CallInput(1 << bit).has_reserved_bits(), "bit {bit}");
        }
        assert!(
            !CallInput::rep(0xffff, 0xfff, 0xfff)
                .with_variable_header(0x3ff)
                .has_reserved_bits()
        );
    }
}
