//! IOMMU Control Register. AMD I/O Virtualization Technology (IOMMU) Specification, "IOMMU Control Register [MMIO Offset
//! 0018h]".

use bitfield_struct::bitfield;

/// The register.
#[bitfield(u64)]
#[derive(Eq, PartialEq)]
pub(crate) struct Control {
    /// Requests are looked up in the device table. Off, everything passes.
    pub enabled: bool,
    /// HyperTransport tunnel. Never set.
    pub tunnel: bool,
    /// Events are logged.
    pub event_log: bool,
    /// Events raise an interrupt.
    pub event_interrupt: bool,
    /// Completion waits raise an interrupt. Never set: completion is polled.
    pub wait_interrupt: bool,
    /// Time that a device has for an invalidation. 0: no limit but ours.
    #[bits(3)]
    pub invalidation_timeout: u8,
    #[bits(2)]
    _pass_posted_write: u8,
    /// Device table accesses snoop processor caches.
    pub coherent: bool,
    _isochronous: bool,
    /// Commands are taken.
    pub command_buffer: bool,
    /// Page requests. Never set.
    #[bits(3)]
    pub page_requests: u8,
    /// Guest translation. Never set.
    pub guest_translation: bool,
    /// Interrupt entries have 128 bits.
    pub wide_interrupts: bool,
    #[bits(32)]
    _other: u32,
    /// Interrupt entries name 32-bit processors.
    pub x2apic: bool,
    /// The unit's own interrupts go by the x2APIC interrupt control registers.
    pub x2apic_own: bool,
    #[bits(12)]
    _high: u16,
}

const _: () = assert!(size_of::<Control>() == 8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_values() {
        assert_eq!(Control::new().with_enabled(true).into_bits(), 1);
        assert_eq!(Control::new().with_event_log(true).into_bits(), 1 << 2);
        assert_eq!(
            Control::new().with_event_interrupt(true).into_bits(),
            1 << 3
        );
        assert_eq!(Control::new().with_coherent(true).into_bits(), 1 << 10);
        assert_eq!(
            Control::new().with_command_buffer(true).into_bits(),
            1 << 12
        );
        assert_eq!(Control::new().with_page_requests(7).into_bits(), 7 << 13);
        assert_eq!(
            Control::new().with_guest_translation(true).into_bits(),
            1 << 16
        );
        assert_eq!(
            Control::new().with_wide_interrupts(true).into_bits(),
            1 << 17
        );
        assert_eq!(Control::new().with_x2apic(true).into_bits(), 1 << 50);
        assert_eq!(Control::new().with_x2apic_own(true).into_bits(), 1 << 51);
    }
}
