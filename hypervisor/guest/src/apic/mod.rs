//! The local APIC of a VP, in x2APIC and in xAPIC mode: Intel SDM volume 3, "Advanced programmable interrupt controller";
//! AMD64 APM volume 2, chapter 16.
//!
//! A pure state machine. Time comes in as the guest's time-stamp counter; what must happen elsewhere comes out as an
//! [`Effect`].

mod ipi;
mod posted;
mod registers;
#[cfg(test)]
mod tests;
mod timer;
mod vectors;
mod xapic;

use address::{ApicId, Vector};

pub use ipi::{Destination, IpiKind, IpiRequest, LogicalName, logical_id};
pub use posted::{Notification, Posted};
pub use registers::{Effect, Gp, msr};
pub use timer::bus_frequency;
pub use vectors::VectorSet;

use timer::{Mode, Timer};

/// Entries of the local vector table: timer, thermal, performance, LINT0, LINT1, error.
const LVT_ENTRIES: usize = 6;
const LVT_TIMER: usize = 0;
const LVT_ERROR: usize = 5;
const LVT_MASKED: u32 = 1 << 16;
const SVR_ENABLED: u32 = 1 << 8;
/// ESR: a command with a vector below 16.
const ESR_SEND_ILLEGAL: u32 = 1 << 5;
/// ESR: an interrupt with a vector below 16 arrived.
const ESR_RECEIVE_ILLEGAL: u32 = 1 << 6;
/// ESR: an access in xAPIC mode to a register that does not exist.
const ESR_ILLEGAL_REGISTER: u32 = 1 << 7;

/// IA32_APIC_BASE: this is the boot processor.
pub const BASE_BOOT_PROCESSOR: u64 = 1 << 8;
/// IA32_APIC_BASE: x2APIC mode.
pub const BASE_X2APIC: u64 = 1 << 10;
/// IA32_APIC_BASE: enabled.
pub const BASE_ENABLED: u64 = 1 << 11;
/// IA32_APIC_BASE: where the registers are in xAPIC mode.
pub const BASE_ADDRESS: u64 = 0xfee0_0000;

const BASE_MODE: u64 = BASE_ENABLED | BASE_X2APIC;
/// DFR: the model in `[31:28]`, the rest reads as ones.
const DFR_FLAT: u32 = 0xffff_ffff;
const DFR_CLUSTER: u32 = 0x0fff_ffff;

/// State of a local APIC.
#[derive(Clone, Debug)]
pub struct LocalApic {
    id: ApicId,
    x2apic: bool,
    base: u64,
    tpr: u8,
    spurious: u32,
    errors_pending: u32,
    errors_shown: u32,
    /// As the registers show it: the destination of xAPIC mode is in `[63:56]`.
    command: u64,
    /// LDR and DFR of xAPIC mode.
    logical: u8,
    model: u32,
    lvt: [u32; LVT_ENTRIES],
    timer: Timer,
    requested: VectorSet,
    in_service: VectorSet,
    level: VectorSet,
}

impl LocalApic {
    /// The local APIC with this id after power-on, in xAPIC mode; id 0 is the boot processor's. `x2apic`: it has that mode
    /// too.
    #[must_use]
    pub fn new(id: ApicId, x2apic: bool) -> Self {
        let boot = if id.0 == 0 { BASE_BOOT_PROCESSOR } else { 0 };
        let mut apic = Self {
            id,
            x2apic,
            base: BASE_ADDRESS | BASE_ENABLED | boot,
            tpr: 0,
            spurious: 0xff,
            errors_pending: 0,
            errors_shown: 0,
            command: 0,
            logical: 0,
            model: DFR_FLAT,
            lvt: [LVT_MASKED; LVT_ENTRIES],
            timer: Timer::default(),
            requested: VectorSet::default(),
            in_service: VectorSet::default(),
            level: VectorSet::default(),
        };
        apic.reset();
        apic
    }

