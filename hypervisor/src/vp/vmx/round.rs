//! What goes before an entry and what comes after an exit, besides the handling of its reason.

use core::arch::asm;

use address::Vector;
use guest::vmx::control::{pin, secondary};
use guest::vmx::control_register::{self, Outcome, Shadow};
use guest::vmx::event::kind;
use guest::vmx::exit_info::ControlRegisterInfo;
use guest::vmx::{Delivery, EventInfo, Field, Window, decode, exit_code, timer, window};
use guest::{Event, Exit, Gpr, Vcpu};

use super::instruction::{self, Scope, vmread};
use super::state::read_dr6;
use super::vcpu::Vmx;
use super::{entry, host};
use crate::cpu::apic::vector;
use crate::cpu::{clock, interrupt};

/// #DB.
const DEBUG: u8 = 1;
const DR7_GENERAL_DETECT: u64 = 1 << 13;

impl Vmx {
    pub(super) fn inject_nmi(&mut self) {
        if self.pending.info.valid() || !window::takes_nmi(self.interruptibility()) {
            self.window.request_nmi(true);
        } else {
            self.pending = Delivery::of(Event::Nmi, true);
        }
    }

    #[inline]
    pub(super) fn before_entry(&mut self, flush: bool) {
        if flush || self.flush {
            self.flush = false;
            let scope = if self.features.invept_single {
                Scope::Single
            } else {
                Scope::All
            };
            instruction::invept(scope, self.setup.tables.into_bits());
        }
        if let Some(shift) = self.features.timer_shift {
            let left = clock::deadline().saturating_sub(clock::now());
            self.put(Field::PREEMPTION_TIMER, timer::count(left, shift).into());
        }
        if self.pending.info.valid() {
            self.give_event();
        }
        if self.window != self.loaded {
            self.put_window();
        }
    }

    fn put_window(&mut self) {
        let Window {
            controls,
            threshold,
            served,
        } = self.window;
        self.put(
            Field::PRIMARY_CONTROLS,
            (self.features.primary | controls).into(),
        );
        self.put(Field::TPR_THRESHOLD, threshold.into());
        if served != self.loaded.served {
            self.put_service(served);
        }
        self.loaded = self.window;
    }

    fn put_service(&mut self, served: bool) {
        let (mut pin, mut second) = (self.features.pin, self.features.secondary);
        if served {
            second |= secondary::SERVE;
        }
        if served && host::takes_posts() && self.posted.as_u64() != 0 {
            pin |= pin::POSTED;
            self.put(Field::POSTED_VECTOR, vector::NOTIFY.0.into());
            self.put(Field::POSTED_DESCRIPTOR, self.posted.as_u64());
        }
        self.put(Field::PIN_CONTROLS, pin.into());
        self.put(Field::SECONDARY_CONTROLS, second.into());
        let permissions = host::msr_permissions(served).as_u64();
        self.put(Field::MSR_BITMAP, permissions);
    }

    pub(super) fn give_event(&mut self) {
        let Delivery { info, error_code } = self.pending;
        if info.kind() == kind::NMI {
            // Being delivered for the second time, it has blocked itself.
            let state = self.interruptibility() & !(window::NMI_BLOCKED | window::SHADOW);
            self.put(Field::GUEST_INTERRUPTIBILITY, state);
        }
        if info.has_error_code() {
            self.put(Field::ENTRY_EVENT_ERROR, error_code.into());
        }
        self.put(Field::ENTRY_EVENT, info.into_bits().into());
    }

