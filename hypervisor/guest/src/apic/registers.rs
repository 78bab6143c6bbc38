//! The x2APIC registers as MSRs: Intel SDM volume 3, table "Local APIC register address map supported by x2APIC".

use address::Vector;

use super::ipi::{self, Icr, IpiKind, IpiRequest, NotSent};
use super::timer::Mode;
use super::{
    BASE_X2APIC, Destination, ESR_SEND_ILLEGAL, LVT_MASKED, LVT_TIMER, LocalApic, SVR_ENABLED,
    logical_id,
};

/// Indices of the registers.
#[allow(missing_docs)]
pub mod msr {
    pub const FIRST: u32 = 0x800;
    pub const ID: u32 = 0x802;
    pub const VERSION: u32 = 0x803;
    pub const TPR: u32 = 0x808;
    pub const PPR: u32 = 0x80a;
    pub const EOI: u32 = 0x80b;
    pub const LDR: u32 = 0x80d;
    pub const SVR: u32 = 0x80f;
    pub const ISR0: u32 = 0x810;
    pub const ISR7: u32 = 0x817;
    pub const TMR0: u32 = 0x818;
    pub const TMR7: u32 = 0x81f;
    pub const IRR0: u32 = 0x820;
    pub const IRR7: u32 = 0x827;
    pub const ESR: u32 = 0x828;
    pub const ICR: u32 = 0x830;
    pub const LVT_TIMER: u32 = 0x832;
    pub const LVT_THERMAL: u32 = 0x833;
    pub const LVT_PERFORMANCE: u32 = 0x834;
    pub const LVT_LINT0: u32 = 0x835;
    pub const LVT_LINT1: u32 = 0x836;
    pub const LVT_ERROR: u32 = 0x837;
    pub const INITIAL_COUNT: u32 = 0x838;
    pub const CURRENT_COUNT: u32 = 0x839;
    pub const DIVIDE: u32 = 0x83e;
    pub const SELF_IPI: u32 = 0x83f;
    pub const LAST: u32 = 0x83f;
    /// IA32_TSC_DEADLINE.
    pub const TSC_DEADLINE: u32 = 0x6e0;
}

/// The access is answered with #GP(0).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Gp;

/// What a write asks of the rest of the hypervisor.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Effect {
    /// Nothing; but an interrupt may have become deliverable.
    None,
    /// Send this.
    Ipi(IpiRequest),
    /// The service of this vector ended.
    EndOfInterrupt {
        /// Vector.
        vector: Vector,
        /// It was level triggered: who asserts it may do so again.
        level: bool,
    },
    /// Software has enabled or disabled it: [`LocalApic::may_be_served`] and [`LocalApic::timer_deadline`] have changed.
    Switched,
    /// [`LocalApic::timer_deadline`] has changed.
    TimerChanged,
    /// The task priority class, 0 to 15: the VP's CR8 follows.
    TaskPriority(u8),
    /// [`LocalApic::logical_name`] has changed.
    LogicalName,
}

/// Version 14h, six LVT entries, no suppression of EOI broadcasts.
const VERSION: u64 = 0x0005_0014;
/// Bits of a timer, LINT and other LVT entry that can be written.
const LVT_TIMER_BITS: u32 = 0x0007_00ff;
const LVT_LINT_BITS: u32 = 0x0001_a7ff;
const LVT_BITS: u32 = 0x0001_07ff;
const LVT_ERROR_BITS: u32 = 0x0001_00ff;
const SVR_BITS: u32 = 0x1ff;
const DIVIDE_BITS: u32 = 0xb;

/// The bits that can be written in a register that has others.
pub(super) const fn writable(index: u32) -> u32 {
    match index {
        msr::TPR => 0xff,
        msr::SVR => SVR_BITS,
        msr::DIVIDE => DIVIDE_BITS,
        msr::LVT_TIMER => LVT_TIMER_BITS,
        msr::LVT_LINT0 | msr::LVT_LINT1 => LVT_LINT_BITS,
        msr::LVT_ERROR => LVT_ERROR_BITS,
        msr::LVT_THERMAL | msr::LVT_PERFORMANCE => LVT_BITS,
        msr::INITIAL_COUNT => u32::MAX,
        // Only zeros: EOI, ESR.
        _ => 0,
    }
}

