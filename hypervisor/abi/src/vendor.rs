//! What has no public layout: the calls F001 to F0FF.

use crate::layout::structures;

structures! {
    /// Input of VendorReadLog: where to go on.
    ReadLog: 16 {
        /// Bytes of the log that the caller has read so far.
        position: u64,
        /// Zero.
        reserved: u64,
    }
    /// Output of VendorReadLog.
    LogBytes: 248 {
        /// Position after these bytes; bytes that were overwritten before they were read are skipped.
        position: u64,
        /// How many bytes follow, 0 at the end.
        count: u64,
        /// Text.
        bytes: [u8; 232],
    }
    /// Input of the listing calls: which one, from 0; NO_DATA past the last.
    Index: 8 {
        /// Index.
        index: u64,
    }
    /// Output of VendorSystemInfo; the input index names an LP for the last fields.
    SystemInfo: 96 {
        /// LPs.
        lps: u32,
        /// IOMMUs.
        iommus: u32,
        /// 0 SVM, 1 VMX.
        processor_dialect: u32,
        /// Bit 0 DMA remapping works, bit 1 interrupt remapping works.
        assignment: u32,
        /// TSC frequency, Hz.
        tsc_hz: u64,
        /// Local APIC timer frequency, Hz.
        apic_hz: u64,
        /// Bytes of RAM.
        ram_bytes: u64,
        /// Bytes that the hypervisor keeps.
        kept_bytes: u64,
        /// Bytes of the hypervisor's text.
        text_bytes: u64,
        /// TSC ticks from hypervisor entry to the root agent's first instruction, waits not counted.
        boot_ticks: u64,
        /// Local APIC id of the LP.
        apic_id: u32,
        /// VPs bound to the LP.
        vps: u32,
        /// Devices known.
        devices: u32,
        /// Time slice in microseconds.
        slice_us: u32,
        /// Frames of the hypervisor's own reserve that are free.
        reserve_free: u64,
        /// NMIs that the LP has taken.
        nmis: u64,
    }
    /// Input of VendorWriteConfig.
    WriteConfig: 24 {
        /// Device.
        device: u64,
        /// Byte offset, 0 to 4095.
        offset: u32,
        /// Bytes: 1, 2 or 4; the offset is a multiple of it.
        size: u32,
        /// Value.
        value: u64,
    }
    /// Output of VendorWriteConfig.
    WrittenConfig: 8 {
        /// What the register held after the write.
        value: u64,
    }
    /// Output of VendorDeviceInfo.
    DeviceInfo: 64 {
        /// Name, as [`crate::device::DeviceName`] encodes it.
        device: u64,
        /// Owner, 0 for none.
        owner: u64,
        /// [`device_state`].
        state: u32,
        /// Index of the IOMMU behind which it stands, `u32::MAX` for none.
        iommu: u32,
        /// Group: devices of the same number move together.
        group: u32,
        /// 0 where it can be assigned, else 1: VendorWhyNot says why.
        reason: u32,
        /// Vendor and device id, as in configuration space.
        ids: u32,
        /// Class code, `[31:8]` of configuration register 8.
        class: u32,
        /// Domain id, [`crate::domain::NULL`] when blocked.
        domain: u32,
        /// Interrupts mapped.
        interrupts: u32,
        /// Pages mapped in its domain.
        pages: u64,
        /// Faults recorded.
        faults: u64,
    }
    /// Output of VendorIommuInfo.
    IommuInfo: 64 {
        /// Register base.
        base: u64,
        /// Name of the dialect, NUL-padded.
        dialect: [u8; 16],
        /// PCI segment.
        segment: u32,
        /// 0 works, 1 failed.
        failed: u32,
        /// Address bits that a domain can map.
        address_bits: u32,
        /// Bit 0: 2 MiB pages, bit 1: 1 GiB pages, bit 2: coherent walks, bit 3: interrupt remapping.
        features: u32,
        /// Devices behind it.
        devices: u32,
        /// Zero.
        reserved: u32,
        /// Flushes done.
        flushes: u64,
        /// Faults recorded.
        faults: u64,
    }
    /// A recorded DMA or interrupt fault: output of VendorTakeFault (input index 0).
    Fault: 40 {
        /// Device.
        device: u64,
        /// Owner at that time, 0 for none.
        partition: u64,
        /// Address that the device used.
        address: u64,
        /// [`fault_kind`].
        kind: u32,
        /// The unit's own reason code.
        reason: u32,
        /// Faults that were not recorded since the last one taken.
        lost: u64,
    }
    /// Input of VendorCounters.
    CountersOf: 16 {
        /// Partition, or 0 for an LP.
        partition: u64,
        /// LP where `partition` is 0.
        lp: u64,
    }
    /// Output of VendorCounters: of a partition, sums over the VPs that it has; of an LP, sums over the VPs bound there, and
    /// nothing that partitions alone have. They begin anew with each VP; `dma_faults` with each partition.
    Counters: 240 {
        /// Exits by reason, indexed as [`EXIT_NAMES`].
        exits: [u64; 16],
        /// Hypercalls.
        hypercalls: u64,
        /// Device interrupts that arrived.
        device_interrupts: u64,
        /// Interrupts injected.
        injections: u64,
        /// Intercept messages sent to the parent.
        messages: u64,
        /// DMA faults.
        dma_faults: u64,
        /// Pages in the GPA map.
        mapped_pages: u64,
        /// Pages in the device domains.
        domain_pages: u64,
        /// Frames of the deposits in use.
        frames_in_use: u64,
        /// Frames of the deposits that are free.
        frames_free: u64,
        /// VPs.
        vps: u64,
        /// Devices.
        devices: u64,
        /// Device interrupts mapped.
        interrupts: u64,
        /// TSC ticks that VPs had their LPs, the hypervisor's work for them included; a turn counts when it ends.
        guest_ticks: u64,
        /// Times a VP was preempted at the end of its time slice.
        preemptions: u64,
    }
    /// Input of VendorPower.
    Power: 8 {
        /// 0 power off, 1 reset.
        action: u64,
    }
    /// Output of VendorWhyNot (the input index is the device's name): a sentence, empty where the device can be assigned.
    Sentence: 240 {
        /// Bytes of the sentence.
        length: u64,
        /// Text, NUL-padded.
        text: [u8; 232],
    }
    /// Input of VendorBarInfo.
    BarOf: 16 {
        /// Device.
        device: u64,
        /// Index of the base address register, 0 to 5; a wide one is named by its first.
        index: u64,
    }
    /// Output of VendorBarInfo: what the hypervisor found when it sized the register at boot, and where it stands now.
    BarInfo: 56 {
        /// First byte; 0 where firmware gave it none.
        address: u64,
        /// Bytes, a power of two; 0 where the index names no register that decodes memory.
        size: u64,
        /// [`bar_flags`].
        flags: u32,
        /// Zero.
        reserved: u32,
        /// Offset of the MSI-X table in it, bytes. What shares a page with it is mapped to nobody.
        table_offset: u64,
        /// Bytes of the MSI-X table in it, 16 for an entry; 0 where it is not in this BAR.
        table_bytes: u64,
        /// Offset of the MSI-X pending bits in it, bytes. What shares a page with them is mapped to nobody.
        pending_offset: u64,
        /// Bytes of the MSI-X pending bits in it; 0 where they are not in this BAR.
        pending_bytes: u64,
    }
    /// Output of VendorDomainInfo.
    DomainInfo: 40 {
        /// Owner; 0 for the hypervisor's own, which map what firmware reserved for devices.
        partition: u64,
        /// Id that the owner chose.
        id: u32,
        /// Devices in it.
        devices: u32,
        /// Pages mapped.
        pages: u64,
        /// Name of it in the hardware.
        hardware_id: u32,
        /// Levels of its table.
        levels: u32,
        /// Zero.
        reserved: u64,
    }
    /// Input of [`TEST_MESSAGE`].
    TestMessage: 16 {
        /// Device, as [`crate::device::DeviceName`] encodes it.
        device: u64,
        /// Message: address in bits 31:0, data in bits 63:32.
        message: u64,
    }
    /// Output of VendorInterruptInfo.
    InterruptInfo: 48 {
        /// Device.
        device: u64,
        /// Partition that gets it.
        partition: u64,
        /// VP.
        vp: u32,
        /// Vector that the VP gets.
        vector: u32,
        /// LP that takes it.
        lp: u32,
        /// Vector on the LP.
        lp_vector: u32,
        /// Index in the remapping table.
        index: u32,
        /// 0 message, 1 pin.
        kind: u32,
        /// Arrivals at the LP: what was posted has none.
        count: u64,
    }
}

