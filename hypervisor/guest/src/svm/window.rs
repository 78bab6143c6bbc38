//! How the guest is left as soon as it can take an interrupt, and which event it is given.

use super::control::SHADOW;
use super::event::EventInfo;
use super::intercepts::bit;
use super::{Vmcb, decode, exit_code};
use crate::{Event, Exit};

/// Writes of CR8, in the control area's first word.
const CR8_WRITES: u32 = 1 << (16 + 8);
const RFLAGS_IF: u64 = 1 << 9;
const RFLAGS_TF: u64 = 1 << 8;
/// Bit of DR6.
const SINGLE_STEP: u64 = 1 << 14;

/// A single step over one instruction of the guest, a write of CR8 or an IRET: what it hides.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Step {
    dr6: u64,
    /// The guest steps as well.
    trap: bool,
    /// The instruction loads all flags: those that it leaves behind are the guest's.
    loads_flags: bool,
}

impl Vmcb {
    /// Whether the next entry can deliver an interrupt.
    #[must_use]
    #[inline]
    pub const fn can_take_interrupt(&self) -> bool {
        self.save.rflags & RFLAGS_IF != 0
            && self.control.interrupt_shadow & SHADOW == 0
            && !self.control.event_injection.valid()
    }

    /// Asks for an exit as soon as IF is set and no shadow holds, whatever the task priority; or takes that back.
    ///
    /// Writes of CR8 leave the guest meanwhile: they may change which interrupt is wanted.
    #[inline]
    pub fn request_window(&mut self, wanted: bool) {
        let c = &mut self.control;
        if wanted {
            let v = c.virtual_interrupt;
            c.virtual_interrupt = v.with_pending(true).with_ignore_task_priority(true);
            c.intercept_3 |= bit(exit_code::VINTR);
            c.intercept_cr = CR8_WRITES;
        } else if c.intercept_cr != 0 {
            c.virtual_interrupt = c.virtual_interrupt.with_pending(false);
            c.intercept_3 &= !bit(exit_code::VINTR);
            c.intercept_cr = 0;
        }
    }

    /// The same for an interrupt of this class. Where the task priority stands in the way, only the write of CR8 that may
    /// end that is waited for: implementations differ in comparing the two when they are equal. A step that is under way
    /// ends as a window: to ask for one meanwhile would have the write leave again and again.
    pub fn request_window_for(&mut self, class: u8, step: Option<&Step>) {
        if step.is_some() && self.save.rflags & RFLAGS_TF != 0 {
            return;
        }
        if class > self.control.virtual_interrupt.task_priority() {
            self.request_window(true);
        } else {
            self.request_window(false);
            self.control.intercept_cr = CR8_WRITES;
        }
    }

    /// Why the guest was left, once what concerns this dialect alone is done: an event whose delivery was interrupted is
    /// given again, and a window that has come is closed. `step` is kept from exit to exit.
    #[inline]
    pub fn settle(&mut self, step: &mut Option<Step>) -> Exit {
        let c = &mut self.control;
        c.event_injection = c.exit_interrupt_info.again();
        let exit = decode::exit(self);
        match exit {
            Exit::InterruptWindow => self.request_window(false),
            Exit::Host if self.control.exit_code == exit_code::CR8_WRITE => {
                self.step_over_write(step)
            }
            Exit::Exception { vector: 1, .. } => return self.stepped(step.take()),
            _ => {}
        }
        exit
    }

    /// The guest left before it wrote CR8: it does so now, alone in an interrupt shadow, and comes back by a single step.
    fn step_over_write(&mut self, step: &mut Option<Step>) {
        self.request_window(false);
        self.step_over(step, false);
    }

    /// The guest left before the IRET that ends an NMI handler, and another NMI waits: it comes back as soon as the IRET has
    /// run. Nothing else would make it leave, where it goes on without exits of its own.
    #[cold]
    pub fn step_over_iret(&mut self, step: &mut Option<Step>) {
        self.step_over(step, true);
    }

    fn step_over(&mut self, step: &mut Option<Step>, loads_flags: bool) {
        let (dr6, trap) = (self.save.dr6, self.save.rflags & RFLAGS_TF != 0);
        // One that is under way goes on as this one: an NMI came before its instruction had run. The flag is then ours.
        let step = step.get_or_insert(Step {
            dr6,
            trap,
            loads_flags,
        });
        step.loads_flags &= loads_flags;
        self.control.interrupt_shadow |= SHADOW;
        self.save.rflags |= RFLAGS_TF;
    }

