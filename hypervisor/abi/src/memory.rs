//! Deposits and the GPA map (TLFS, "Guest physical address spaces"; layouts of the public headers).

use crate::layout::structures;

structures! {
    /// Header of DepositMemory (0048); the list holds page numbers of the caller, 511 at most.
    Deposit: 8 {
        /// Partition that may use the frames.
        partition: u64,
    }
    /// Header of WithdrawMemory (0049) and input of GetMemoryBalance (004A); the output list holds page numbers.
    Withdraw: 16 {
        /// Partition.
        partition: u64,
        /// Proximity domain; ignored.
        proximity: u64,
    }
    /// Output of GetMemoryBalance (004A).
    Balance: 16 {
        /// Frames of the deposits that are free.
        available: u64,
        /// Frames of the deposits that are in use.
        in_use: u64,
    }
    /// Header of MapGpaPages (004B); the list holds page numbers of the caller, 509 at most.
    Map: 24 {
        /// Partition whose GPA map changes.
        partition: u64,
        /// First page number to map.
        gpfn: u64,
        /// [`map_flags`].
        flags: u32,
        /// Zero.
        reserved: u32,
    }
    /// Header of UnmapGpaPages (004C); the repetition count says how many pages.
    Unmap: 24 {
        /// Partition whose GPA map changes.
        partition: u64,
        /// First page number to unmap.
        gpfn: u64,
        /// [`UNMAP_LARGE`] or 0.
        flags: u32,
        /// Zero.
        reserved: u32,
    }
}

/// Page numbers in one DepositMemory.
pub const DEPOSIT_MAX: usize = 511;
/// Page numbers in one MapGpaPages.
pub const MAP_MAX: usize = 509;
/// Page numbers that WithdrawMemory returns at most.
pub const WITHDRAW_MAX: usize = 512;
/// UnmapGpaPages: each repetition is a 2 MiB page.
pub const UNMAP_LARGE: u32 = 1 << 1;

/// Flags of MapGpaPages.
pub mod map_flags {
    /// The guest may read.
    pub const READ: u32 = 1;
    /// The guest may write.
    pub const WRITE: u32 = 2;
    /// The guest may execute in kernel mode.
    pub const KERNEL_EXECUTE: u32 = 4;
    /// The guest may execute in user mode.
    pub const USER_EXECUTE: u32 = 8;
    /// Not cached: for MMIO.
    pub const NOT_CACHED: u32 = 0x20_0000;
    /// Each repetition is a 2 MiB page.
    pub const LARGE_PAGE: u32 = 0x8000_0000;
    /// Every flag that exists.
    pub const ALL: u32 = READ | WRITE | KERNEL_EXECUTE | USER_EXECUTE | NOT_CACHED | LARGE_PAGE;
}
