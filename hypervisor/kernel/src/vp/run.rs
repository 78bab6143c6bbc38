//! How an LP chooses VPs and runs them.

use core::sync::atomic::Ordering;

use address::{LpIndex, Vector};
use guest::{Event, Reset, Vcpu};

use super::inbox::{Request, Requests};
use super::{Activity, Vp, VpCell, VpSlot, local_apic};
use crate::Kernel;
use crate::hypercall::Scratch;
use crate::lp::{Lp, NOBODY, chore};
use crate::partition::PartitionCell;
use crate::seams::Machine;

/// A VP while an LP runs it: everything that handling an exit may need.
pub struct Running<'a, M: Machine> {
    /// The LP.
    pub lp: &'a Lp,
    /// Its index.
    pub lp_index: LpIndex,
    /// The VP's cell.
    pub cell: &'a VpCell<M>,
    /// The VP.
    pub vp: &'a mut Vp<M>,
    /// Its partition's cell.
    pub partition: &'a PartitionCell,
    /// When its turn began.
    pub started: u64,
    /// When its slice ends.
    pub slice_end: u64,
}

impl<M: Machine> Kernel<M> {
    /// Runs VPs on this LP, for ever.
    pub fn run(&self, lp: LpIndex, scratch: &mut Scratch) -> ! {
        let mut last = VpSlot(0);
        loop {
            self.turn(lp, &mut last, scratch);
        }
    }

    /// One turn of [`Kernel::run`]: the next VP until it gives way, or a rest.
    pub fn turn(&self, index: LpIndex, last: &mut VpSlot, scratch: &mut Scratch) {
        let Some(lp) = self.lps.get(usize::from(index.0)) else {
            return;
        };
        if let Some(slot) = self.choose(lp, *last) {
            *last = slot;
            self.run_vp(index, lp, slot, scratch);
        } else {
            self.arm(lp, u64::MAX);
            if lp.ready.is_empty() {
                self.machine.idle();
            }
            self.do_chores(index, lp, u64::MAX);
        }
    }

    /// The next VP: one that was woken, unless it had its turn out of order within this slice already, else round robin.
    fn choose(&self, lp: &Lp, last: VpSlot) -> Option<VpSlot> {
        if let Some(woken) = lp.woken.next_after(last) {
            lp.woken.remove(woken);
            let now = self.machine.now();
            let cell = self.vp_cell(woken);
            let again = now.wrapping_sub(cell.boosted.load(Ordering::Relaxed));
            if lp.ready.contains(woken) && again >= self.slice {
                cell.boosted.store(now, Ordering::Relaxed);
                return Some(woken);
            }
        }
        lp.ready.next_after(last)
    }

    fn run_vp(&self, lp_index: LpIndex, lp: &Lp, slot: VpSlot, scratch: &mut Scratch) {
        let cell = self.vp_cell(slot);
        // Somebody reads its registers: it stays ready, and its turn comes again.
        let Some(mut body) = cell.body.try_lock() else {
            return;
        };
        // A late wake-up of a slot that somebody else has by now, on another LP, is nobody's.
        let Some(vp) = body.as_mut().filter(|vp| vp.lp == lp_index) else {
            lp.ready.remove(slot);
            return;
        };
        let Some(partition) = self.partitions.cell(usize::from(vp.holder.0)) else {
            return;
        };
        let started = self.machine.now();
        let slice_end = started.wrapping_add(self.slice);
        lp.preempt.store(false, Ordering::Relaxed);
        self.arm(lp, slice_end);
        lp.running.store(slot.0, Ordering::Relaxed);
        vp.vcpu.unpark();
        let mut running = Running {
            lp,
            lp_index,
            cell,
            vp,
            partition,
            started,
            slice_end,
        };
        let posted = lp.posted.contains(slot) && self.begin_posted(&mut running);
        self.rounds(&mut running, scratch);
        running.vp.vcpu.park();
        lp.running.store(NOBODY, Ordering::Relaxed);
        if posted {
            self.aim(lp, cell, false);
        }
        let ticks = self.machine.now().wrapping_sub(started);
        cell.counters.guest_ticks.add(ticks);
        let runnable = running.vp.is_runnable();
        drop(body);
        if !runnable {
            // In this order: whoever leaves something in the inbox makes the VP ready afterwards. Hardware does not.
            lp.ready.remove(slot);
            if !cell.inbox.is_empty() || posted && cell.inbox.posted().is_outstanding() {
                lp.ready.insert(slot);
            }
        }
    }