    /// A debug exception: the end of our step, unless the guest stepped as well.
    fn stepped(&mut self, step: Option<Step>) -> Exit {
        match step {
            Some(Step {
                dr6,
                trap: false,
                loads_flags,
            }) => {
                if !loads_flags {
                    self.save.rflags &= !RFLAGS_TF;
                }
                self.save.dr6 = dr6;
                Exit::InterruptWindow
            }
            _ => Exit::Exception {
                vector: 1,
                error_code: None,
            },
        }
    }

    /// Before [`Vmcb::settle`]: has it give an NMI that waited for the end of another one's handler, as if its delivery had been
    /// interrupted; `false` where that cannot be yet. `iret` is where the IRET stands that ends the handler.
    #[cold]
    pub fn give_late_nmi(&mut self, iret: u64) -> bool {
        // It has run, unless it is the host that took the LP before.
        let c = &mut self.control;
        let before = decode::is_hosts(c.exit_code) && self.save.rip == iret;
        if before || c.exit_interrupt_info.again().valid() {
            return false;
        }
        c.exit_interrupt_info = EventInfo::deliver(Event::Nmi);
        self.request_iret(true);
        true
    }

    /// Whether the next entry delivers an NMI.
    #[must_use]
    pub fn gives_nmi(&self) -> bool {
        self.control.event_injection == EventInfo::deliver(Event::Nmi)
    }

    /// An instruction that was done for a guest that steps ends in #DB, like one that the processor does itself.
    #[inline]
    pub fn trap_behind(&mut self) {
        if self.save.rflags & RFLAGS_TF != 0 {
            self.trap();
        }
    }

    #[cold]
    fn trap(&mut self) {
        self.save.dr6 |= SINGLE_STEP;
        self.inject(Event::Exception {
            vector: 1,
            error_code: None,
        });
    }

    /// Delivers an event at the next entry.
    pub fn inject(&mut self, event: Event) {
        self.control.event_injection = EventInfo::deliver(event);
    }