impl LocalApic {
    /// Reads a register by its MSR index. `task_priority`: the VP's CR8; `now`: its time-stamp counter.
    ///
    /// # Errors
    /// #GP where there is no such register, it cannot be read, or the mode is not x2APIC.
    pub fn read(&self, index: u32, task_priority: u8, now: u64) -> Result<u64, Gp> {
        if index == msr::TSC_DEADLINE {
            return Ok(self.read_deadline());
        }
        if self.base & BASE_X2APIC == 0 {
            return Err(Gp);
        }
        self.register(index, task_priority, now).ok_or(Gp)
    }

    /// What a register that can be read shows in x2APIC mode.
    pub(super) fn register(&self, index: u32, task_priority: u8, now: u64) -> Option<u64> {
        Some(match index {
            msr::ID => u64::from(self.id.0),
            msr::VERSION => VERSION,
            msr::TPR => u64::from(self.full_task_priority(task_priority)),
            msr::PPR => self.processor_priority(task_priority),
            msr::LDR => u64::from(logical_id(self.id)),
            msr::SVR => u64::from(self.spurious),
            msr::ISR0..=msr::ISR7 => self.in_service.register(index - msr::ISR0).into(),
            msr::TMR0..=msr::TMR7 => self.level.register(index - msr::TMR0).into(),
            msr::IRR0..=msr::IRR7 => self.requested.register(index - msr::IRR0).into(),
            msr::ESR => u64::from(self.errors_shown),
            msr::ICR => self.command,
            msr::LVT_TIMER..=msr::LVT_ERROR => {
                u64::from(self.lvt[(index - msr::LVT_TIMER) as usize])
            }
            msr::INITIAL_COUNT => u64::from(self.timer.initial),
            msr::CURRENT_COUNT => u64::from(self.current_count(now)),
            msr::DIVIDE => u64::from(self.timer.divide),
            _ => return None,
        })
    }

    /// Writes a register by its MSR index. `now`: the VP's time-stamp counter. For [`msr::EOI`] alone,
    /// [`LocalApic::end_of_interrupt`] is the shorter way.
    ///
    /// # Errors
    /// #GP where there is no such register, it cannot be written, the value has reserved bits, or the mode is not x2APIC.
    /// Nothing has changed then.
    pub fn write(&mut self, index: u32, value: u64, now: u64) -> Result<Effect, Gp> {
        if index == msr::TSC_DEADLINE {
            return Ok(self.write_deadline(value));
        }
        if self.base & BASE_X2APIC == 0 {
            return Err(Gp);
        }
        if index == msr::ICR {
            return self.write_command(value);
        }
        self.set_register(index, u32::try_from(value).map_err(|_| Gp)?, now)
    }

    /// Writes a register of 32 bits that can be written, as in x2APIC mode.
    pub(super) fn set_register(&mut self, index: u32, value: u32, now: u64) -> Result<Effect, Gp> {
        match index {
            msr::EOI if value == 0 => Ok(self.end_of_interrupt()),
            msr::TPR if value < 0x100 => Ok(self.write_task_priority(value as u8)),
            msr::SVR if value & !SVR_BITS == 0 => Ok(self.write_spurious(value)),
            msr::ESR if value == 0 => Ok(self.latch_errors()),
            msr::LVT_TIMER..=msr::LVT_ERROR => self.write_lvt(index, value),
            msr::INITIAL_COUNT => Ok(self.write_initial_count(value, now)),
            msr::DIVIDE if value & !DIVIDE_BITS == 0 => {
                self.timer.set_divide(value, now);
                Ok(Effect::TimerChanged)
            }
            msr::SELF_IPI if value < 0x100 => self.write_command(1 << 18 | u64::from(value)),
            _ => Err(Gp),
        }
    }

