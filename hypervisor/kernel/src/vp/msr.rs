//! RDMSR and WRMSR.

use core::sync::atomic::Ordering;

use abi::msr;
use abi::partition::privilege;
use guest::apic::BASE_X2APIC;
use guest::msr::{self as policy, MsrAction};
use guest::{Event, Gpr, Vcpu, length};

use super::run::Running;
use crate::seams::Machine;
use crate::{Kernel, synic};

/// The x2APIC end-of-interrupt register.
const END_OF_INTERRUPT: u32 = guest::apic::msr::EOI;

impl<M: Machine> Kernel<M> {
    #[inline]
    pub(crate) fn read_msr(&self, running: &mut Running<'_, M>) {
        let index = running.vp.vcpu.gpr(Gpr::Rcx) as u32;
        let Some(value) = self.msr_value(running, index) else {
            running.vp.vcpu.inject(Event::GENERAL_PROTECTION);
            return;
        };
        let vcpu = &mut running.vp.vcpu;
        vcpu.set_gpr(Gpr::Rax, value & 0xffff_ffff);
        vcpu.set_gpr(Gpr::Rdx, value >> 32);
        vcpu.advance_over(length::MSR);
    }

    #[inline]
    pub(crate) fn write_msr(&self, running: &mut Running<'_, M>) {
        let vcpu = &running.vp.vcpu;
        let index = vcpu.gpr(Gpr::Rcx) as u32;
        let value = vcpu.gpr(Gpr::Rdx) << 32 | u64::from(vcpu.gpr(Gpr::Rax) as u32);
        if index == END_OF_INTERRUPT && value == 0 && running.vp.apic.base() & BASE_X2APIC != 0 {
            // The most frequent write of all.
            running.vp.apic.end_of_interrupt();
            running.vp.vcpu.advance_over(length::MSR);
            return;
        }
        if self.set_msr(running, index, value).is_some() {
            running.vp.vcpu.advance_over(length::MSR);
        } else {
            running.vp.vcpu.inject(Event::GENERAL_PROTECTION);
        }
    }

    /// What a self-IPI with a vector that no interrupt has comes to: an error of the sender's APIC.
    #[cold]
    pub(crate) fn illegal_self_interrupt(&self, running: &mut Running<'_, M>) {
        self.set_x2apic(running, guest::apic::msr::SELF_IPI, 0);
    }

    /// Value of an MSR for the guest; `None` is #GP.
    fn msr_value(&self, running: &mut Running<'_, M>, index: u32) -> Option<u64> {
        match policy::read(index) {
            MsrAction::Apic => {
                let class = running.vp.vcpu.task_priority();
                running.vp.apic.read(index, class, self.machine.now()).ok()
            }
            MsrAction::Synthetic => self.synthetic_value(running, index),
            MsrAction::Processor => running.vp.vcpu.read_msr(index),
            MsrAction::Fixed(value) => Some(value),
            MsrAction::TimeStamp => Some(self.machine.now()),
            MsrAction::ApicBase => Some(running.vp.apic.base()),
            MsrAction::Fault => None,
        }
    }

    /// Writes an MSR for the guest; `None` is #GP.
    fn set_msr(&self, running: &mut Running<'_, M>, index: u32, value: u64) -> Option<()> {
        match policy::write(index, value) {
            MsrAction::Apic => self.set_x2apic(running, index, value),
            MsrAction::Synthetic => self.set_synthetic(running, index, value),
            MsrAction::Processor => running.vp.vcpu.write_msr(index, value)?.then_some(()),
            MsrAction::Fixed(_) => Some(()),
            MsrAction::ApicBase => self.set_apic_base(running, value),
            MsrAction::TimeStamp | MsrAction::Fault => None,
        }
    }

    #[inline]
    fn set_x2apic(&self, running: &mut Running<'_, M>, index: u32, value: u64) -> Option<()> {
        let now = self.machine.now();
        let effect = running.vp.apic.write(index, value, now).ok()?;
        self.apply(running, effect);
        Some(())
    }

