//! The kernel's machine, on a host.

use std::rc::Rc;

use address::{LpIndex, PAGE_SIZE, Spa};
use guest::apic::Posted;
use kernel::{Facts, Machine, Posting};
use paging::{SlatKind, TableMemory};

use super::state::{self, State};
use super::{END_OF_RAM, HostVcpu, bytes};
use crate::{Seams, VtdArm};

/// The machine. All that it knows stands in its thread's state.
#[derive(Clone, Copy, Debug)]
pub struct HostMachine;

/// Translation tables in the lab's memory.
#[derive(Clone, Copy, Debug)]
pub struct HostTables;

fn state() -> Rc<State> {
    state::get()
}

impl TableMemory for HostTables {
    fn read(&self, table: Spa, index: usize) -> u64 {
        state().memory.read(table.as_u64() + index as u64 * 8)
    }

    fn write(&self, table: Spa, index: usize, value: u64) {
        state()
            .memory
            .write(table.as_u64() + index as u64 * 8, value);
    }

    fn zero(&self, table: Spa) {
        state().memory.zero(table);
    }

    fn clean(&self, table: Spa, first: usize, count: usize) {
        let at = table.as_u64() + first as u64 * 8;
        state().memory.clean(at, count as u64 * 8);
    }
}

/// The promise of [`Machine::read`] and [`Machine::write`].
fn check(at: Spa, length: usize) {
    assert!(at.page() < END_OF_RAM, "{at:?} is not RAM");
    assert!(
        at.page_offset() + length as u64 <= PAGE_SIZE,
        "a copy that crosses a page"
    );
}

impl Machine for HostMachine {
    type Vcpu = HostVcpu;
    type Tables = HostTables;
    type Platform = Seams<VtdArm>;

    fn tables(&self) -> &HostTables {
        &HostTables
    }

    fn slat_kind(&self) -> SlatKind {
        SlatKind::Nested
    }

    fn tags(&self) -> u32 {
        state().tags
    }

    fn physical_bits(&self) -> u8 {
        40
    }

    fn hypercall_code(&self) -> &'static [u8] {
        &[0x0f, 0x01, 0xd9, 0xc3]
    }

    fn read(&self, from: Spa, to: &mut [u8]) {
        check(from, to.len());
        bytes::get(&state().memory, from.as_u64(), to);
    }

    fn write(&self, to: Spa, from: &[u8]) {
        check(to, from.len());
        bytes::put(&state().memory, to.as_u64(), from);
    }

    fn scrub(&self, frame: Spa) {
        check(frame, 1);
        state().memory.zero(frame);
    }

    fn current_lp(&self) -> LpIndex {
        state().lp()
    }

    fn kick(&self, lp: LpIndex) {
        state().kick(lp);
    }

    fn notify(&self, lp: LpIndex) {
        state().notify(lp);
    }

    fn posting(&self, posted: &Posted) -> Option<Posting> {
        let state = state();
        let slot = state.slot_of(posted).filter(|_| state.posts)?;
        Some(Posting {
            descriptor: state::descriptor(slot),
            running: state::NOTIFY,
            waiting: state::POSTED,
        })
    }

    fn idle(&self) {
        let state = state();
        state.rests.set(state.rests.get() + 1);
        if !state.take_interrupt(None) {
            state.wait_for_timer();
        }
    }

    fn relax(&self) {
        state().relax();
    }

    fn now(&self) -> u64 {
        state().now()
    }

    fn tsc_hz(&self) -> u64 {
        1_000_000_000
    }

    fn arm_timer(&self, deadline: u64) {
        state().arm(deadline);
    }

    fn input(&self, _port: u16, _size: u8) -> u32 {
        0x1234_5678
    }

    fn output(&self, _port: u16, _size: u8, _value: u32) {}

    fn read_log(&self, position: u64, _to: &mut [u8]) -> (u64, usize) {
        (position, 0)
    }

    fn power(&self, _reset: bool) {}

    fn program_pin(&self, _io_apic: u8, _pin: u8, _entry: u64) {}

    fn mask_pin(&self, _io_apic: u8, _pin: u8) {}

    fn nmis(&self, _lp: LpIndex) -> u64 {
        // Nothing here sends one.
        0
    }

    fn facts(&self) -> Facts {
        Facts::default()
    }
}
