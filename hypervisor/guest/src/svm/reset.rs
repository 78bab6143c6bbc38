//! AMD64 Architecture Programmer's Manual volume 2, section 14.1.3: "processor initialization state".

use super::control::ControlArea;
use super::event::EventInfo;
use super::registers::EFER_SVME;
use super::segment::Segment;
use super::{Vmcb, exit_code, intercepts};
use crate::Reset;

const READ_WRITE: u16 = 0x93;
const CODE: u16 = 0x9b;
const LOCAL_TABLE: u16 = 0x82;
const BUSY_TASK: u16 = 0x8b;
/// CR0 after INIT without CD and NW, which on a guest's side would only turn the cache off.
const CR0_AFTER_INIT: u64 = 0x10;
const DR6_AFTER_INIT: u64 = 0xffff_0ff0;
const DR7_AFTER_INIT: u64 = 0x400;
/// IA32_PAT after power-up.
const PAT_AFTER_RESET: u64 = 0x0007_0406_0007_0406;

const fn segment(selector: u16, base: u64, attributes: u16) -> Segment {
    Segment {
        selector,
        attributes,
        limit: 0xffff,
        base,
    }
}

impl Vmcb {
    /// The state after INIT or a start-up IPI. Page attributes are set where they were never written, and stay otherwise.
    pub fn reset(&mut self, to: Reset) {
        self.forget_events();
        let s = &mut self.save;
        let data = segment(0, 0, READ_WRITE);
        [s.es, s.ss, s.ds, s.fs, s.gs] = [data; 5];
        (s.cs, s.rip) = match to {
            Reset::Init => (segment(0xf000, 0xffff_0000, CODE), 0xfff0),
            Reset::Startup(v) => (segment(u16::from(v) << 8, u64::from(v) << 12, CODE), 0),
        };
        [s.gdtr, s.idtr] = [segment(0, 0, 0); 2];
        s.ldtr = segment(0, 0, LOCAL_TABLE);
        s.tr = segment(0, 0, BUSY_TASK);
        s.cpl = 0;
        s.efer = EFER_SVME;
        (s.cr0, s.cr2, s.cr3, s.cr4) = (CR0_AFTER_INIT, 0, 0, 0);
        (s.dr6, s.dr7) = (DR6_AFTER_INIT, DR7_AFTER_INIT);
        (s.rflags, s.rsp, s.rax) = (2, 0, 0);
        if s.pat == 0 {
            s.pat = PAT_AFTER_RESET;
        }
    }

    fn forget_events(&mut self) {
        let c: &mut ControlArea = &mut self.control;
        c.event_injection = EventInfo::new();
        c.exit_interrupt_info = EventInfo::new();
        c.interrupt_shadow = 0;
        c.virtual_interrupt = c
            .virtual_interrupt
            .with_pending(false)
            .with_task_priority(0);
        c.intercept_cr = 0;
        c.intercept_3 &= !(intercepts::bit(exit_code::VINTR) | intercepts::bit(exit_code::IRET));
    }
}

#[cfg(test)]
mod tests {
    use crate::Event;
    use crate::svm::Features;
    use crate::svm::vmcb::tests::block;

    use super::*;

    #[test]
    fn after_init_the_first_instruction_stands_below_4_gib() {
        let block = block(Features::default());
        let s = &block.save;
        assert_eq!(s.cs.base + s.rip, 0xffff_fff0);
        assert_eq!((s.cr0, s.cr4, s.rflags, s.dr7), (0x10, 0, 2, 0x400));
        assert_eq!((s.efer, s.pat), (1 << 12, 0x0007_0406_0007_0406));
    }

    #[test]
    fn a_start_up_ipi_starts_at_its_page() {
        let mut block = block(Features::default());
        block.control.event_injection = EventInfo::deliver(Event::Nmi);
        block.reset(Reset::Startup(0x9a));
        assert_eq!(
            (block.save.cs.selector, block.save.cs.base, block.save.rip),
            (0x9a00, 0x9a000, 0)
        );
        assert!(!block.control.event_injection.valid());
    }
}
