//! AMD64 Architecture Programmer's Manual volume 2, appendix B: VMCB offset 060h, "virtual interrupt control".

use bitfield_struct::bitfield;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The guest's task priority, and an interrupt to offer it.
#[bitfield(u64)]
#[derive(FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq, Eq)]
pub struct VirtualInterrupt {
    /// V_TPR: the guest's CR8.
    #[bits(4)]
    pub task_priority: u8,
    #[bits(4)]
    _task_priority_high: u8,
    /// V_IRQ: an interrupt waits.
    pub pending: bool,
    /// V_GIF.
    pub global_interrupt_flag: bool,
    _reserved_10: bool,
    /// V_NMI: an NMI waits.
    pub nmi_pending: bool,
    /// V_NMI_MASK: NMIs are blocked.
    pub nmi_masked: bool,
    #[bits(3)]
    _reserved_13: u8,
    /// V_INTR_PRIO: priority class of the waiting interrupt.
    #[bits(4)]
    pub priority: u8,
    /// V_IGN_TPR: offer it whatever the task priority.
    pub ignore_task_priority: bool,
    #[bits(3)]
    _reserved_21: u8,
    /// V_INTR_MASKING: the guest's IF and CR8 concern the guest only.
    pub masking: bool,
    /// V_GIF enable.
    pub enable_global_interrupt_flag: bool,
    /// V_NMI enable.
    pub enable_nmi: bool,
    #[bits(3)]
    _reserved_27: u8,
    /// x2AVIC enable.
    pub x2avic: bool,
    /// AVIC enable.
    pub avic: bool,
    /// V_INTR_VECTOR: vector of the waiting interrupt.
    pub vector: u8,
    #[bits(24)]
    _reserved_40: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_stand_where_the_manual_puts_them() {
        assert_eq!(
            VirtualInterrupt::new().with_task_priority(15).into_bits(),
            0xf
        );
        assert_eq!(
            VirtualInterrupt::new().with_pending(true).into_bits(),
            1 << 8
        );
        assert_eq!(
            VirtualInterrupt::new().with_priority(9).into_bits(),
            9 << 16
        );
        assert_eq!(
            VirtualInterrupt::new()
                .with_ignore_task_priority(true)
                .into_bits(),
            1 << 20
        );
        assert_eq!(
            VirtualInterrupt::new().with_masking(true).into_bits(),
            1 << 24
        );
        assert_eq!(VirtualInterrupt::new().with_avic(true).into_bits(), 1 << 31);
        assert_eq!(
            VirtualInterrupt::new().with_vector(0x42).into_bits(),
            0x42 << 32
        );
    }
}
