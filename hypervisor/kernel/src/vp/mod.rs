//! Virtual processors: their state, and how an LP runs them.

pub mod exit;
pub mod hypercall_page;
pub mod inbox;
pub mod intercept;
pub mod ipi;
pub mod local_apic;
pub mod msr;
pub mod port;
mod posting;
pub mod run;

use core::sync::atomic::{AtomicU16, AtomicU64, Ordering};

use abi::message::Message;
use address::{LpIndex, PartitionId, Spa, VpIndex};
use arrayvec::ArrayVec;
use guest::Vcpu;
use guest::apic::{Gp, LocalApic};
use spin::Mutex;

use crate::counters::VpCounters;
use crate::memory::Holder;
use crate::seams::Machine;
use crate::synic::SynIc;
use inbox::{Inbox, Request};

/// Slot of a VP in the kernel's table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(transparent)]
pub struct VpSlot(pub u16);

impl VpSlot {
    /// Word of the VP's bit in a set.
    #[must_use]
    pub const fn word(self) -> usize {
        self.0 as usize / 64 % (crate::MAX_VPS / 64)
    }

    /// The VP's bit in its word.
    #[must_use]
    pub const fn bit(self) -> u64 {
        1 << (self.0 % 64)
    }
}

/// Frames that a VP keeps, control structures and overlay pages.
pub const MAX_VP_FRAMES: usize = 16;

const RFLAGS_IF: u64 = 1 << 9;

/// What the VP waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Activity {
    /// Nothing: it could run.
    Running,
    /// An interrupt.
    Halted,
    /// A start-up IPI.
    WaitForStartup,
}

/// One VP.
pub struct Vp<M: Machine> {
    /// Its partition.
    pub partition: PartitionId,
    /// Slot of its partition.
    pub holder: Holder,
    /// Its index there, and its APIC id.
    pub index: VpIndex,
    /// Its own slot.
    pub slot: VpSlot,
    /// The LP that it is bound to.
    pub lp: LpIndex,
    /// Processor state.
    pub vcpu: M::Vcpu,
    /// Local APIC.
    pub apic: LocalApic,
    /// Synthetic interrupt controller.
    pub synic: SynIc,
    /// What it waits for.
    pub activity: Activity,
    /// Its parent stopped it.
    pub explicit_suspend: bool,
    /// It waits for its parent's answer.
    pub intercept_suspend: bool,
    /// An NMI waits.
    pub nmi: bool,
    /// The intercept message that it waits for an answer to, until it is delivered.
    pub message: Option<Message>,
    /// Frames of its partition's deposits that it keeps.
    pub frames: ArrayVec<Spa, MAX_VP_FRAMES>,
    /// What CPUID shows it.
    pub cpuid: guest::cpuid::Facts,
    /// HV_X64_MSR_VP_ASSIST_PAGE, kept but not used.
    pub assist_msr: u64,
}

impl<M: Machine> Vp<M> {
    /// Whether an LP could run it.
    #[must_use]
    pub fn is_runnable(&self) -> bool {
        self.activity == Activity::Running && !self.explicit_suspend && !self.intercept_suspend
    }

    /// Whether the guest takes interrupts: RFLAGS.IF.
    #[must_use]
    pub fn takes_interrupts(&self) -> bool {
        self.vcpu.rflags() & RFLAGS_IF != 0
    }

    /// Whether something waits that ends a halt.
    #[must_use]
    pub fn has_wake_event(&self) -> bool {
        let interrupt = || {
            let asked = self.apic.pending(self.vcpu.task_priority());
            asked.is_some() || self.vcpu.holds_interrupt()
        };
        self.nmi || self.vcpu.has_pending_event() || (self.takes_interrupts() && interrupt())
    }

    /// Writes IA32_APIC_BASE.
    ///
    /// # Errors
    /// #GP is due, and nothing has changed.
    pub fn set_apic_base(&mut self, value: u64) -> Result<(), Gp> {
        self.vcpu.take_back(&mut self.apic);
        let result = self.apic.set_base(value);
        self.vcpu.serve(&mut self.apic);
        result
    }