    /// Entries and their exits until the VP gives way: a function of its own, so that what goes around it costs an exit nothing.
    #[inline(never)]
    fn rounds(&self, running: &mut Running<'_, M>, scratch: &mut Scratch) {
        while self.prepare(running) {
            self.round(running, scratch);
        }
    }

    /// Gets the VP ready for an entry; `false` where it gives way.
    #[inline]
    fn prepare(&self, running: &mut Running<'_, M>) -> bool {
        if !running.cell.inbox.is_empty() {
            let requests = running.cell.inbox.take();
            self.take_requests(running, requests);
        }
        if !running.vp.is_runnable() {
            return false;
        }
        if running.lp.preempt.load(Ordering::Relaxed) {
            running.lp.preempt.store(false, Ordering::Relaxed);
            running.cell.counters.preemptions.count();
            return false;
        }
        Self::deliver(running);
        true
    }

    /// One entry and the handling of its exit.
    #[inline]
    fn round(&self, running: &mut Running<'_, M>, scratch: &mut Scratch) {
        let flush = self.announce_entry(running.lp, running.partition, running.vp.holder);
        running.vp.vcpu.enter(flush);
        Self::announce_exit(running.lp);
        let exit = running.vp.vcpu.exit();
        self.handle_exit(running, exit, scratch);
    }

    /// Injects what waits and can be taken, or asks for a window.
    #[inline]
    fn deliver(running: &mut Running<'_, M>) {
        let vp = &mut *running.vp;
        if vp.nmi && !vp.vcpu.has_pending_event() {
            vp.nmi = false;
            vp.vcpu.inject(Event::Nmi);
            return;
        }
        if vp.vcpu.serves_interrupts() {
            vp.vcpu.hand_over(&mut vp.apic);
            return;
        }
        let Some(vector) = vp.apic.waiting() else {
            return;
        };
        let class = vector.0 >> 4;
        if class > vp.vcpu.task_priority() && vp.vcpu.can_take_interrupt() {
            vp.apic.begin_service(vector);
            vp.vcpu.inject(Event::Interrupt(vector.0));
            running.cell.counters.injections.count();
        } else {
            // Also where only CR8 stands in the way, which the guest lowers without an exit.
            vp.vcpu.request_window_for(class);
        }
    }

    /// Does what others asked of the VP: mostly interrupts.
    #[inline]
    pub(super) fn take_requests(&self, running: &mut Running<'_, M>, requests: Requests) {
        if !requests.only_interrupts() {
            self.take_rare_requests(running, requests);
        }
        let apic = &mut running.vp.apic;
        running.cell.inbox.take_interrupts(requests, |vector| {
            apic.accept(Vector(vector), false);
        });
        Self::end_halt(running.vp);
    }

    /// Everything but interrupts.
    #[cold]
    fn take_rare_requests(&self, running: &mut Running<'_, M>, requests: Requests) {
        if requests.has(Request::Init) {
            Self::init(running.vp);
            local_apic::publish(running.cell, running.vp);
        }
        if requests.has(Request::Startup) && running.vp.activity == Activity::WaitForStartup {
            let vector = running.cell.inbox.startup_vector();
            running.vp.vcpu.reset(Reset::Startup(vector));
            running.vp.activity = Activity::Running;
        }
        running.vp.nmi |= requests.has(Request::Nmi);
        running.vp.explicit_suspend |= requests.has(Request::Suspend);
        if requests.has(Request::Timer) {
            let now = self.machine.now();
            running.vp.apic.timer_expired(now);
            self.timer_changed(running);
        }
        if requests.has(Request::Message) {
            self.deliver_messages(running);
        }
    }

    /// A halted VP goes on when an interrupt or an NMI waits.
    fn end_halt(vp: &mut Vp<M>) {
        if vp.activity != Activity::Halted {
            return;
        }
        vp.vcpu.hand_over(&mut vp.apic);
        if vp.has_wake_event() {
            vp.activity = Activity::Running;
        }
    }

    /// The state after INIT: only a start-up IPI gets the VP going again.
    pub(crate) fn init(vp: &mut Vp<M>) {
        if vp.activity == Activity::Halted {
            // Whoever was told that nothing can wake it need not answer any more.
            vp.intercept_suspend = false;
            vp.message = None;
        }
        vp.vcpu.reset(Reset::Init);
        vp.apic.reset();
        vp.vcpu.serve(&mut vp.apic);
        vp.nmi = false;
        vp.activity = Activity::WaitForStartup;
    }

