//! Partitions: life, properties, privileges (TLFS, "Partitions").

use crate::layout::structures;

structures! {
    /// Input of CreatePartition (0040).
    CreatePartition: 56 {
        /// Creation flags, [`flags`].
        flags: u64,
        /// Proximity domain; ignored.
        proximity: u64,
        /// Compatibility version; ignored.
        compatibility: u32,
        /// Zero.
        reserved: u32,
        /// Processor features to hide; must be zero.
        disabled_features: [u64; 2],
        /// XSAVE features to hide; must be zero.
        disabled_xsave: u64,
        /// Isolation; must be zero.
        isolation: u64,
    }
    /// Input of the calls that take a partition alone (0041, 0042, 0043).
    Target: 8 {
        /// Partition.
        partition: u64,
    }
    /// Input of GetPartitionProperty (0044).
    GetProperty: 16 {
        /// Partition.
        partition: u64,
        /// [`property`] code.
        code: u32,
        /// Zero.
        reserved: u32,
    }
    /// Input of SetPartitionProperty (0045).
    SetProperty: 24 {
        /// Partition.
        partition: u64,
        /// [`property`] code.
        code: u32,
        /// Zero.
        reserved: u32,
        /// New value.
        value: u64,
    }
    /// Input of GetNextChildPartition (0047).
    NextChild: 16 {
        /// Parent.
        parent: u64,
        /// The child that was listed last, 0 to begin.
        previous: u64,
    }
}

/// Flags of CreatePartition.
pub mod flags {
    /// The GPA map may use large pages.
    pub const GPA_SUPER_PAGES: u64 = 1 << 4;
    /// VPs have a local APIC in the hypervisor. Always the case here.
    pub const LAPIC_ENABLED: u64 = 1 << 13;
    /// VPs may use x2APIC mode.
    pub const X2APIC_CAPABLE: u64 = 1 << 22;
}

/// Property codes.
pub mod property {
    /// Privilege mask, see [`super::privilege`].
    pub const PRIVILEGE_FLAGS: u32 = 0x0001_0000;
    /// 1: no VP of the partition runs.
    pub const SUSPEND: u32 = 0x0002_0000;
    /// Reference time, 100 ns.
    pub const REFERENCE_TIME: u32 = 0x0003_0005;
    /// Physical address width in bits.
    pub const PHYSICAL_ADDRESS_WIDTH: u32 = 0x0006_0006;
    /// Bytes of the largest XSAVE area.
    pub const MAX_XSAVE_DATA_SIZE: u32 = 0x0006_0008;
    /// TSC frequency, Hz.
    pub const PROCESSOR_CLOCK_FREQUENCY: u32 = 0x0006_0009;
    /// What the guest wrote to its HV_X64_MSR_GUEST_OS_ID.
    pub const GUEST_OS_ID: u32 = 0x0007_0000;
}

/// Bits of the privilege mask, as CPUID 4000_0003 shows them in EBX:EAX.
pub mod privilege {
    /// HV_X64_MSR_VP_RUNTIME.
    pub const VP_RUNTIME: u64 = 1 << 0;
    /// HV_X64_MSR_TIME_REF_COUNT.
    pub const REFERENCE_COUNTER: u64 = 1 << 1;
    /// SynIC MSRs.
    pub const SYNIC_MSRS: u64 = 1 << 2;
    /// EOI, ICR and TPR MSRs.
    pub const APIC_MSRS: u64 = 1 << 4;
    /// HV_X64_MSR_HYPERCALL and HV_X64_MSR_GUEST_OS_ID.
    pub const HYPERCALL_MSRS: u64 = 1 << 5;
    /// HV_X64_MSR_VP_INDEX.
    pub const VP_INDEX: u64 = 1 << 6;
    /// Frequency MSRs.
    pub const FREQUENCY_MSRS: u64 = 1 << 11;
    /// Partition life-cycle calls.
    pub const CREATE_PARTITIONS: u64 = 1 << 32;
    /// GetPartitionId.
    pub const ACCESS_PARTITION_ID: u64 = 1 << 33;
    /// Deposit, withdraw, balance.
    pub const ACCESS_MEMORY_POOL: u64 = 1 << 34;
    /// PostMessage.
    pub const POST_MESSAGES: u64 = 1 << 36;
    /// SignalEvent.
    pub const SIGNAL_EVENTS: u64 = 1 << 37;
    /// Counters.
    pub const ACCESS_STATS: u64 = 1 << 40;
    /// Device, domain and interrupt calls; LPs.
    pub const CPU_MANAGEMENT: u64 = 1 << 44;
    /// Registers of its own VPs by hypercall.
    pub const ACCESS_VP_REGISTERS: u64 = 1 << 49;
    /// StartVirtualProcessor.
    pub const START_VIRTUAL_PROCESSOR: u64 = 1 << 53;

    /// What the root partition has.
    pub const ROOT: u64 = VP_RUNTIME
        | REFERENCE_COUNTER
        | SYNIC_MSRS
        | APIC_MSRS
        | HYPERCALL_MSRS
        | VP_INDEX
        | FREQUENCY_MSRS
        | CREATE_PARTITIONS
        | ACCESS_PARTITION_ID
        | ACCESS_MEMORY_POOL
        | ACCESS_STATS
        | CPU_MANAGEMENT
        | ACCESS_VP_REGISTERS
        | START_VIRTUAL_PROCESSOR;
    /// What a child starts with.
    pub const CHILD: u64 =
        REFERENCE_COUNTER | APIC_MSRS | HYPERCALL_MSRS | VP_INDEX | FREQUENCY_MSRS | ACCESS_STATS;
}