    /// Asks for an exit at the guest's next IRET, which ends its NMI handler; or takes that back.
    pub fn request_iret(&mut self, wanted: bool) {
        let c = &mut self.control;
        if wanted {
            c.intercept_3 |= bit(exit_code::IRET);
        } else {
            c.intercept_3 &= !bit(exit_code::IRET);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::svm::Features;
    use crate::svm::vmcb::tests::block;

    #[test]
    fn cpu_10_an_instruction_done_for_a_guest_that_steps_ends_in_a_debug_exception() {
        let mut block = block(Features::default());
        block.trap_behind();
        assert!(!block.control.event_injection.valid());
        block.save.rflags |= RFLAGS_TF;
        block.trap_behind();
        let expected = EventInfo::deliver(Event::Exception {
            vector: 1,
            error_code: None,
        });
        assert_eq!(block.control.event_injection, expected);
        assert_eq!(block.save.dr6 & SINGLE_STEP, SINGLE_STEP);
    }

    #[test]
    fn a_window_is_a_waiting_virtual_interrupt() {
        let mut block = block(Features::default());
        let before = block.control.intercept_3;
        block.request_window(true);
        assert_eq!(
            block.control.virtual_interrupt.into_bits(),
            1 << 24 | 1 << 20 | 1 << 8
        );
        assert_eq!(block.control.intercept_3, before | 1 << 4);
        block.control.exit_code = 0x64;
        assert_eq!(block.settle(&mut None), Exit::InterruptWindow);
        assert!(!block.control.virtual_interrupt.pending());
        assert_eq!(
            (block.control.intercept_3, block.control.intercept_cr),
            (before, 0)
        );
    }

    #[test]
    fn a_late_nmi_is_given_once_the_handlers_iret_has_run() {
        let mut block = block(Features::default());
        let nmi = EventInfo::deliver(Event::Nmi);
        block.save.rip = 0x1000;
        block.control.exit_code = exit_code::INTR;
        assert!(!block.give_late_nmi(0x1000));
        block.control.exit_code = exit_code::CPUID;
        block.control.exit_interrupt_info = EventInfo::deliver(Event::Interrupt(0x31));
        assert!(!block.give_late_nmi(0x1000));
        block.control.exit_interrupt_info = EventInfo::new();
        assert!(block.give_late_nmi(0x1000));
        assert_eq!(block.settle(&mut None), Exit::Cpuid);
        assert_eq!(block.control.event_injection, nmi);
        // The host, somewhere else.
        block.control.exit_interrupt_info = EventInfo::new();
        (block.control.exit_code, block.save.rip) = (exit_code::INTR, 0x2000);
        assert!(block.give_late_nmi(0x1000));
        assert_eq!(block.settle(&mut None), Exit::Host);
        assert_eq!(block.control.event_injection, nmi);
    }

    #[test]
    fn cpu_21_behind_the_iret_of_a_handler_the_guest_comes_back_for_the_nmi_that_waits() {
        let (mut block, mut step) = (block(Features::default()), None);
        let (dr6, nmi) = (block.save.dr6, EventInfo::deliver(Event::Nmi));
        block.save.rip = 0x1000;
        block.control.exit_code = exit_code::IRET;
        assert_eq!(block.settle(&mut step), Exit::Host);
        block.step_over_iret(&mut step);
        assert_eq!(
            (block.save.rflags, block.control.interrupt_shadow),
            (0x102, 1)
        );
        // The IRET has loaded flags of a guest that steps from now on.
        (block.control.exit_code, block.control.interrupt_shadow) = (0x41, 0);
        (block.save.rip, block.save.rflags) = (0x2000, 0x302);
        block.save.dr6 |= 1 << 14;
        assert!(block.give_late_nmi(0x1000));
        assert_eq!(block.settle(&mut step), Exit::InterruptWindow);
        assert_eq!(
            (block.save.rflags, block.save.dr6, step),
            (0x302, dr6, None)
        );
        assert_eq!(block.control.event_injection, nmi);
    }

    #[test]
    fn behind_the_task_priority_the_write_of_cr8_is_waited_for() {
        let (mut block, mut step) = (block(Features::default()), None);
        let dr6 = block.save.dr6;
        block.set_task_priority(5);
        block.request_window_for(5, None);
        assert_eq!(
            (
                block.control.intercept_cr,
                block.control.virtual_interrupt.pending()
            ),
            (1 << 24, false)
        );
        block.control.exit_code = 0x18;
        assert_eq!(block.settle(&mut step), Exit::Host);
        assert_eq!(
            (block.control.intercept_cr, block.control.interrupt_shadow),
            (0, 1)
        );
        assert_eq!(block.save.rflags, 0x102);
        // The interrupt still waits, and so it does when the host takes the LP before the guest has written.
        for exit_code in [0x18, exit_code::INTR] {
            block.control.exit_code = exit_code;
            assert_eq!(block.settle(&mut step), Exit::Host);
            block.request_window_for(5, step.as_ref());
            assert_eq!(block.control.intercept_cr, 0);
        }
        // An NMI's handler in between writes CR8 as well.
        block.control.exit_code = 0x18;
        assert_eq!(block.settle(&mut step), Exit::Host);
        assert_eq!(block.save.rflags, 0x102);
        // The step.
        (block.control.exit_code, block.control.interrupt_shadow) = (0x41, 0);
        block.save.dr6 |= 1 << 14;
        block.set_task_priority(3);
        assert_eq!(block.settle(&mut step), Exit::InterruptWindow);
        assert_eq!((block.save.rflags, block.save.dr6, step), (2, dr6, None));
        block.request_window_for(5, step.as_ref());
        assert!(block.control.virtual_interrupt.pending());
    }

    #[test]
    fn cpu_09_a_guest_that_steps_itself_gets_its_debug_exception() {
        let (mut block, mut step) = (block(Features::default()), None);
        let debug = Exit::Exception {
            vector: 1,
            error_code: None,
        };
        block.control.exit_code = 0x41;
        assert_eq!(block.settle(&mut step), debug);
        block.save.rflags |= 1 << 8;
        block.control.exit_code = 0x18;
        block.settle(&mut step);
        block.control.exit_code = 0x41;
        assert_eq!(block.settle(&mut step), debug);
        assert_eq!((block.save.rflags, step), (0x102, None));
    }

    #[test]
    fn cpu_10_shadow_flag_and_waiting_event_hold_interrupts_back() {
        let mut block = block(Features::default());
        assert!(!block.can_take_interrupt());
        block.save.rflags |= 1 << 9;
        assert!(block.can_take_interrupt());
        block.control.interrupt_shadow = 1;
        assert!(!block.can_take_interrupt());
        block.control.interrupt_shadow = 0;
        block.inject(Event::Interrupt(0x40));
        assert!(!block.can_take_interrupt());
    }

    #[test]
    fn an_interrupted_delivery_is_given_again_and_a_finished_one_is_not() {
        let mut block = block(Features::default());
        block.inject(Event::Interrupt(0x40));
        block.control.exit_code = 0x400;
        block.control.exit_interrupt_info = EventInfo::deliver(Event::Interrupt(0x40));
        block.settle(&mut None);
        assert!(block.control.event_injection.valid());
        block.control.exit_interrupt_info = EventInfo::new();
        block.settle(&mut None);
        assert!(!block.control.event_injection.valid());
    }
}
