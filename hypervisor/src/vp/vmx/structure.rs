//! The parts of a control structure that the guest has no say in: controls and host state.

use core::arch::asm;

use address::Spa;
use guest::vmx::control::{EXCEPTIONS, secondary};
use guest::vmx::control_register::{CR0_MASK, CR4_MASK};
use guest::vmx::{EptPointer, Features, Field};
use x86_64::instructions::tables::{sgdt, sidt};
use x86_64::registers::control::{Cr0, Cr3, Cr4};
use x86_64::registers::model_specific::{FsBase, GsBase};
use x86_64::registers::segmentation::{CS, DS, ES, FS, GS, SS, Segment};

use super::instruction::vmwrite;
use super::{entry, host};
use crate::cpu::msr;

/// How near to each other PAUSE instructions stand in a loop, and how long one may last, in cycles.
const PAUSE_GAP: u64 = 128;
const PAUSE_WINDOW: u64 = 4096;
const PAT: u32 = 0x277;
const EFER: u32 = 0xc000_0080;

/// What a control structure is made from. Every address is one that the hypervisor chose (CPU-19).
#[derive(Clone, Copy)]
pub struct Setup {
    /// The page with the guest's task priority.
    pub apic_page: Spa,
    /// The tables that translate for the guest.
    pub tables: EptPointer,
    /// Name of the partition's translations, not 0.
    pub tag: u16,
}

/// Writes the controls of the current structure, whatever was there: every required exit, extended tables, no posted
/// interrupts, no MSR lists.
pub fn write_controls(setup: &Setup, features: &Features) {
    let all = [
        (Field::PIN_CONTROLS, features.pin.into()),
        (Field::PRIMARY_CONTROLS, features.primary.into()),
        (Field::SECONDARY_CONTROLS, features.secondary.into()),
        (Field::EXIT_CONTROLS, features.exit.into()),
        (Field::ENTRY_CONTROLS, features.entry.into()),
        (Field::EXCEPTION_BITMAP, EXCEPTIONS.into()),
        (Field::PAGE_FAULT_MASK, 0),
        (Field::PAGE_FAULT_MATCH, 0),
        (Field::CR3_TARGET_COUNT, 0),
        (Field::EXIT_MSR_STORE_COUNT, 0),
        (Field::EXIT_MSR_LOAD_COUNT, 0),
        (Field::ENTRY_MSR_LOAD_COUNT, 0),
        (Field::ENTRY_EVENT, 0),
        (Field::TPR_THRESHOLD, 0),
        (Field::MSR_BITMAP, host::msr_permissions(false).as_u64()),
        (Field::VIRTUAL_APIC_PAGE, setup.apic_page.as_u64()),
        (Field::EPT_POINTER, setup.tables.into_bits()),
        (Field::VPID, setup.tag.max(1).into()),
        (Field::CR0_MASK, CR0_MASK),
        (Field::CR4_MASK, CR4_MASK),
        (Field::LINK_POINTER, u64::MAX),
        (Field::GUEST_DEBUG_CONTROL, 0),
        (Field::GUEST_ACTIVITY, 0),
    ];
    write_all(&all);
    if features.secondary & secondary::PAUSE_LOOP != 0 {
        write_all(&[
            (Field::PAUSE_GAP, PAUSE_GAP),
            (Field::PAUSE_WINDOW, PAUSE_WINDOW),
        ]);
    }
    if features.serves {
        // The end of no service is anybody's business but the guest's.
        write_all(&[
            (Field::EOI_EXIT_0, 0),
            (Field::EOI_EXIT_1, 0),
            (Field::EOI_EXIT_2, 0),
            (Field::EOI_EXIT_3, 0),
        ]);
    }
    if features.secondary & secondary::ENCLS != 0 {
        write_all(&[(Field::ENCLS_EXITING_BITMAP, u64::MAX)]);
    }
}

/// Writes the host state of the current structure: this LP's.
pub fn write_host() {
    let selector = |it: x86_64::registers::segmentation::SegmentSelector| u64::from(it.0 & !7);
    let (task, task_base) = task_register();
    let (page_table, cr3_flags) = Cr3::read_raw();
    write_all(&[
        (Field::HOST_CR0, Cr0::read_raw()),
        (
            Field::HOST_CR3,
            page_table.start_address().as_u64() | u64::from(cr3_flags),
        ),
        (Field::HOST_CR4, Cr4::read_raw()),
        (Field::HOST_CS_SELECTOR, selector(CS::get_reg())),
        (Field::HOST_SS_SELECTOR, selector(SS::get_reg())),
        (Field::HOST_DS_SELECTOR, selector(DS::get_reg())),
        (Field::HOST_ES_SELECTOR, selector(ES::get_reg())),
        (Field::HOST_FS_SELECTOR, selector(FS::get_reg())),
        (Field::HOST_GS_SELECTOR, selector(GS::get_reg())),
        (Field::HOST_TR_SELECTOR, task),
        (Field::HOST_FS_BASE, FsBase::read().as_u64()),
        (Field::HOST_GS_BASE, GsBase::read().as_u64()),
        (Field::HOST_TR_BASE, task_base),
        (Field::HOST_GDTR_BASE, sgdt().base.as_u64()),
        (Field::HOST_IDTR_BASE, sidt().base.as_u64()),
        (Field::HOST_SYSENTER_CS, 0),
        (Field::HOST_SYSENTER_ESP, 0),
        (Field::HOST_SYSENTER_EIP, 0),
        (Field::HOST_PAT, msr::read(PAT)),
        (Field::HOST_EFER, msr::read(EFER)),
        (Field::HOST_RIP, entry::left as *const () as u64),
    ]);
}

/// TR's selector, and the base that its descriptor holds.
fn task_register() -> (u64, u64) {
    let selector: u64;
    // SAFETY: reads a register.
    unsafe { asm!("str {0:r}", out(reg) selector, options(nomem, nostack, preserves_flags)) };
    let selector = selector & 0xfff8;
    let descriptor = (sgdt().base + selector).as_ptr::<[u64; 2]>();
    // SAFETY: TR was loaded from a 16-byte descriptor of this table, which stays for ever.
    let [low, high] = unsafe { descriptor.read() };
    let base = low >> 16 & 0xff_ffff | (low >> 56) << 24 | high << 32;
    (selector, base)
}

fn write_all(fields: &[(Field, u64)]) {
    for &(field, value) in fields {
        // SAFETY: controls that the capabilities were asked for, addresses of the hypervisor's own, this LP's own state.
        let written = unsafe { vmwrite(field, value) };
        debug_assert!(written, "{field:?}");
    }
}