    /// Whether its parent may look at its registers.
    #[must_use]
    pub fn is_suspended(&self) -> bool {
        self.explicit_suspend || self.intercept_suspend || self.activity == Activity::WaitForStartup
    }

    /// Whether it belongs to the root partition.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.partition == PartitionId::ROOT
    }
}

/// A VP and what may be read or left without its lock. It has pages of its own, with what processors write first: the manual
/// wants 64 bytes for that, and the only emulator that has posted interrupts wants a page.
#[repr(C, align(4096))]
pub struct VpCell<M: Machine> {
    /// Requests to it.
    pub inbox: Inbox,
    /// The object; `None` in a free slot.
    pub body: Mutex<Option<Vp<M>>>,
    /// Name of its partition, 0 in a free slot.
    pub partition: AtomicU64,
    /// Its index in its partition.
    pub index: AtomicU16,
    /// By which logical destinations it is meant, as [`guest::apic::LogicalName::to_bits`] has it.
    pub logical_name: AtomicU16,
    /// The LP that it is bound to.
    pub lp: AtomicU16,
    /// When its timer is due; `u64::MAX` for never.
    pub deadline: AtomicU64,
    /// When it was last run out of turn.
    pub boosted: AtomicU64,
    /// Counters.
    pub counters: VpCounters,
}

impl<M: Machine> VpCell<M> {
    /// A free slot.
    #[must_use]
    pub fn free() -> Self {
        Self {
            inbox: Inbox::default(),
            body: Mutex::new(None),
            partition: AtomicU64::new(0),
            index: AtomicU16::new(0),
            logical_name: AtomicU16::new(0),
            lp: AtomicU16::new(0),
            deadline: AtomicU64::new(u64::MAX),
            boosted: AtomicU64::new(0),
            counters: VpCounters::default(),
        }
    }

    /// The LP that the VP is bound to.
    #[must_use]
    pub fn lp(&self) -> LpIndex {
        LpIndex(self.lp.load(Ordering::Relaxed))
    }

    /// Name of the VP's partition.
    #[must_use]
    pub fn partition(&self) -> PartitionId {
        PartitionId(self.partition.load(Ordering::Acquire))
    }
}

impl<M: Machine> crate::Kernel<M> {
    /// The cell of a VP slot.
    #[inline]
    pub fn vp_cell(&self, slot: VpSlot) -> &VpCell<M> {
        &self.vps[usize::from(slot.0) % crate::MAX_VPS]
    }

    /// Leaves a request for a VP and sees to it that the VP's LP notices.
    pub fn notify(&self, slot: VpSlot, request: Request) {
        self.vp_cell(slot).inbox.request(request);
        self.wake(slot);
    }

    /// Leaves an interrupt for a VP and sees to it that the VP's LP notices.
    pub fn interrupt_vp(&self, slot: VpSlot, vector: u8) {
        let cell = self.vp_cell(slot);
        cell.inbox.interrupt(vector);
        let running = |lp: &crate::lp::Lp| lp.running.load(Ordering::Relaxed) == slot.0;
        let lp = cell.lp();
        let elsewhere = lp != self.machine.current_lp();
        if elsewhere && self.lps.get(usize::from(lp.0)).is_some_and(running) {
            // Should it sleep by now, it looks into the inbox before that; should it have given way, it has a turn to come.
            self.machine.notify(lp);
        } else {
            self.wake(slot);
        }
    }

    /// Makes a VP ready that has something in its inbox. The caller left it there before: the LP that puts the VP to sleep
    /// looks into the inbox after taking it out of the ready set.
    pub fn wake(&self, slot: VpSlot) {
        let cell = self.vp_cell(slot);
        let Some(lp) = self.lps.get(usize::from(cell.lp().0)) else {
            return;
        };
        let here = cell.lp() == self.machine.current_lp();
        if here && lp.running.load(Ordering::Relaxed) == slot.0 {
            // It is in the ready set, and looks into its inbox before the next entry.
            return;
        }
        lp.woken.insert(slot);
        lp.ready.insert(slot);
        if !here {
            self.machine.kick(cell.lp());
        }
    }
}
