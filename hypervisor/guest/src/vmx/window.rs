//! How the guest is left as soon as it can take an interrupt or an NMI.

use super::control::primary::{INTERRUPT_WINDOW, NMI_WINDOW};

/// Bits of the interruptibility state: blocking by STI and by MOV SS.
pub const SHADOW: u64 = 0b11;
/// Blocking by NMI.
pub const NMI_BLOCKED: u64 = 1 << 3;

const RFLAGS_IF: u64 = 1 << 9;

/// Whether the next entry can deliver an interrupt, where no event waits for it already.
#[must_use]
#[inline]
pub const fn takes_interrupt(rflags: u64, interruptibility: u64) -> bool {
    rflags & RFLAGS_IF != 0 && interruptibility & SHADOW == 0
}

/// Whether the next entry can deliver an NMI, where no event waits for it already.
#[must_use]
pub const fn takes_nmi(interruptibility: u64) -> bool {
    interruptibility & (SHADOW | NMI_BLOCKED) == 0
}

/// What the guest is left for, in the primary controls and the TPR threshold.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Window {
    /// Bits to set in the primary controls.
    pub controls: u32,
    /// The guest is left when its task priority falls below this class.
    pub threshold: u8,
    /// The processor serves interrupts: it is not left for any.
    pub served: bool,
}

impl Window {
    /// Asks for an exit as soon as IF is set and no shadow holds, whatever the task priority; or takes that back.
    #[inline]
    pub const fn request(&mut self, wanted: bool) {
        self.threshold = 0;
        if wanted {
            self.controls |= INTERRUPT_WINDOW;
        } else {
            self.controls &= !INTERRUPT_WINDOW;
        }
    }

    /// The same for an interrupt of this class, 0 to 15. Where the task priority stands in the way, its fall is waited for.
    pub const fn request_for(&mut self, class: u8, task_priority: u8) {
        self.request(class > task_priority);
        if class <= task_priority {
            self.threshold = class;
        }
    }

    /// Asks for an exit as soon as the guest can take an NMI, or takes that back.
    pub const fn request_nmi(&mut self, wanted: bool) {
        if wanted {
            self.controls |= NMI_WINDOW;
        } else {
            self.controls &= !NMI_WINDOW;
        }
    }

    /// The hypervisor changed the task priority: an entry wants a threshold that is not above it.
    pub fn follow_task_priority(&mut self, class: u8) {
        self.threshold = self.threshold.min(class);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_asked_for_and_closed() {
        let mut window = Window::default();
        window.request_nmi(true);
        window.request_for(5, 0);
        assert_eq!((window.controls, window.threshold), (1 << 22 | 1 << 2, 0));
        window.request(false);
        assert_eq!(window.controls, 1 << 22);
        window.request_nmi(false);
        assert_eq!(window, Window::default());
    }

    #[test]
    fn behind_the_task_priority_its_fall_is_waited_for() {
        let mut window = Window::default();
        window.request_for(5, 5);
        assert_eq!((window.controls, window.threshold), (0, 5));
        window.follow_task_priority(3);
        assert_eq!(window.threshold, 3);
        window.request(true);
        assert_eq!(window.threshold, 0);
    }

    #[test]
    fn cpu_10_shadow_and_flag_hold_interrupts_back() {
        assert!(takes_interrupt(1 << 9, 0) && !takes_interrupt(0, 0));
        assert!(!takes_interrupt(1 << 9, 1) && !takes_interrupt(1 << 9, 2));
        assert!(takes_interrupt(1 << 9, NMI_BLOCKED));
        assert!(takes_nmi(0) && !takes_nmi(1) && !takes_nmi(2) && !takes_nmi(8));
    }
}
