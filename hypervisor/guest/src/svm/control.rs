//! AMD64 Architecture Programmer's Manual volume 2, appendix B: "VMCB layout, control area" (offsets 000h to 3FFh).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::event::EventInfo;
use super::virtual_interrupt::VirtualInterrupt;

/// What the processor does to a guest, and why the guest was left.
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct ControlArea {
    /// 000h: reads of CR0-15, then writes, that leave the guest.
    pub intercept_cr: u32,
    /// 004h: the same for DR0-15.
    pub intercept_dr: u32,
    /// 008h: exceptions that leave the guest, one bit per vector.
    pub intercept_exceptions: u32,
    /// 00Ch: exit codes 60h to 7Fh, one bit each.
    pub intercept_3: u32,
    /// 010h: exit codes 80h to 9Fh.
    pub intercept_4: u32,
    /// 014h: exit codes A0h to BFh.
    pub intercept_5: u32,
    /// 018h.
    pub _reserved_018: [u8; 0x3c - 0x18],
    /// 03Ch: cycles between two PAUSE of the same loop.
    pub pause_filter_threshold: u16,
    /// 03Eh: PAUSE instructions until an exit.
    pub pause_filter_count: u16,
    /// 040h: SPA of the I/O permission map.
    pub iopm_base: u64,
    /// 048h: SPA of the MSR permission map.
    pub msrpm_base: u64,
    /// 050h: added to the time-stamp counter that the guest reads.
    pub tsc_offset: u64,
    /// 058h: name of the guest's translations in the TLB.
    pub asid: u32,
    /// 05Ch: what to flush at entry, see [`tlb`].
    pub tlb_control: u8,
    /// 05Dh.
    pub _reserved_05d: [u8; 3],
    /// 060h: virtual interrupt controls.
    pub virtual_interrupt: VirtualInterrupt,
    /// 068h: bit 0: the guest is in an interrupt shadow.
    pub interrupt_shadow: u64,
    /// 070h: why the guest was left, see [`super::exit_code`].
    pub exit_code: u64,
    /// 078h: meaning depends on the exit code.
    pub exit_info_1: u64,
    /// 080h: meaning depends on the exit code.
    pub exit_info_2: u64,
    /// 088h: an event whose delivery the exit interrupted.
    pub exit_interrupt_info: EventInfo,
    /// 090h: bit 0: nested paging. The bits of encrypted guests stay zero.
    pub nested_control: u64,
    /// 098h: AVIC, unused.
    pub avic_apic_bar: u64,
    /// 0A0h: encrypted guests, unused.
    pub ghcb: u64,
    /// 0A8h: an event to deliver at entry.
    pub event_injection: EventInfo,
    /// 0B0h: SPA of the root of the nested page tables.
    pub nested_cr3: u64,
    /// 0B8h: bit 0: last-branch records, bit 1: VMLOAD and VMSAVE of the guest. Both stay zero.
    pub virtualization_extensions: u64,
    /// 0C0h: parts of this block that the processor may take from its cache: none.
    pub clean: u32,
    /// 0C4h.
    pub _reserved_0c4: u32,
    /// 0C8h: the instruction after the one that exited, where the processor has NRIPS.
    pub next_rip: u64,
    /// 0D0h: how many of the bytes that follow are valid, where the processor has decode assists.
    pub fetched_count: u8,
    /// 0D1h: bytes of the instruction that exited.
    pub fetched_bytes: [u8; 15],
    /// 0E0h: AVIC, unused.
    pub avic_backing_page: u64,
    /// 0E8h.
    pub _reserved_0e8: u64,
    /// 0F0h: AVIC, unused.
    pub avic_logical_table: u64,
    /// 0F8h: AVIC, unused.
    pub avic_physical_table: u64,
    /// 100h: reserved and encrypted guests, unused.
    pub _reserved_100: [u8; 0x300],
}

const _: () = assert!(size_of::<ControlArea>() == 0x400);

/// Values of [`ControlArea::tlb_control`].
pub mod tlb {
    /// Flush nothing.
    pub const NOTHING: u8 = 0;
    /// Flush every guest's and the host's translations.
    pub const EVERYTHING: u8 = 1;
    /// Flush the translations of this guest's ASID; needs the feature flush-by-ASID.
    pub const THIS_GUEST: u8 = 3;
}

/// Bit of [`ControlArea::nested_control`] that turns nested paging on.
pub const NESTED_PAGING: u64 = 1 << 0;
/// Bit of [`ControlArea::interrupt_shadow`].
pub const SHADOW: u64 = 1 << 0;

#[cfg(test)]
mod tests {
    use core::mem::offset_of;

    use super::*;

    #[test]
    fn fields_stand_at_the_offsets_of_the_manual() {
        assert_eq!(offset_of!(ControlArea, intercept_3), 0x0c);
        assert_eq!(offset_of!(ControlArea, pause_filter_threshold), 0x3c);
        assert_eq!(offset_of!(ControlArea, iopm_base), 0x40);
        assert_eq!(offset_of!(ControlArea, tsc_offset), 0x50);
        assert_eq!(offset_of!(ControlArea, asid), 0x58);
        assert_eq!(offset_of!(ControlArea, tlb_control), 0x5c);
        assert_eq!(offset_of!(ControlArea, virtual_interrupt), 0x60);
        assert_eq!(offset_of!(ControlArea, interrupt_shadow), 0x68);
        assert_eq!(offset_of!(ControlArea, exit_code), 0x70);
        assert_eq!(offset_of!(ControlArea, exit_interrupt_info), 0x88);
        assert_eq!(offset_of!(ControlArea, nested_control), 0x90);
        assert_eq!(offset_of!(ControlArea, event_injection), 0xa8);
        assert_eq!(offset_of!(ControlArea, nested_cr3), 0xb0);
        assert_eq!(offset_of!(ControlArea, virtualization_extensions), 0xb8);
        assert_eq!(offset_of!(ControlArea, clean), 0xc0);
        assert_eq!(offset_of!(ControlArea, next_rip), 0xc8);
        assert_eq!(offset_of!(ControlArea, fetched_count), 0xd0);
        assert_eq!(offset_of!(ControlArea, avic_backing_page), 0xe0);
        assert_eq!(offset_of!(ControlArea, avic_physical_table), 0xf8);
    }
}
