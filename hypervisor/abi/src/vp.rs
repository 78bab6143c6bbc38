//! Virtual processors (TLFS, "Virtual processors").

use crate::layout::structures;

structures! {
    /// Input of CreateVp (004E). A VP runs on the LP that `flags` names, for life.
    CreateVp: 40 {
        /// Partition.
        partition: u64,
        /// Index of the new VP.
        vp: u32,
        /// Zero.
        reserved: [u8; 3],
        /// Sub-node type; ignored.
        subnode_type: u8,
        /// Sub-node; ignored.
        subnode: u64,
        /// Proximity domain; ignored.
        proximity: u64,
        /// Index of the LP.
        flags: u64,
    }
    /// Input of DeleteVp (004F).
    DeleteVp: 16 {
        /// Partition.
        partition: u64,
        /// VP.
        vp: u32,
        /// Zero.
        reserved: u32,
    }
    /// Header of GetVpRegisters (0050) and SetVpRegisters (0051).
    Registers: 16 {
        /// Partition.
        partition: u64,
        /// VP, or [`VP_SELF`].
        vp: u32,
        /// Virtual trust level; 0.
        vtl: u8,
        /// Zero.
        reserved: [u8; 3],
    }
    /// List element of SetVpRegisters (0051).
    RegisterValue: 32 {
        /// [`register`](crate::register) number.
        name: u32,
        /// Zero.
        reserved: [u32; 3],
        /// Value, low half and high half.
        value: [u64; 2],
    }
    /// Input of TranslateVirtualAddress (0052).
    Translate: 32 {
        /// Partition.
        partition: u64,
        /// VP.
        vp: u32,
        /// Zero.
        reserved: u32,
        /// [`translate_flags`].
        flags: u64,
        /// Page number of the guest-virtual address.
        page: u64,
    }
    /// Output of TranslateVirtualAddress (0052).
    Translation: 16 {
        /// `[31:0]` result: 0 success, 1 not present, 2 privilege, 3 reserved bits, 4 GPA unmapped.
        result: u64,
        /// Page number in the GPA map.
        gpfn: u64,
    }
    /// Input of StartVirtualProcessor (0099): target and `HV_INITIAL_VP_CONTEXT`.
    StartVp: 240 {
        /// Partition.
        partition: u64,
        /// VP.
        vp: u32,
        /// Virtual trust level; 0.
        vtl: u8,
        /// Zero.
        reserved: [u8; 3],
        /// State to start in.
        context: Context,
    }
    /// `HV_INITIAL_VP_CONTEXT` (TLFS).
    Context: 224 {
        /// Instruction pointer.
        rip: u64,
        /// Stack pointer.
        rsp: u64,
        /// Flags.
        rflags: u64,
        /// CS, DS, ES, FS, GS, SS, TR, LDTR.
        segments: [Segment; 8],
        /// IDTR.
        idtr: Table,
        /// GDTR.
        gdtr: Table,
        /// EFER.
        efer: u64,
        /// CR0.
        cr0: u64,
        /// CR3.
        cr3: u64,
        /// CR4.
        cr4: u64,
        /// IA32_PAT.
        pat: u64,
    }
    /// `HV_X64_SEGMENT_REGISTER`.
    Segment: 16 {
        /// Base address.
        base: u64,
        /// Limit in bytes.
        limit: u32,
        /// Selector.
        selector: u16,
        /// `[3:0]` type, 4 non-system, `[6:5]` DPL, 7 present, 12 available, 13 long, 14 default, 15 granularity.
        attributes: u16,
    }
    /// `HV_X64_TABLE_REGISTER`.
    Table: 16 {
        /// Zero.
        pad: [u16; 3],
        /// Limit in bytes.
        limit: u16,
        /// Base address.
        base: u64,
    }
}

/// The VP that calls.
pub const VP_SELF: u32 = 0xffff_fffe;
/// Register names in one GetVpRegisters, bounded by its output page.
pub const GET_REGISTERS_MAX: usize = 256;

/// Control flags of TranslateVirtualAddress.
pub mod translate_flags {
    /// The access reads.
    pub const READ: u64 = 1;
    /// The access writes.
    pub const WRITE: u64 = 2;
    /// The access fetches.
    pub const EXECUTE: u64 = 4;
}
