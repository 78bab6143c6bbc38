//! AMD64 Architecture Programmer's Manual volume 2, appendix B: "VMCB layout, state save area" (offsets from 400h).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::segment::Segment;

/// The guest's registers as VMRUN and VMLOAD take them.
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
#[allow(missing_docs)]
pub struct SaveArea {
    pub es: Segment,
    pub cs: Segment,
    pub ss: Segment,
    pub ds: Segment,
    pub fs: Segment,
    pub gs: Segment,
    pub gdtr: Segment,
    pub ldtr: Segment,
    pub idtr: Segment,
    pub tr: Segment,
    pub _reserved_0a0: [u8; 0xcb - 0xa0],
    /// Current privilege level; equals the DPL of SS.
    pub cpl: u8,
    pub _reserved_0cc: u32,
    pub efer: u64,
    pub _reserved_0d8: [u8; 0x148 - 0xd8],
    pub cr4: u64,
    pub cr3: u64,
    pub cr0: u64,
    pub dr7: u64,
    pub dr6: u64,
    pub rflags: u64,
    pub rip: u64,
    pub _reserved_180: [u8; 0x1d8 - 0x180],
    pub rsp: u64,
    pub s_cet: u64,
    pub ssp: u64,
    pub interrupt_ssp_table: u64,
    pub rax: u64,
    pub star: u64,
    pub lstar: u64,
    pub cstar: u64,
    pub sfmask: u64,
    pub kernel_gs_base: u64,
    pub sysenter_cs: u64,
    pub sysenter_esp: u64,
    pub sysenter_eip: u64,
    pub cr2: u64,
    pub _reserved_248: [u8; 0x268 - 0x248],
    /// Page attribute table of the guest; used with nested paging.
    pub pat: u64,
    pub debug_control: u64,
    pub branch_from: u64,
    pub branch_to: u64,
    pub exception_from: u64,
    pub exception_to: u64,
    pub _reserved_298: [u8; 0xc00 - 0x298],
}

const _: () = assert!(size_of::<SaveArea>() == 0xc00);

#[cfg(test)]
mod tests {
    use core::mem::offset_of;

    use super::*;

    #[test]
    fn fields_stand_at_the_offsets_of_the_manual() {
        assert_eq!(offset_of!(SaveArea, cs), 0x10);
        assert_eq!(offset_of!(SaveArea, gdtr), 0x60);
        assert_eq!(offset_of!(SaveArea, tr), 0x90);
        assert_eq!(offset_of!(SaveArea, cpl), 0xcb);
        assert_eq!(offset_of!(SaveArea, efer), 0xd0);
        assert_eq!(offset_of!(SaveArea, cr4), 0x148);
        assert_eq!(offset_of!(SaveArea, dr7), 0x160);
        assert_eq!(offset_of!(SaveArea, rip), 0x178);
        assert_eq!(offset_of!(SaveArea, rsp), 0x1d8);
        assert_eq!(offset_of!(SaveArea, rax), 0x1f8);
        assert_eq!(offset_of!(SaveArea, kernel_gs_base), 0x220);
        assert_eq!(offset_of!(SaveArea, cr2), 0x240);
        assert_eq!(offset_of!(SaveArea, pat), 0x268);
        assert_eq!(offset_of!(SaveArea, debug_control), 0x270);
    }
}
