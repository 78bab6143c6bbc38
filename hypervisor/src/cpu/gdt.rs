//! Segments and the task state segment of each LP (AMD APM volume 2, 4.7 and 12.2.5).

use x86_64::instructions::segmentation::{CS, DS, ES, FS, GS, SS, Segment};
use x86_64::instructions::tables::load_tss;
use x86_64::registers::segmentation::SegmentSelector;
use x86_64::structures::gdt::{Descriptor, GlobalDescriptorTable};
use x86_64::structures::tss::TaskStateSegment;

use super::per_lp::Lp;
use super::stack;

/// Stack slots of the TSS, counted from 0.
pub const NMI_STACK: u16 = 0;
/// Machine check.
pub const MACHINE_CHECK_STACK: u16 = 1;
/// Double fault.
pub const DOUBLE_FAULT_STACK: u16 = 2;
/// Every other exception.
pub const EXCEPTION_STACK: u16 = 3;

const EXCEPTION_STACK_BYTES: usize = 16 << 10;

/// Tables of one LP.
pub struct Tables {
    table: GlobalDescriptorTable,
    code: SegmentSelector,
    data: SegmentSelector,
    task: SegmentSelector,
}

/// A task state segment with its exception stacks.
pub fn task_state() -> TaskStateSegment {
    let mut state = TaskStateSegment::new();
    for slot in [
        NMI_STACK,
        MACHINE_CHECK_STACK,
        DOUBLE_FAULT_STACK,
        EXCEPTION_STACK,
    ] {
        state.interrupt_stack_table[usize::from(slot)] = stack::allocate(EXCEPTION_STACK_BYTES);
    }
    state
}

impl Tables {
    /// Tables that refer to this task state segment.
    pub fn new(state: &'static TaskStateSegment) -> Self {
        let mut table = GlobalDescriptorTable::new();
        let code = table.append(Descriptor::kernel_code_segment());
        let data = table.append(Descriptor::kernel_data_segment());
        let task = table.append(Descriptor::tss_segment(state));
        Self {
            table,
            code,
            data,
            task,
        }
    }
}

/// Loads an LP's tables on that LP.
pub fn load(lp: &'static Lp) {
    let tables = &lp.tables;
    tables.table.load();
    // SAFETY: the selectors belong to the table just loaded; the data segment is flat, and FS and GS get their bases later.
    unsafe {
        CS::set_reg(tables.code);
        for set in [
            SS::set_reg,
            DS::set_reg,
            ES::set_reg,
            FS::set_reg,
            GS::set_reg,
        ] {
            set(tables.data);
        }
        load_tss(tables.task);
    }
}
