//! Global Command and Status Registers. Intel Virtualization Technology for Directed I/O, "Global Command Register",
//! "Global Status Register": the same bits, asked and answered.

use bitfield_struct::bitfield;

/// A command that is asked, or the state that answers.
#[bitfield(u32)]
pub(crate) struct GlobalCommand {
    #[bits(23)]
    __: u32,
    /// Compatibility-format interrupts pass without remapping. Never set.
    pub compatibility_interrupts: bool,
    /// Take the interrupt table over (status: taken).
    pub set_interrupt_table: bool,
    /// Remap interrupts.
    pub interrupt_remapping: bool,
    /// Take commands from the invalidation queue.
    pub queued_invalidation: bool,
    /// Flush write buffers (status: under way).
    pub flush_write_buffers: bool,
    /// Advanced fault logging.
    pub advanced_faults: bool,
    /// Set the fault log (status: set).
    pub set_fault_log: bool,
    /// Take the root table over (status: taken).
    pub set_root_table: bool,
    /// Translate.
    pub translation: bool,
}

impl GlobalCommand {
    /// The state that a command must repeat, so that it changes nothing else: one-shot answers are no state.
    pub(crate) const fn lasting(self) -> Self {
        self.with_set_interrupt_table(false)
            .with_flush_write_buffers(false)
            .with_set_fault_log(false)
            .with_set_root_table(false)
    }
}

const _: () = assert!(size_of::<GlobalCommand>() == 4);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_values() {
        let none = GlobalCommand::new();
        assert_eq!(none.with_translation(true).into_bits(), 1 << 31);
        assert_eq!(none.with_set_root_table(true).into_bits(), 1 << 30);
        assert_eq!(none.with_set_fault_log(true).into_bits(), 1 << 29);
        assert_eq!(none.with_advanced_faults(true).into_bits(), 1 << 28);
        assert_eq!(none.with_flush_write_buffers(true).into_bits(), 1 << 27);
        assert_eq!(none.with_queued_invalidation(true).into_bits(), 1 << 26);
        assert_eq!(none.with_interrupt_remapping(true).into_bits(), 1 << 25);
        assert_eq!(none.with_set_interrupt_table(true).into_bits(), 1 << 24);
        assert_eq!(
            none.with_compatibility_interrupts(true).into_bits(),
            1 << 23
        );
    }

    #[test]
    fn one_shot_answers_are_not_repeated() {
        let all = GlobalCommand::from_bits(0xff80_0000);
        assert_eq!(all.lasting().into_bits(), 0x9680_0000);
    }
}
