//! IOMMU Status Register. AMD I/O Virtualization Technology (IOMMU) Specification, "IOMMU Status Register [MMIO Offset 2020h]".
//! Bits other than the running ones are cleared by writing one.

use bitfield_struct::bitfield;

/// The register.
#[bitfield(u32)]
#[derive(Eq, PartialEq)]
pub(crate) struct Status {
    /// Events were lost because the log was full; logging has stopped.
    pub event_overflow: bool,
    /// The log's interrupt is pending.
    pub event_interrupt: bool,
    /// A completion wait's interrupt is pending.
    pub wait_interrupt: bool,
    /// Events are being logged.
    pub event_log_runs: bool,
    /// Commands are being taken. An error of a command stops them.
    pub commands_run: bool,
    #[bits(27)]
    _other: u32,
}

impl Status {
    /// Writing this clears all that can be cleared here.
    pub(crate) const CLEAR: Self = Self::new()
        .with_event_overflow(true)
        .with_event_interrupt(true)
        .with_wait_interrupt(true);
}

const _: () = assert!(size_of::<Status>() == 4);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_values() {
        assert_eq!(Status::CLEAR.into_bits(), 0b111);
        assert_eq!(Status::new().with_event_log_runs(true).into_bits(), 1 << 3);
        assert_eq!(Status::new().with_commands_run(true).into_bits(), 1 << 4);
    }
}
