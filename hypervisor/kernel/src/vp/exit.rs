//! What happens after an exit.

use core::sync::atomic::Ordering;

use guest::{Event, Exit, Gpr, Vcpu, length};

use super::run::Running;
use super::{Activity, intercept};
use crate::Kernel;
use crate::hypercall::Scratch;
use crate::seams::Machine;

/// #MC: the hardware's, and so never the guest's to handle.
const MACHINE_CHECK: u8 = 18;

impl<M: Machine> Kernel<M> {
    /// Counts an exit and handles it. The frequent ones are told apart where the dialect says what they are, so each counts
    /// for itself.
    #[inline]
    pub(crate) fn handle_exit(
        &self,
        running: &mut Running<'_, M>,
        exit: Exit,
        scratch: &mut Scratch,
    ) {
        let counters = &running.cell.counters;
        match exit {
            Exit::Cpuid => {
                counters.exit(&Exit::Cpuid);
                Self::cpuid(running);
            }
            Exit::Hypercall => {
                counters.exit(&Exit::Hypercall);
                self.hypercall(running, scratch);
            }
            Exit::ReadMsr => {
                counters.exit(&Exit::ReadMsr);
                self.read_msr(running);
            }
            Exit::WriteMsr => {
                counters.exit(&Exit::WriteMsr);
                self.write_msr(running);
            }
            Exit::Host => {
                counters.exit(&Exit::Host);
                self.do_chores(running.lp_index, running.lp, running.slice_end);
            }
            rare => self.handle_rare_exit(running, rare),
        }
    }

    #[inline(never)]
    fn handle_rare_exit(&self, running: &mut Running<'_, M>, exit: Exit) {
        running.cell.counters.exit(&exit);
        match exit {
            Exit::Cpuid | Exit::Hypercall | Exit::ReadMsr | Exit::WriteMsr | Exit::Host => (),
            Exit::InterruptWindow => running.vp.vcpu.request_window(false),
            Exit::IllegalSelfInterrupt => self.illegal_self_interrupt(running),
            Exit::Halt => self.halt(running),
            Exit::Pause => Self::pause(running),
            Exit::CacheFlush => running.vp.vcpu.advance(),
            Exit::Port(access) => self.port(running, access),
            Exit::Memory(access) => self.memory(running, access),
            Exit::Exception {
                vector: MACHINE_CHECK,
                ..
            } => {
                self.stop(running, intercept::Stop::MachineCheck);
            }
            Exit::Exception { vector, error_code } => {
                running
                    .vp
                    .vcpu
                    .inject(Event::Exception { vector, error_code });
            }
            Exit::Xsetbv => Self::xsetbv(running),
            Exit::NoSuchInstruction => running.vp.vcpu.inject(Event::INVALID_OPCODE),
            Exit::Shutdown => self.stop(running, intercept::Stop::TripleFault),
            Exit::InvalidState => self.stop(running, intercept::Stop::InvalidState),
            Exit::Unknown(_) => self.stop(running, intercept::Stop::Unknown),
        }
    }

    /// The VP waits for an interrupt. One that takes none could only be woken by an NMI or INIT: its parent is told.
    fn halt(&self, running: &mut Running<'_, M>) {
        running.vp.vcpu.advance();
        if running.vp.has_wake_event() {
            return;
        }
        running.vp.activity = Activity::Halted;
        if !running.vp.takes_interrupts() && !running.vp.is_root() {
            self.stop(running, intercept::Stop::Halted);
        }
    }

    /// A VP that waits for another one gives way to it.
    fn pause(running: &mut Running<'_, M>) {
        running.vp.vcpu.advance();
        let other = running.lp.ready.next_after(running.vp.slot);
        if other.is_some_and(|slot| slot != running.vp.slot) {
            running.lp.preempt.store(true, Ordering::Relaxed);
        }
    }

    fn xsetbv(running: &mut Running<'_, M>) {
        let vcpu = &mut running.vp.vcpu;
        let value = vcpu.gpr(Gpr::Rdx) << 32 | u64::from(vcpu.gpr(Gpr::Rax) as u32);
        let index = vcpu.gpr(Gpr::Rcx) as u32;
        if vcpu.cpl() == 0 && vcpu.set_xcr(index, value) {
            vcpu.advance();
        } else {
            vcpu.inject(Event::GENERAL_PROTECTION);
        }
    }

    #[inline]
    fn cpuid(running: &mut Running<'_, M>) {
        let vp = &mut *running.vp;
        let leaf = vp.vcpu.gpr(Gpr::Rax) as u32;
        let subleaf = vp.vcpu.gpr(Gpr::Rcx) as u32;
        let host = M::Vcpu::host_cpuid(leaf, subleaf);
        if guest::cpuid::changes(leaf) {
            vp.cpuid.osxsave = vp.vcpu.osxsave();
            vp.cpuid.vp_count = running.partition.vp_count.load(Ordering::Relaxed);
        }
        let answer = guest::cpuid::answer(leaf, subleaf, host, &vp.cpuid);
        let [a, b, c, d] = answer;
        vp.vcpu.set_gpr(Gpr::Rax, u64::from(a));
        vp.vcpu.set_gpr(Gpr::Rbx, u64::from(b));
        vp.vcpu.set_gpr(Gpr::Rcx, u64::from(c));
        vp.vcpu.set_gpr(Gpr::Rdx, u64::from(d));
        vp.vcpu.advance_over(length::CPUID);
    }
}
