//! Fault Status Register. Intel Virtualization Technology for Directed I/O, "Fault Status Register".

use bitfield_struct::bitfield;

/// What went wrong. The first, and the three queue errors, are cleared by writing one to them.
#[bitfield(u32)]
pub(crate) struct FaultStatus {
    /// A fault was lost for want of a free record.
    pub overflow: bool,
    /// Some record is in use.
    pub pending: bool,
    #[bits(2)]
    __: u8,
    /// The queue holds a descriptor that the unit does not take.
    pub queue_error: bool,
    /// A device answered an invalidation wrongly.
    pub completion_error: bool,
    /// A device did not answer an invalidation in time.
    pub timeout_error: bool,
    __: bool,
    /// The oldest record.
    pub index: u8,
    __: u16,
}

impl FaultStatus {
    /// Whether the queue is broken. (Time-outs concern device caches, which are never used.)
    pub(crate) const fn queue_is_broken(self) -> bool {
        self.queue_error() || self.completion_error() || self.timeout_error()
    }

    /// What clears everything that can be cleared.
    pub(crate) const CLEAR: Self = Self::new()
        .with_overflow(true)
        .with_queue_error(true)
        .with_completion_error(true)
        .with_timeout_error(true);
}

const _: () = assert!(size_of::<FaultStatus>() == 4);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_values() {
        assert_eq!(FaultStatus::CLEAR.into_bits(), 0x71);
        let status = FaultStatus::from_bits(0x0000_2a03);
        assert!(status.overflow() && status.pending() && !status.queue_is_broken());
        assert_eq!(status.index(), 0x2a);
        for bit in 4..7 {
            assert!(FaultStatus::from_bits(1 << bit).queue_is_broken());
        }
    }
}