    /// The task priority register: its class is the VP's CR8, its low half is kept here. CR8 written by the guest clears
    /// the low half.
    const fn full_task_priority(&self, class: u8) -> u8 {
        if self.tpr >> 4 == class {
            self.tpr
        } else {
            class << 4
        }
    }

    fn processor_priority(&self, task_priority: u8) -> u64 {
        let served = self.in_service.highest_class().max(0) as u8;
        let task = self.full_task_priority(task_priority);
        u64::from(if task >> 4 >= served {
            task
        } else {
            served << 4
        })
    }

    fn write_task_priority(&mut self, value: u8) -> Effect {
        self.tpr = value;
        Effect::TaskPriority(value >> 4)
    }

    fn write_spurious(&mut self, value: u32) -> Effect {
        self.spurious = value;
        if value & SVR_ENABLED == 0 {
            self.lvt.iter_mut().for_each(|entry| *entry |= LVT_MASKED);
        }
        Effect::Switched
    }

    fn latch_errors(&mut self) -> Effect {
        self.errors_shown = core::mem::take(&mut self.errors_pending);
        Effect::None
    }

    fn write_command(&mut self, value: u64) -> Result<Effect, Gp> {
        if value & Icr::RESERVED != 0 {
            return Err(Gp);
        }
        self.command = value & !(1 << 12);
        Ok(self.send(value))
    }

    /// Does what a command in x2APIC form says; its reserved bits are clear.
    pub(super) fn send(&mut self, command: u64) -> Effect {
        let request = match ipi::decode(command) {
            Ok(request) => request,
            Err(NotSent::IllegalVector) => {
                self.note_error(ESR_SEND_ILLEGAL);
                return Effect::None;
            }
            Err(NotSent::Nothing) => return Effect::None,
        };
        if let (IpiKind::Fixed(vector), Destination::OneSelf) = (request.kind, request.destination)
        {
            self.accept(vector, false);
            return Effect::None;
        }
        Effect::Ipi(request)
    }

    fn write_lvt(&mut self, index: u32, value: u32) -> Result<Effect, Gp> {
        if value & !writable(index) != 0 {
            return Err(Gp);
        }
        let masked = if self.spurious & SVR_ENABLED == 0 {
            LVT_MASKED
        } else {
            0
        };
        let entry = &mut self.lvt[(index - msr::LVT_TIMER) as usize];
        let old = Mode::from_lvt(*entry);
        *entry = value | masked;
        if index != msr::LVT_TIMER {
            return Ok(Effect::None);
        }
        let new = Mode::from_lvt(value);
        if (old == Mode::Deadline) != (new == Mode::Deadline) || new == Mode::Reserved {
            self.timer.initial = 0;
            self.timer.deadline = None;
        }
        Ok(Effect::TimerChanged)
    }

    fn write_initial_count(&mut self, value: u32, now: u64) -> Effect {
        match Mode::from_lvt(self.lvt[LVT_TIMER]) {
            Mode::OneShot | Mode::Periodic => {
                self.timer.start(value, now);
                Effect::TimerChanged
            }
            Mode::Deadline | Mode::Reserved => Effect::None,
        }
    }

    /// A masked timer is not served at its deadline, so that a count may have passed it.
    fn current_count(&self, now: u64) -> u32 {
        let mut timer = self.timer;
        timer.expire(Mode::from_lvt(self.lvt[LVT_TIMER]), now);
        timer.current(now)
    }

    fn read_deadline(&self) -> u64 {
        match Mode::from_lvt(self.lvt[LVT_TIMER]) {
            Mode::Deadline => self.timer.deadline.unwrap_or(0),
            _ => 0,
        }
    }

    /// Arms the timer in deadline mode, 0 disarms; ignored in the other modes.
    fn write_deadline(&mut self, value: u64) -> Effect {
        if Mode::from_lvt(self.lvt[LVT_TIMER]) != Mode::Deadline {
            return Effect::None;
        }
        self.timer.deadline = if value == 0 { None } else { Some(value) };
        Effect::TimerChanged
    }
}
