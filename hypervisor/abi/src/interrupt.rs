//! Interrupts of VPs (TLFS, "Virtual interrupt control") and device interrupts (layouts of the public headers).

use crate::layout::structures;

structures! {
    /// Input of AssertVirtualInterrupt (0094).
    Assert: 32 {
        /// Partition.
        partition: u64,
        /// [`interrupt_type`].
        interrupt_type: u32,
        /// Bit 0 level-triggered, bit 1 logical destination.
        control: u32,
        /// APIC id of the VP.
        destination: u64,
        /// Vector.
        vector: u32,
        /// Virtual trust level; 0.
        vtl: u8,
        /// Zero.
        reserved: [u8; 3],
    }
    /// `HV_INTERRUPT_ENTRY`: what the device or the pin sends.
    Entry: 16 {
        /// [`source`].
        source: u32,
        /// Zero.
        reserved: u32,
        /// MSI: `[31:0]` address, `[63:32]` data. Pin: the IOAPIC redirection entry.
        value: u64,
    }
    /// `HV_DEVICE_INTERRUPT_TARGET` up to its mask.
    Target: 16 {
        /// Vector that the VP gets.
        vector: u32,
        /// [`target_flags`].
        flags: u32,
        /// VP mask, or format of a VP set (0: sparse).
        mask: u64,
    }
    /// Fixed input of MapDeviceInterrupt (007C); a VP set's banks follow.
    MapInterrupt: 80 {
        /// Partition that gets the interrupt.
        partition: u64,
        /// Device, see [`crate::device`].
        device: u64,
        /// Flags; 0.
        flags: u32,
        /// Zero.
        reserved: u32,
        /// `HV_INTERRUPT_ENTRY` on input; only used for pins.
        logical: Entry,
        /// [`interrupt_type`]; 0 (fixed).
        interrupt_type: u32,
        /// 0 edge, 1 level.
        trigger: u32,
        /// Vectors; 1.
        vector_count: u32,
        /// Zero.
        reserved2: u32,
        /// VP and vector.
        target: Target,
        /// Valid banks of a VP set, else 0.
        bank_mask: u64,
    }
    /// Output of MapDeviceInterrupt (007C).
    MappedInterrupt: 56 {
        /// What to program into the device or the pin.
        entry: Entry,
        /// Not used.
        deprecated: [u64; 5],
    }
    /// Input of UnmapDeviceInterrupt (007D).
    UnmapInterrupt: 40 {
        /// Partition that has the interrupt.
        partition: u64,
        /// Device.
        device: u64,
        /// The entry that MapDeviceInterrupt returned.
        entry: Entry,
        /// Flags; 0.
        flags: u32,
        /// Zero.
        reserved: u32,
    }
    /// Fixed input of RetargetDeviceInterrupt (007E); a VP set's banks follow.
    Retarget: 56 {
        /// Partition that has the interrupt.
        partition: u64,
        /// Device.
        device: u64,
        /// The entry that MapDeviceInterrupt returned.
        entry: Entry,
        /// Zero.
        reserved: u64,
        /// VP and vector.
        target: Target,
    }
}

/// Interrupt types.
pub mod interrupt_type {
    /// Fixed.
    pub const FIXED: u32 = 0;
    /// NMI.
    pub const NMI: u32 = 4;
    /// INIT.
    pub const INIT: u32 = 5;
    /// Start-up IPI.
    pub const SIPI: u32 = 6;
}

/// Sources of an interrupt entry.
pub mod source {
    /// Message-signalled.
    pub const MSI: u32 = 1;
    /// Pin of an IOAPIC.
    pub const IOAPIC: u32 = 2;
}

/// Flags of an interrupt target.
pub mod target_flags {
    /// The target is a VP set.
    pub const PROCESSOR_SET: u32 = 2;
}