    /// The VP's timer was set anew.
    pub(crate) fn timer_changed(&self, running: &mut Running<'_, M>) {
        let deadline = running.vp.apic.timer_deadline().unwrap_or(u64::MAX);
        running.cell.deadline.store(deadline, Ordering::Relaxed);
        self.arm(running.lp, running.slice_end);
    }

    /// Sets the LP's one timer to whatever is due first: the end of the slice, or the timer of a VP bound here.
    fn arm(&self, lp: &Lp, slice_end: u64) {
        let mut first = slice_end.min(lp.storm.until());
        let mut last = VpSlot(crate::MAX_VPS as u16 - 1);
        let mut bound = 0;
        while let Some(slot) = lp.bound.next_after(last) {
            if bound > 0 && slot.0 <= last.0 {
                break;
            }
            first = first.min(self.vp_cell(slot).deadline.load(Ordering::Relaxed));
            last = slot;
            bound += 1;
        }
        self.machine.arm_timer(first);
    }

    /// After interrupts were taken: does what their handlers left.
    #[inline]
    pub(super) fn do_chores(&self, index: LpIndex, lp: &Lp, slice_end: u64) {
        if lp.chores.load(Ordering::Relaxed) != 0 {
            self.do_those_chores(index, lp, slice_end);
        }
    }

    #[inline(never)]
    fn do_those_chores(&self, index: LpIndex, lp: &Lp, slice_end: u64) {
        let chores = lp.chores.swap(0, Ordering::Relaxed);
        if chores & chore::FAULT != 0 {
            self.collect_faults();
        }
        if chores & chore::STORM != 0 {
            self.hold_storms(index, lp);
        }
        if chores & chore::POSTED != 0 {
            self.find_posted(lp);
        }
        if chores & chore::TIMER != 0 {
            self.expire_timers(lp, slice_end);
        } else if chores & chore::STORM != 0 {
            self.arm(lp, slice_end);
        }
    }

    /// After the LP's timer fired: wakes the VPs whose timers are due, and ends the slice where it is over.
    fn expire_timers(&self, lp: &Lp, slice_end: u64) {
        let now = self.machine.now();
        if lp.storm.until() <= now {
            self.release_storms(lp);
        }
        for slot in 0..crate::MAX_VPS as u16 {
            let slot = VpSlot(slot);
            if lp.bound.contains(slot) {
                self.expire_vp_timer(slot, now);
            }
        }
        if now >= slice_end {
            lp.preempt.store(true, Ordering::Relaxed);
        } else {
            self.arm(lp, slice_end);
        }
    }

    fn expire_vp_timer(&self, slot: VpSlot, now: u64) {
        let cell = self.vp_cell(slot);
        if cell.deadline.load(Ordering::Relaxed) <= now {
            cell.deadline.store(u64::MAX, Ordering::Relaxed);
            self.notify(slot, Request::Timer);
        }
    }

    /// Interrupt handlers call this: the LP's one-shot timer fired.
    pub fn on_timer(&self, lp: LpIndex) {
        if let Some(lp) = self.lps.get(usize::from(lp.0)) {
            lp.chores.fetch_or(chore::TIMER, Ordering::Relaxed);
        }
    }

    /// Interrupt handlers call this: a unit has recorded a fault.
    pub fn on_fault(&self, lp: LpIndex) {
        if let Some(lp) = self.lps.get(usize::from(lp.0)) {
            lp.chores.fetch_or(chore::FAULT, Ordering::Relaxed);
        }
    }

    /// Interrupt handlers call this: a device interrupt arrived at a vector of this LP. Returns whether anybody has it.
    pub fn on_device_interrupt(&self, lp: LpIndex, vector: u8) -> bool {
        let Some(delivery) = self.arrivals.arrive(lp, Vector(vector)) else {
            return false;
        };
        if self
            .lps
            .get(usize::from(lp.0))
            .is_some_and(|lp| lp.storm.count(vector))
        {
            self.over_budget(lp);
        }
        let slot = VpSlot(delivery.vp.0 as u16);
        self.vp_cell(slot).counters.device_interrupts.count_shared();
        self.interrupt_vp(slot, delivery.vector.0);
        true
    }
}