    #[inline]
    pub(super) fn after_exit(&mut self) -> Exit {
        let reason = vmread(Field::EXIT_REASON) as u32;
        self.pending = Delivery::default();
        if reason & exit_code::ENTRY_FAILURE == 0 {
            self.launched = true;
            let vectoring = EventInfo::from_bits(vmread(Field::VECTORING_EVENT) as u32);
            if vectoring.valid() {
                let error_code = vmread(Field::VECTORING_EVENT_ERROR) as u32;
                self.pending = Delivery::again(vectoring, error_code);
            }
            if decode::nmi_stays_blocked(reason, vectoring.valid(), vmread) {
                let state = self.interruptibility() | window::NMI_BLOCKED;
                self.put(Field::GUEST_INTERRUPTIBILITY, state);
            }
        }
        let exit = decode::exit(reason, vmread);
        match exit {
            Exit::Host => self.host_exit(reason),
            Exit::InterruptWindow => self.window.request(false),
            Exit::Exception { .. } => self.note_exception(),
            Exit::InvalidState | Exit::Unknown(_) => self.say(reason),
            _ => {}
        }
        exit
    }

    #[cold]
    pub(super) fn say(&self, reason: u32) {
        let qualification = vmread(Field::EXIT_QUALIFICATION);
        log::error!("a VP cannot go on: exit reason {reason:#x}, qualification {qualification:#x}");
    }

    pub(super) fn host_exit(&mut self, reason: u32) {
        match reason {
            exit_code::EXTERNAL_INTERRUPT => {
                interrupt::take(Vector(vmread(Field::EXIT_EVENT) as u8));
            }
            exit_code::PREEMPTION_TIMER => interrupt::note_deadline(),
            exit_code::EXCEPTION_OR_NMI => entry::take_nmi(),
            exit_code::NMI_WINDOW => {
                self.window.request_nmi(false);
                self.pending = Delivery::of(Event::Nmi, true);
            }
            exit_code::CONTROL_REGISTER => self.control_register(),
            _ => {}
        }
    }

    pub(super) fn control_register(&mut self) {
        let info = ControlRegisterInfo::from_bits(vmread(Field::EXIT_QUALIFICATION));
        let value = self.gpr(Gpr::from_number(info.gpr()));
        let (cr0, cr4) = (vmread(Field::CR0_SHADOW), vmread(Field::CR4_SHADOW));
        match control_register::access(info, value, cr0, cr4) {
            Outcome::Again(Shadow::Cr0, shadow) => self.put(Field::CR0_SHADOW, shadow),
            Outcome::Again(Shadow::Cr4, shadow) => self.put(Field::CR4_SHADOW, shadow),
            Outcome::Fault => self.inject(Event::GENERAL_PROTECTION),
            Outcome::Unknown => self.refused = true,
        }
    }

    /// What an exception that leaves the guest has not done, and its injection does not do either.
    #[cold]
    fn note_exception(&mut self) {
        let event = EventInfo::from_bits(vmread(Field::EXIT_EVENT) as u32);
        if event.kind() == kind::PRIVILEGED_SOFTWARE_EXCEPTION {
            // INT1 is a trap, and left for like a fault: it would be executed again and again.
            let length = vmread(Field::EXIT_INSTRUCTION_LENGTH) & 15;
            let next = decode::next_rip(vmread(Field::GUEST_RIP), length, self.long_mode());
            self.put(Field::GUEST_RIP, next);
        } else if event.vector() == DEBUG {
            self.note_debug();
        }
        // Any exception ends a shadow. With one, and the trap flag set, the entry would be refused.
        let state = self.interruptibility();
        if state & window::SHADOW != 0 {
            self.put(Field::GUEST_INTERRUPTIBILITY, state & !window::SHADOW);
        }
    }

    /// A debug exception that leaves the guest does not write DR6 and DR7; the one that is injected does not either.
    fn note_debug(&mut self) {
        let status = decode::debug_status(read_dr6(), vmread(Field::EXIT_QUALIFICATION));
        // SAFETY: the hypervisor does not use the register.
        unsafe { asm!("mov dr6, {}", in(reg) status, options(nomem, nostack, preserves_flags)) };
        let control = vmread(Field::GUEST_DR7) & !DR7_GENERAL_DETECT;
        self.put(Field::GUEST_DR7, control);
    }
}
