//! How the guest is left as soon as it can take an interrupt, and which event it is given.

use super::control::SHADOW;
use super::event::EventInfo;
use super::intercepts::bit;
use super::{Vmcb, exit_code};
use crate::Event;

/// Writes of CR8, in the control area's first word.
const CR8_WRITES: u32 = 1 << (16 + 8);
const RFLAGS_IF: u64 = 1 << 9;

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
    #[inline]
    pub fn request_window(&mut self, wanted: bool) {
        let c = &mut self.control;
        if wanted {
            let v = c.virtual_interrupt;
            c.virtual_interrupt = v.with_pending(true).with_ignore_task_priority(true);
            c.intercept_3 |= bit(exit_code::VINTR);
        } else if c.intercept_3 & bit(exit_code::VINTR) != 0 || c.intercept_cr != 0 {
            c.virtual_interrupt = c.virtual_interrupt.with_pending(false);
            c.intercept_3 &= !bit(exit_code::VINTR);
            c.intercept_cr = 0;
        }
    }

    /// The same for an interrupt of this class. Where the task priority stands in the way, the write of CR8 that ends that
    /// is waited for: the processor's own comparison of the two differs between implementations when they are equal.
    pub fn request_window_for(&mut self, class: u8) {
        if class > self.control.virtual_interrupt.task_priority() {
            self.request_window(true);
        } else {
            self.control.intercept_cr = CR8_WRITES;
        }
    }

    /// After an exit: an event whose delivery was interrupted is given again, and a window that has come is closed.
    #[inline]
    pub fn settle(&mut self) {
        let c = &mut self.control;
        c.event_injection = c.exit_interrupt_info.again();
        match c.exit_code {
            exit_code::VINTR => self.request_window(false),
            exit_code::CR8_WRITE => self.window_after_write(),
            _ => {}
        }
    }

    /// The guest left before it wrote CR8. It does so now, alone in an interrupt shadow; then the window opens.
    fn window_after_write(&mut self) {
        self.control.intercept_cr = 0;
        self.control.interrupt_shadow |= SHADOW;
        self.request_window(true);
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
        block.settle();
        assert!(!block.control.virtual_interrupt.pending());
        assert_eq!(block.control.intercept_3, before);
    }

    #[test]
    fn behind_the_task_priority_the_write_of_cr8_is_waited_for() {
        let mut block = block(Features::default());
        block.set_task_priority(5);
        block.request_window_for(5);
        assert_eq!(
            (
                block.control.intercept_cr,
                block.control.virtual_interrupt.pending()
            ),
            (1 << 24, false)
        );
        block.control.exit_code = 0x18;
        block.settle();
        assert_eq!(
            (block.control.intercept_cr, block.control.interrupt_shadow),
            (0, 1)
        );
        assert!(block.control.virtual_interrupt.pending());
        block.request_window(false);
        block.request_window_for(6);
        assert!(block.control.virtual_interrupt.pending());
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
        block.settle();
        assert!(block.control.event_injection.valid());
        block.control.exit_interrupt_info = EventInfo::new();
        block.settle();
        assert!(!block.control.event_injection.valid());
    }
}
