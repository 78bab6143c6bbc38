//! The local APIC of a VP as its guest sees it: what a register access does elsewhere, and registers in memory for guests
//! that never heard of x2APIC mode.
//!
//! Nothing is ever mapped at their page, so that each access leaves the guest. Its instruction was captured once; only
//! those bytes are decoded.

use core::sync::atomic::Ordering;

use abi::register;
use address::{ApicId, PAGE_SHIFT};
use guest::apic::{BASE_ADDRESS, BASE_ENABLED, Effect, LocalApic};
use guest::mov::{self, CodeSize, Mov, Move, Refused};
use guest::{Access, MemoryAccess, Vcpu};

use super::run::Running;
use super::{Vp, VpCell};
use crate::Kernel;
use crate::seams::Machine;

/// The page of the registers, in every child's GPA map.
pub(crate) const PAGE: u64 = BASE_ADDRESS >> PAGE_SHIFT;

/// What came of an access to the page.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Answer {
    /// The guest goes on.
    Done,
    /// The instruction lies in a page that the guest's own tables do not let it fetch from any more.
    NotFetched,
    /// It is not the local APIC's affair: another page, another mode, an instruction that is not decoded here.
    NotOurs,
}

impl<M: Machine> Kernel<M> {
    /// What a write of a register asks of others.
    #[inline]
    pub(super) fn apply(&self, running: &mut Running<'_, M>, effect: Effect) {
        match effect {
            Effect::None => (),
            // Nothing level-triggered is ever accepted: pins are mapped for edges only.
            Effect::EndOfInterrupt { .. } => (),
            Effect::TaskPriority(class) => running.vp.vcpu.set_task_priority(class),
            Effect::Switched => {
                running.vp.vcpu.serve(&mut running.vp.apic);
                self.timer_changed(running);
            }
            Effect::TimerChanged => self.timer_changed(running),
            Effect::Ipi(request) => self.send_ipi(running, &request),
            Effect::LogicalName => publish(running.cell, running.vp),
        }
    }

    /// An access that the SLAT does not allow, by the captured instruction.
    #[cold]
    pub(super) fn registers_in_memory(
        &self,
        running: &mut Running<'_, M>,
        access: MemoryAccess,
        instruction: &[u8],
    ) -> Answer {
        let here = access.gpa.page() == PAGE && running.vp.apic.is_in_memory();
        // The walk of tables, a fetch, or the delivery of an event, is not what an instruction says.
        let other = access.table_walk || access.access == Access::Execute;
        if !here || other || running.vp.vcpu.has_pending_event() {
            return Answer::NotOurs;
        }
        match mov::decode(instruction, code_size(&running.vp.vcpu)) {
            Ok(mov) => {
                let at = (access.gpa.as_u64() & 0xfff) as u32;
                self.perform(running, at, mov, access.access);
                Answer::Done
            }
            Err(Refused::Truncated) => Answer::NotFetched,
            Err(Refused::Other) => Answer::NotOurs,
        }
    }

    /// Does what the instruction says. Where it goes the other way than the access went, somebody has rewritten it since:
    /// the guest runs into the new one.
    fn perform(&self, running: &mut Running<'_, M>, at: u32, mov: Mov, access: Access) {
        if matches!(mov.moves, Move::Load(_)) != (access == Access::Read) {
            return;
        }
        let now = self.machine.now();
        let vp = &mut *running.vp;
        let class = vp.vcpu.task_priority();
        let effect = match mov.moves {
            Move::Load(register) => {
                let value = vp.apic.read_memory(at, class, now);
                vp.vcpu.set_gpr(register, value.into());
                Effect::None
            }
            Move::Store(register) => {
                let value = vp.vcpu.gpr(register) as u32;
                vp.apic.write_memory(at, value, now)
            }
            Move::StoreValue(value) => vp.apic.write_memory(at, value, now),
        };
        vp.vcpu.advance_by(mov.length);
        self.apply(running, effect);
    }

    /// Writes IA32_APIC_BASE; `None` is #GP.
    pub(super) fn set_apic_base(&self, running: &mut Running<'_, M>, value: u64) -> Option<()> {
        running.vp.set_apic_base(value).ok()?;
        publish(running.cell, running.vp);
        self.timer_changed(running);
        Some(())
    }
}

/// The local APIC of a new VP: a child's is as after power-on, the root's as firmware leaves it.
pub(crate) fn of(id: ApicId, is_root: bool, x2apic: bool) -> LocalApic {
    if is_root {
        LocalApic::started(id)
    } else {
        LocalApic::new(id, x2apic)
    }
}

/// Lets senders of IPIs know by which logical destinations the VP is meant, and CPUID whether it is on.
pub(crate) fn publish<M: Machine>(cell: &VpCell<M>, vp: &mut Vp<M>) {
    vp.cpuid.apic = vp.apic.base() & BASE_ENABLED != 0;
    let name = vp.apic.logical_name();
    cell.logical_name.store(name.to_bits(), Ordering::Relaxed);
}

fn code_size(vcpu: &impl Vcpu) -> CodeSize {
    /// CS.D, in the attributes of a segment register of the hypercall interface.
    const DEFAULT_32: u128 = 1 << (112 + 14);
    if vcpu.long_mode() {
        CodeSize::Bits64
    } else if vcpu.register(register::CS).unwrap_or(0) & DEFAULT_32 != 0 {
        CodeSize::Bits32
    } else {
        CodeSize::Bits16
    }
}
