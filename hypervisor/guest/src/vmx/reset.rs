//! Intel SDM volume 3, section "processor state after reset": what a guest begins with.

use super::control_register::real_cr4;
use super::save::{SaveArea, segment};
use super::segment::{Segment, Table};
use crate::Reset;

const READ_WRITE: u32 = 0x93;
const CODE: u32 = 0x9b;
const LOCAL_TABLE: u32 = 0x82;
const BUSY_TASK: u32 = 0x8b;
/// CR0 after INIT without CD and NW, which on a guest's side would only turn the cache off.
const CR0_AFTER_INIT: u64 = 0x10;
const DR6_AFTER_INIT: u64 = 0xffff_0ff0;
const DR7_AFTER_INIT: u64 = 0x400;
/// IA32_PAT after power-up.
const PAT_AFTER_RESET: u64 = 0x0007_0406_0007_0406;

const fn segment(selector: u16, base: u64, access_rights: u32) -> Segment {
    Segment {
        selector,
        access_rights,
        limit: 0xffff,
        base,
    }
}

impl SaveArea {
    /// The state after INIT or a start-up IPI. Page attributes are set where they were never written, and stay otherwise;
    /// so do the system-call MSRs.
    pub const fn reset(&mut self, to: Reset) {
        self.segments = [segment(0, 0, READ_WRITE); 8];
        self.segments[segment::LDTR] = segment(0, 0, LOCAL_TABLE);
        self.segments[segment::TR] = segment(0, 0, BUSY_TASK);
        (self.segments[segment::CS], self.rip) = match to {
            Reset::Init => (segment(0xf000, 0xffff_0000, CODE), 0xfff0),
            Reset::Startup(v) => (segment((v as u16) << 8, (v as u64) << 12, CODE), 0),
        };
        let table = Table {
            base: 0,
            limit: 0xffff,
        };
        (self.gdtr, self.idtr) = (table, table);
        self.efer = 0;
        self.set_cr0(CR0_AFTER_INIT);
        (self.cr2, self.cr3) = (0, 0);
        (self.cr4, self.cr4_shadow) = (real_cr4(0), 0);
        (self.dr6, self.dr7) = (DR6_AFTER_INIT, DR7_AFTER_INIT);
        (self.rflags, self.rsp) = (2, 0);
        (self.interruptibility, self.pending_debug) = (0, 0);
        (self.pdpte_0, self.pdpte_1, self.pdpte_2, self.pdpte_3) = (0, 0, 0, 0);
        if self.pat == 0 {
            self.pat = PAT_AFTER_RESET;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_init_the_first_instruction_stands_below_4_gib() {
        let mut area = SaveArea::default();
        area.reset(Reset::Init);
        assert_eq!(area.segments[segment::CS].base + area.rip, 0xffff_fff0);
        assert_eq!((area.cr0, area.cr0_shadow), (0x30, 0x10));
        assert_eq!((area.cr4, area.cr4_shadow), (0x2040, 0));
        assert_eq!((area.rflags, area.dr7), (2, 0x400));
        assert_eq!((area.efer, area.pat), (0, 0x0007_0406_0007_0406));
    }

    #[test]
    fn a_start_up_ipi_starts_at_its_page() {
        let mut area = SaveArea::default();
        area.reset(Reset::Startup(0x9a));
        let code = area.segments[segment::CS];
        assert_eq!((code.selector, code.base, area.rip), (0x9a00, 0x9a000, 0));
    }
}