/// Code of the call that gives a device's MSI capability any message, past the guard. Only images that are built for the
/// suite have it (feature `test-calls`); elsewhere it is no call.
pub const TEST_MESSAGE: u16 = 0xf0f0;

/// Flags of [`BarInfo`].
pub mod bar_flags {
    /// Takes two registers.
    pub const WIDE: u32 = 1;
    /// Reads have no side effects.
    pub const PREFETCHABLE: u32 = 2;
}

/// Kinds of a fault.
pub mod fault_kind {
    /// DMA read.
    pub const READ: u32 = 0;
    /// DMA write.
    pub const WRITE: u32 = 1;
    /// Interrupt.
    pub const INTERRUPT: u32 = 2;
    /// Only in a message: the device was blocked, because it caused more faults than it may; its owner stays.
    pub const BLOCKED: u32 = 3;
    /// Only in a message: a remapping unit in front of the partition's devices does not answer any more. The partition's VPs
    /// were suspended, and its memory stays out of use; the device is none.
    pub const UNIT_FAILED: u32 = 4;
}

/// States of a device.
pub mod device_state {
    /// No owner, not reset since it last had one.
    pub const NEEDS_RESET: u32 = 0;
    /// No owner, reset, blocked.
    pub const BLOCKED: u32 = 1;
    /// Owned and in a domain.
    pub const ATTACHED: u32 = 2;
    /// Owned, but in no domain.
    pub const DETACHED: u32 = 3;
    /// Behind a unit that failed.
    pub const FAILED: u32 = 4;
}

/// Names of the exit counters.
pub const EXIT_NAMES: [&str; 16] = [
    "host",
    "window",
    "cpuid",
    "hypercall",
    "rdmsr",
    "wrmsr",
    "halt",
    "pause",
    "port",
    "memory",
    "exception",
    "xsetbv",
    "cache-flush",
    "no-such-instruction",
    "shutdown",
    "other",
];