    fn synthetic_value(&self, running: &Running<'_, M>, index: u32) -> Option<u64> {
        let cell = running.partition;
        let privileges = cell.privileges.load(Ordering::Relaxed);
        if needs(index) & !privileges != 0 {
            return None;
        }
        let vp = &*running.vp;
        match index {
            msr::VP_INDEX => Some(u64::from(vp.index.0)),
            msr::GUEST_OS_ID => Some(cell.body.lock().guest_os_id),
            msr::HYPERCALL => Some(cell.body.lock().hypercall_msr),
            msr::TIME_REF_COUNT => Some(self.reference_time(cell.body.lock().created)),
            msr::TSC_FREQUENCY => Some(self.machine.tsc_hz()),
            msr::APIC_FREQUENCY => Some(guest::apic::bus_frequency(self.machine.tsc_hz())),
            msr::TPR => Some(u64::from(vp.vcpu.task_priority()) << 4),
            msr::VP_ASSIST_PAGE => Some(vp.assist_msr),
            msr::VP_RUNTIME => Some(self.run_time(running)),
            _ => vp.synic.read(index),
        }
    }

    fn set_synthetic(&self, running: &mut Running<'_, M>, index: u32, value: u64) -> Option<()> {
        let cell = running.partition;
        if needs(index) & !cell.privileges.load(Ordering::Relaxed) != 0 {
            return None;
        }
        match index {
            msr::GUEST_OS_ID => self.set_guest_os(cell, value),
            msr::HYPERCALL => return self.set_hypercall_page(cell, value),
            msr::EOI if value == 0 => {
                running.vp.vcpu.take_back(&mut running.vp.apic);
                running.vp.apic.end_of_interrupt();
            }
            msr::TPR => running
                .vp
                .vcpu
                .set_task_priority(u8::try_from(value).ok()? >> 4),
            // Kept for guests that insist; the page is never written, so it says what a fresh page says.
            msr::VP_ASSIST_PAGE => running.vp.assist_msr = value,
            _ => return self.set_synic(running, index, value),
        }
        Some(())
    }

    fn set_synic(&self, running: &mut Running<'_, M>, index: u32, value: u64) -> Option<()> {
        let effect = running.vp.synic.write(index, value)?;
        if effect == synic::Effect::LookForMessages {
            self.deliver_messages(running);
        }
        Some(())
    }

    /// Time since a TSC value in units of 100 ns.
    pub(crate) fn reference_time(&self, since: u64) -> u64 {
        self.time_of(self.machine.now().wrapping_sub(since))
    }

    /// Ticks in units of 100 ns.
    fn time_of(&self, ticks: u64) -> u64 {
        (u128::from(ticks) * 10_000_000 / u128::from(self.machine.tsc_hz().max(1))) as u64
    }

    /// Time that the VP has had an LP, this turn included.
    fn run_time(&self, running: &Running<'_, M>) -> u64 {
        let now = self.machine.now().wrapping_sub(running.started);
        self.time_of(running.cell.counters.guest_ticks.get().wrapping_add(now))
    }
}

/// The privileges that an MSR of the hypercall interface needs (TLFS, "Partition privileges").
const fn needs(index: u32) -> u64 {
    match index {
        msr::GUEST_OS_ID | msr::HYPERCALL => privilege::HYPERCALL_MSRS,
        msr::VP_INDEX => privilege::VP_INDEX,
        msr::VP_RUNTIME => privilege::VP_RUNTIME,
        msr::TIME_REF_COUNT => privilege::REFERENCE_COUNTER,
        msr::TSC_FREQUENCY | msr::APIC_FREQUENCY => privilege::FREQUENCY_MSRS,
        msr::EOI | msr::ICR | msr::TPR | msr::VP_ASSIST_PAGE => privilege::APIC_MSRS,
        _ => privilege::SYNIC_MSRS,
    }
}