    /// The same in x2APIC mode, as firmware that uses it leaves it.
    #[must_use]
    pub fn started(id: ApicId) -> Self {
        let mut apic = Self::new(id, true);
        apic.base |= BASE_X2APIC;
        apic
    }

    /// The state after INIT. The mode stays, as on a processor.
    pub fn reset(&mut self) {
        self.tpr = 0;
        self.spurious = 0xff;
        self.errors_pending = 0;
        self.errors_shown = 0;
        self.command = 0;
        self.logical = 0;
        self.model = DFR_FLAT;
        self.lvt = [LVT_MASKED; LVT_ENTRIES];
        self.timer = Timer::default();
        self.requested = VectorSet::default();
        self.in_service = VectorSet::default();
        self.level = VectorSet::default();
    }

    /// Local APIC id.
    #[must_use]
    pub const fn id(&self) -> ApicId {
        self.id
    }

    /// Whether software has enabled it: otherwise it accepts no interrupts.
    #[must_use]
    pub const fn is_enabled(&self) -> bool {
        self.spurious & SVR_ENABLED != 0 && self.base & BASE_ENABLED != 0
    }

    /// Requests `vector`, level or edge triggered. `false`: not accepted (disabled, or a vector below 16, which is noted
    /// as an error).
    pub fn accept(&mut self, vector: Vector, level: bool) -> bool {
        if !self.is_enabled() {
            return false;
        }
        if vector.0 < 16 {
            self.note_error(ESR_RECEIVE_ILLEGAL);
            return false;
        }
        self.requested.insert(vector);
        if level {
            self.level.insert(vector);
        } else {
            self.level.remove(vector);
        }
        true
    }

    /// The highest requested vector that neither the task priority class (CR8) nor a vector in service holds back.
    #[must_use]
    #[inline]
    pub fn pending(&self, task_priority: u8) -> Option<Vector> {
        let class = self
            .in_service
            .highest_class()
            .max(i16::from(task_priority & 15));
        self.requested
            .highest()
            .filter(|v| i16::from(v.0 >> 4) > class)
    }

    /// The highest requested vector that no vector in service holds back, whatever the task priority: what to ask an
    /// interrupt window for.
    #[must_use]
    #[inline]
    pub fn waiting(&self) -> Option<Vector> {
        let class = self.in_service.highest_class();
        self.requested
            .highest()
            .filter(|v| i16::from(v.0 >> 4) > class)
    }

    /// Moves `vector` from requested to in service: it is being delivered.
    #[inline]
    pub fn begin_service(&mut self, vector: Vector) {
        self.requested.remove(vector);
        self.in_service.insert(vector);
    }

    /// Ends the service of the highest vector. An EOI that nothing waits for (a spurious interrupt's) does nothing.
    #[inline]
    pub fn end_of_interrupt(&mut self) -> Effect {
        let Some(vector) = self.in_service.highest() else {
            return Effect::None;
        };
        self.in_service.remove(vector);
        Effect::EndOfInterrupt {
            vector,
            level: self.level.contains(vector),
        }
    }

    /// Whether a processor may serve interrupts on its behalf: software has enabled it, in x2APIC mode, and no service has to
    /// be told of its end.
    #[must_use]
    pub fn may_be_served(&self) -> bool {
        self.is_enabled() && self.base & BASE_X2APIC != 0 && self.level.is_empty()
    }

    /// Whether anything is requested or in service that [`LocalApic::hand_over`] would give away.
    #[must_use]
    #[inline]
    pub const fn has_work(&self) -> bool {
        !self.requested.is_empty() || !self.in_service.is_empty()
    }

    /// Gives away all requests and services, in this order: somebody else keeps them from now on.
    pub fn hand_over(&mut self) -> (VectorSet, VectorSet) {
        (
            core::mem::take(&mut self.requested),
            core::mem::take(&mut self.in_service),
        )
    }

