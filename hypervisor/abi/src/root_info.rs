//! What the root partition finds at its entry: RDI holds the GPA of a [`RootInfo`].

use crate::layout::structures;

structures! {
    /// Facts of the machine for the root partition.
    RootInfo: 4096 {
        /// [`MAGIC`].
        magic: u64,
        /// Bytes of the structure: 4096.
        size: u32,
        /// Entries of `ranges` that count.
        range_count: u32,
        /// Entries of `modules` that count.
        module_count: u32,
        /// LPs, and so VPs of the root.
        lps: u32,
        /// RSDP; 0 where there is none. The tables are firmware's own.
        rsdp: u64,
        /// TSC frequency, Hz.
        tsc_hz: u64,
        /// Local APIC timer frequency, Hz, before its divider.
        apic_hz: u64,
        /// I/O port of the console UART; 0 for none.
        console_port: u16,
        /// Its IOAPIC pin, mapped to nothing yet; `0xffff` for none.
        console_pin: u16,
        /// IOAPIC id of that pin.
        console_ioapic: u32,
        /// Page-table root that the root VP starts with: identity.
        cr3: u64,
        /// TSC at hypervisor entry.
        entry_tsc: u64,
        /// Zero.
        reserved: [u64; 2],
        /// Memory of the root partition: what may be used, and what is there already.
        ranges: [Range; 96],
        /// Boot modules: every file of `portcullis/` on the boot volume.
        modules: [Module; 20],
        /// Zero.
        tail: [u64; 13],
    }
    /// A range of the root's GPA map.
    Range: 24 {
        /// First byte.
        start: u64,
        /// Bytes.
        length: u64,
        /// [`range_kind`].
        kind: u64,
    }
    /// A boot module.
    Module: 80 {
        /// First byte.
        start: u64,
        /// Bytes.
        length: u64,
        /// File name, NUL-padded.
        name: [u8; 64],
    }
}

/// First word of a [`RootInfo`]: "PCROOT01".
pub const MAGIC: u64 = u64::from_le_bytes(*b"PCROOT01");

/// Kinds of ranges.
pub mod range_kind {
    /// RAM that nobody uses.
    pub const FREE: u64 = 1;
    /// RAM with the agent's image, its page tables, this structure or a module in it.
    pub const LOADED: u64 = 2;
    /// ACPI tables.
    pub const ACPI: u64 = 3;
    /// MMIO window that the root may map and give to children with a device.
    pub const MMIO: u64 = 4;
    /// ECAM, mapped read-only: bus 0 of segment 0 first.
    pub const ECAM: u64 = 5;
    /// Reserved by firmware.
    pub const RESERVED: u64 = 6;
}
