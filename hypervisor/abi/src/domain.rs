//! Device domains (layouts of the public headers).

use crate::layout::structures;

structures! {
    /// `HV_INPUT_DEVICE_DOMAIN`: begins every domain call, is all of DeleteDeviceDomain (00C5) and the header of
    /// QueryDeviceDomain (00C6).
    Domain: 24 {
        /// Owning partition.
        partition: u64,
        /// Virtual trust level; 0.
        vtl: u8,
        /// Zero.
        reserved: [u8; 7],
        /// `[3:0]` type, 0 (second stage); `[31:4]` zero; `[63:32]` the id that the caller chose.
        id: u64,
    }
    /// Input of CreateDeviceDomain (00B1) and FlushDeviceDomain (00D0).
    WithFlags: 32 {
        /// Domain.
        domain: Domain,
        /// Flags; 0.
        flags: u32,
        /// Zero.
        reserved: u32,
    }
    /// Input of AttachDeviceDomain (00B2).
    Attach: 32 {
        /// Domain.
        domain: Domain,
        /// Device.
        device: u64,
    }
    /// Header of MapDeviceGpaPages (00B3); the list holds page numbers in the owner's GPA map, 507 at most.
    Map: 40 {
        /// Domain.
        domain: Domain,
        /// Virtual trust level; 0.
        target_vtl: u8,
        /// Zero.
        reserved: [u8; 3],
        /// Bit 0 read (required), bit 1 write.
        flags: u32,
        /// First IOVA, a byte address.
        iova: u64,
    }
    /// Header of UnmapDeviceGpaPages (00B4); the repetition count says how many pages.
    Unmap: 32 {
        /// Domain.
        domain: Domain,
        /// First IOVA, a byte address.
        iova: u64,
    }
}

/// The identity domain of a partition, which exists without being made.
pub const IDENTITY: u32 = 0;
/// The domain that blocks everything.
pub const NULL: u32 = 0xffff_ffff;
/// Page numbers in one MapDeviceGpaPages.
pub const MAP_MAX: usize = 507;