    /// Takes requests (`[0]`) and services (`[1]`) back, as registers of 32 vectors.
    pub fn take_back(&mut self, registers: &[[u32; 8]; 2]) {
        for (index, (requested, served)) in (0..).zip(core::iter::zip(registers[0], registers[1])) {
            self.requested.insert_register(index, requested);
            self.in_service.insert_register(index, served);
        }
    }

    /// Vectors requested and not yet delivered.
    #[must_use]
    pub const fn requested(&self) -> &VectorSet {
        &self.requested
    }

    /// Takes back the request of `vector`, if it was not delivered yet.
    pub fn withdraw(&mut self, vector: Vector) {
        self.requested.remove(vector);
    }

    /// When [`LocalApic::timer_expired`] should be called next, in ticks of the guest's time-stamp counter; `None`: the
    /// timer is stopped, or masked.
    #[must_use]
    #[inline]
    pub fn timer_deadline(&self) -> Option<u64> {
        if self.lvt[LVT_TIMER] & LVT_MASKED != 0 {
            None
        } else {
            self.timer.deadline
        }
    }

    /// Lets the timer fire if its time has come. `true`: it requested an interrupt.
    pub fn timer_expired(&mut self, now: u64) -> bool {
        let entry = self.lvt[LVT_TIMER];
        self.timer.expire(Mode::from_lvt(entry), now)
            && entry & LVT_MASKED == 0
            && self.accept(Vector(entry as u8), false)
    }

    /// IA32_APIC_BASE.
    #[must_use]
    pub const fn base(&self) -> u64 {
        self.base
    }

    /// Whether its registers are in memory, at [`BASE_ADDRESS`].
    #[must_use]
    pub const fn is_in_memory(&self) -> bool {
        self.base & BASE_MODE == BASE_ENABLED
    }

    /// By which logical destinations it is meant. It changes with the mode ([`LocalApic::set_base`]), with INIT
    /// ([`LocalApic::reset`]) and where a write says so ([`Effect::LogicalName`]).
    #[must_use]
    pub const fn logical_name(&self) -> LogicalName {
        match (self.base & BASE_X2APIC, self.model) {
            (0, DFR_FLAT) => LogicalName::Flat(self.logical),
            (0, DFR_CLUSTER) => LogicalName::Cluster(self.logical),
            (0, _) => LogicalName::Flat(0),
            _ => LogicalName::FromId,
        }
    }

    /// Writes IA32_APIC_BASE. The address does not move; modes change only in the order disabled, xAPIC, x2APIC,
    /// disabled.
    ///
    /// # Errors
    /// #GP for a change that the architecture forbids, and for a new address.
    pub fn set_base(&mut self, value: u64) -> Result<(), Gp> {
        if (value ^ self.base) & !BASE_MODE != 0 {
            return Err(Gp);
        }
        match (self.base & BASE_MODE, value & BASE_MODE) {
            (old, new) if old == new => {}
            (BASE_MODE, 0) | (BASE_ENABLED, 0) => self.reset(),
            (0, BASE_ENABLED) => {}
            // The destination of a command has another form from here on.
            (BASE_ENABLED, BASE_MODE) if self.x2apic => self.command &= 0xffff_ffff,
            _ => return Err(Gp),
        }
        self.base = value;
        Ok(())
    }

    /// Notes an error and raises the error interrupt. An error entry whose own vector is illegal notes that once more and
    /// goes no further (XSA-462).
    fn note_error(&mut self, error: u32) {
        self.errors_pending |= error;
        let entry = self.lvt[LVT_ERROR];
        if entry & LVT_MASKED != 0 {
            return;
        }
        if entry as u8 >= 16 {
            self.requested.insert(Vector(entry as u8));
            self.level.remove(Vector(entry as u8));
        } else {
            self.errors_pending |= ESR_RECEIVE_ILLEGAL;
        }
    }
}
