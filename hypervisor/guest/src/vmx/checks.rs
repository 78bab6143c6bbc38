//! Intel SDM volume 3, section "checking and loading guest state": which of an entry's checks a register set violates.
//! Unrestricted guest is on, the activity state active, no event injected.

use bitflags::bitflags;

use super::control_register::{CR0_KNOWN, CR0_PE, CR0_PG, CR4_PAE, CR4_PCIDE, real_cr0, real_cr4};
use super::msrs::EFER_KNOWN;
use super::save::{SaveArea, segment};
use super::segment::{DEFAULT_BIG, GRANULAR, LONG, PRESENT, Segment, Table, UNUSABLE};
use crate::msr::{is_canonical, is_valid_pat};

/// What the processor allows.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bits that may be set in CR4.
    pub cr4_allowed: u64,
    /// Width of physical addresses in bits, 32 to 52.
    pub physical_bits: u8,
}

bitflags! {
    /// Checks that a register set violates.
    #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
    pub struct Violations: u32 {
        /// CR0.
        const CR0 = 1 << 0;
        /// CR3.
        const CR3 = 1 << 1;
        /// CR4.
        const CR4 = 1 << 2;
        /// DR7.
        const DR7 = 1 << 3;
        /// EFER, also against CR0.
        const EFER = 1 << 4;
        /// IA32_PAT.
        const PAT = 1 << 5;
        /// SYSENTER_ESP or SYSENTER_EIP.
        const SYSENTER = 1 << 6;
        /// CS.
        const CS = 1 << 7;
        /// SS.
        const SS = 1 << 8;
        /// DS, ES, FS or GS.
        const DATA = 1 << 9;
        /// TR.
        const TR = 1 << 10;
        /// LDTR.
        const LDTR = 1 << 11;
        /// GDTR or IDTR.
        const TABLES = 1 << 12;
        /// RIP.
        const RIP = 1 << 13;
        /// RFLAGS.
        const RFLAGS = 1 << 14;
        /// Interruptibility state, or pending debug exceptions.
        const INTERRUPTIBILITY = 1 << 15;
        /// Page-directory-pointer-table entries.
        const PDPTE = 1 << 16;
    }
}

const RFLAGS_TF: u64 = 1 << 8;
const RFLAGS_IF: u64 = 1 << 9;
const RFLAGS_VM: u64 = 1 << 17;
const RFLAGS_RESERVED: u64 = !0x003f_7fd7;
const EFER_LME: u64 = 1 << 8;
const RESERVED_RIGHTS: u32 = !(0xf0ff | UNUSABLE);
const RESERVED_SELECTOR_TI: u16 = 1 << 2;
const DEBUG_SINGLE_STEP: u64 = 1 << 14;

impl SaveArea {
    /// The checks that these registers violate; none where an entry would succeed.
    #[must_use]
    pub fn violations(&self, limits: &Limits) -> Violations {
        let mut found = Violations::empty();
        let mut check = |violation, holds: bool| {
            if !holds {
                found |= violation;
            }
        };
        check(Violations::CR0, self.cr0_holds());
        check(Violations::CR3, self.cr3 >> limits.physical_bits == 0);
        check(Violations::CR4, self.cr4_holds(limits));
        check(Violations::DR7, self.dr7 >> 32 == 0);
        check(Violations::EFER, self.efer_holds());
        check(Violations::PAT, is_valid_pat(self.pat));
        let sysenter = is_canonical(self.sysenter_esp) && is_canonical(self.sysenter_eip);
        check(Violations::SYSENTER, sysenter);
        check(Violations::TABLES, holds(self.gdtr) && holds(self.idtr));
        check(Violations::RIP, self.rip_holds());
        check(Violations::RFLAGS, self.rflags_hold());
        check(Violations::INTERRUPTIBILITY, self.interruptibility_holds());
        check(Violations::PDPTE, self.pdptes_hold(limits));
        found | self.segment_violations()
    }

    const fn is_virtual_8086(&self) -> bool {
        self.rflags & RFLAGS_VM != 0
    }

    const fn cr0_holds(&self) -> bool {
        self.cr0 == real_cr0(self.cr0)
            && self.cr0 & !CR0_KNOWN == 0
            && (self.cr0 & CR0_PG == 0 || self.cr0 & CR0_PE != 0)
    }

    const fn cr4_holds(&self, limits: &Limits) -> bool {
        let mode = if self.in_long_mode() {
            self.cr4 & CR4_PAE != 0
        } else {
            self.cr4 & CR4_PCIDE == 0
        };
        mode && self.cr4 == real_cr4(self.cr4) && self.cr4 & !limits.cr4_allowed == 0
    }

    const fn efer_holds(&self) -> bool {
        let paging = self.cr0 & CR0_PG != 0;
        let long = self.efer & EFER_LME != 0;
        self.efer & !EFER_KNOWN == 0 && self.in_long_mode() == (paging && long)
    }

    const fn rip_holds(&self) -> bool {
        if self.in_long_mode() && self.segments[segment::CS].access_rights & LONG != 0 {
            is_canonical(self.rip)
        } else {
            self.rip >> 32 == 0
        }
    }

    const fn rflags_hold(&self) -> bool {
        let protected = self.cr0 & CR0_PE != 0 && !self.in_long_mode();
        self.rflags & RFLAGS_RESERVED == 0
            && self.rflags & 2 != 0
            && (protected || !self.is_virtual_8086())
    }

    const fn interruptibility_holds(&self) -> bool {
        let state = self.interruptibility;
        let step = self.pending_debug & DEBUG_SINGLE_STEP != 0;
        state & !0b1011 == 0
            && state & 3 != 3
            && (state & 1 == 0 || self.rflags & RFLAGS_IF != 0)
            && self.pending_debug & !0x1_500f == 0
            && (state & 3 == 0 || step == (self.rflags & RFLAGS_TF != 0))
    }

    fn pdptes_hold(&self, limits: &Limits) -> bool {
        const LOW_RESERVED: u64 = 0x1e6;
        let paging = self.cr0 & CR0_PG != 0 && self.cr4 & CR4_PAE != 0;
        let used = paging && !self.in_long_mode();
        let mut entries = [self.pdpte_0, self.pdpte_1, self.pdpte_2, self.pdpte_3].into_iter();
        !used
            || entries
                .all(|it| it & 1 == 0 || it & LOW_RESERVED == 0 && it >> limits.physical_bits == 0)
    }

    fn segment_violations(&self) -> Violations {
        let [es, cs, ss, ds, fs, gs, ldtr, tr] = self.segments;
        let mut found = Violations::empty();
        found.set(Violations::LDTR, !local_table_holds(ldtr));
        found.set(Violations::TR, !task_holds(tr, self.in_long_mode()));
        if self.is_virtual_8086() {
            found.set(Violations::CS, !is_8086(cs));
            found.set(Violations::SS, !is_8086(ss));
            found.set(Violations::DATA, ![es, ds, fs, gs].into_iter().all(is_8086));
            return found;
        }
        found.set(Violations::CS, !self.code_holds(cs, ss));
        found.set(Violations::SS, !self.stack_holds(cs, ss));
        let low = [es, ds]
            .into_iter()
            .all(|it| it.base >> 32 == 0 || !it.usable());
        let thread = is_canonical(fs.base) && is_canonical(gs.base);
        let data = [es, ds, fs, gs].into_iter().all(data_holds);
        found.set(Violations::DATA, !(low && thread && data));
        found
    }

    const fn code_holds(&self, cs: Segment, ss: Segment) -> bool {
        let level = match cs.kind() {
            3 => cs.dpl() == 0,
            9 | 11 => cs.dpl() == ss.dpl(),
            13 | 15 => cs.dpl() <= ss.dpl(),
            _ => false,
        };
        let long = self.in_long_mode() && cs.access_rights & LONG != 0;
        level
            && cs.usable()
            && loaded(cs, true)
            && cs.base >> 32 == 0
            && !(long && cs.access_rights & DEFAULT_BIG != 0)
    }

    const fn stack_holds(&self, cs: Segment, ss: Segment) -> bool {
        let level = ss.dpl() == 0 || self.cr0 & CR0_PE != 0 && cs.kind() != 3;
        let kind = matches!(ss.kind(), 3 | 7) && loaded(ss, true) && ss.base >> 32 == 0;
        level && (kind || !ss.usable())
    }
}

const fn holds(table: Table) -> bool {
    is_canonical(table.base) && table.limit >> 16 == 0
}

/// A segment that is loaded: present, of this kind (code or data, else system), nothing reserved, its limit and its
/// granularity in step.
const fn loaded(it: Segment, code_or_data: bool) -> bool {
    let granular = it.access_rights & GRANULAR != 0;
    let limit = (it.limit & 0xfff == 0xfff || !granular) && (it.limit >> 20 == 0 || granular);
    let kind = it.access_rights >> 4 & 1 != 0;
    it.access_rights & PRESENT != 0
        && kind == code_or_data
        && it.access_rights & RESERVED_RIGHTS == 0
        && limit
}

const fn data_holds(it: Segment) -> bool {
    const ACCESSED: u8 = 1;
    const READABLE: u8 = 2;
    const CODE: u8 = 8;
    let kind = it.kind();
    !it.usable()
        || kind & ACCESSED != 0 && (kind & CODE == 0 || kind & READABLE != 0) && loaded(it, true)
}

const fn local_table_holds(it: Segment) -> bool {
    !it.usable()
        || it.kind() == 2
            && loaded(it, false)
            && it.selector & RESERVED_SELECTOR_TI == 0
            && is_canonical(it.base)
}

const fn task_holds(it: Segment, long: bool) -> bool {
    let kind = it.kind() == 11 || it.kind() == 3 && !long;
    kind && it.usable()
        && loaded(it, false)
        && it.selector & RESERVED_SELECTOR_TI == 0
        && is_canonical(it.base)
}

const fn is_8086(it: Segment) -> bool {
    it.access_rights == 0xf3 && it.limit == 0xffff && it.base == (it.selector as u64) << 4
}

#[cfg(test)]
mod manual;

#[cfg(test)]
mod tests {
    use abi::register as name;
    use proptest::prelude::*;

    use super::*;
    use crate::Reset;

    const LIMITS: Limits = Limits {
        cr4_allowed: 0x0037_67ff,
        physical_bits: 40,
    };

    fn real_mode() -> SaveArea {
        let mut area = SaveArea::default();
        area.reset(Reset::Init);
        area
    }

    fn long_mode() -> SaveArea {
        let mut area = real_mode();
        let code = 0xa09b_0008_ffff_ffff_0000_0000_0000_0000;
        let data = 0xc093_0010_ffff_ffff_0000_0000_0000_0000;
        let steps = [
            (name::EFER, 0xd00),
            (name::CR0, 0x8000_0011),
            (name::CR4, 0x20),
            (name::CR3, 0x1000),
            (name::CS, code),
            (name::SS, data),
            (name::DS, data),
            (name::RIP, 0xffff_8000_0010_0000),
        ];
        for (register, value) in steps {
            assert_eq!(area.set_register(register, value), Ok(()));
        }
        area
    }

    #[test]
    fn reset_states_and_64_bit_states_enter() {
        assert_eq!(real_mode().violations(&LIMITS), Violations::empty());
        assert_eq!(long_mode().violations(&LIMITS), Violations::empty());
        let mut started = real_mode();
        started.reset(Reset::Startup(8));
        assert_eq!(started.violations(&LIMITS), Violations::empty());
    }

    /// Each change of a good state, and the check that it violates.
    #[test]
    fn cpu_16_each_check_is_found() {
        type Change = fn(&mut SaveArea);
        let changes: [(Violations, Change); 24] = [
            (Violations::CR0, |a| a.cr0 &= !0x20),
            (Violations::CR0, |a| a.cr0 |= 1 << 30),
            (Violations::CR3, |a| a.cr3 = 1 << 40),
            (Violations::CR4, |a| a.cr4 &= !0x20),
            (Violations::CR4, |a| a.cr4 &= !0x2000),
            (Violations::CR4, |a| a.cr4 |= 1 << 23),
            (Violations::DR7, |a| a.dr7 = 1 << 32),
            (Violations::EFER, |a| a.efer |= 1 << 12),
            (Violations::PAT, |a| a.pat = 2),
            (Violations::SYSENTER, |a| a.sysenter_eip = 1 << 47),
            (Violations::CS, |a| a.segments[1].access_rights |= 0x4000),
            (Violations::CS, |a| a.segments[1].access_rights = 0xa091),
            (Violations::CS, |a| a.segments[1].base = 1 << 32),
            (Violations::SS, |a| a.segments[2].access_rights = 0xc091),
            (Violations::SS, |a| a.segments[2].limit = 0xf_0000),
            (Violations::DATA, |a| a.segments[3].access_rights &= !0x80),
            (Violations::DATA, |a| a.segments[4].base = 1 << 47),
            (Violations::TR, |a| a.segments[7].access_rights = 0x83),
            (Violations::TR, |a| a.segments[7].access_rights = UNUSABLE),
            (Violations::LDTR, |a| a.segments[6].selector = 4),
            (Violations::TABLES, |a| a.idtr.limit = 0x1_0000),
            (Violations::RIP, |a| a.rip = 1 << 47),
            (Violations::RFLAGS, |a| a.rflags |= RFLAGS_VM),
            (Violations::INTERRUPTIBILITY, |a| a.interruptibility = 1),
        ];
        for (number, (violation, change)) in changes.into_iter().enumerate() {
            let mut area = long_mode();
            change(&mut area);
            let found = area.violations(&LIMITS);
            assert!(found.contains(violation), "change {number}: {found:?}");
        }
    }

    #[test]
    fn without_long_mode_the_instruction_pointer_has_32_bits() {
        let mut area = real_mode();
        area.rip = 1 << 32;
        assert_eq!(area.violations(&LIMITS), Violations::RIP);
    }

    #[test]
    fn tables_of_32_bit_paging_with_pae_are_checked() {
        let mut area = real_mode();
        area.set_cr0(0x8000_0011);
        area.cr4 |= CR4_PAE;
        assert_eq!(area.violations(&LIMITS), Violations::empty());
        area.pdpte_2 = 3;
        assert_eq!(area.violations(&LIMITS), Violations::PDPTE);
    }

    proptest! {
        /// Whatever is set through the interface, what the checks let pass obeys the manual's sentences.
        #[test]
        fn cpu_16_what_passes_keeps_the_rules(
            writes in proptest::collection::vec((
                prop_oneof![0x20010u32..0x20012, 0x40000u32..0x40004, 0x50004u32..0x50006, 0x60000u32..0x60008,
                    0x70000u32..0x70002, 0x80001u32..0x8000c], any::<u128>(), 0u32..128), 0..6),
            long in any::<bool>(),
        ) {
            let mut area = if long { long_mode() } else { real_mode() };
            for (register, value, shift) in writes {
                let _ = area.set_register(register, value >> shift);
            }
            let found = area.violations(&LIMITS);
            if found.is_empty() {
                let paging = area.cr0 & CR0_PG != 0;
                prop_assert!(!paging || area.cr0 & CR0_PE != 0);
                prop_assert!(!area.in_long_mode() || paging && area.cr4 & CR4_PAE != 0);
                prop_assert!(area.cr4 & !LIMITS.cr4_allowed == 0);
                prop_assert!(area.segments[segment::TR].usable() && area.segments[segment::CS].usable());
                prop_assert!(area.segments[segment::CS].access_rights & PRESENT != 0);
                for it in area.segments.into_iter().filter(|it| it.usable()) {
                    prop_assert!(it.limit >> 20 == 0 || it.access_rights & GRANULAR != 0);
                }
                prop_assert!(area.rflags & 2 != 0 && area.rflags >> 22 == 0);
                prop_assert!(is_canonical(area.rip));
            }
        }
    }

    /// A value that something looks at: few bits, all but few, or any.
    fn telling() -> impl Strategy<Value = u64> {
        prop_oneof![
            (0..64u32).prop_map(|bit| 1 << bit),
            (0..64u32).prop_map(|bit| !(1 << bit)),
            (0..64u32, any::<u64>()).prop_map(|(shift, value)| value >> shift),
            Just(0),
        ]
    }

    /// Flips bits, or writes all, of one register that the number names.
    fn disturb(area: &mut SaveArea, which: usize, value: u64, flip: bool) {
        let change = |old: u64| if flip { old ^ value } else { value };
        let index = which % 8;
        let segment = &mut area.segments[index];
        match which / 8 {
            0 => segment.selector = change(segment.selector.into()) as u16,
            1 => segment.limit = change(segment.limit.into()) as u32,
            2 | 3 => segment.access_rights = change(segment.access_rights.into()) as u32,
            4 => segment.base = change(segment.base),
            _ => {
                let table = if which.is_multiple_of(2) {
                    &mut area.gdtr
                } else {
                    &mut area.idtr
                };
                let words = [
                    &mut area.cr0,
                    &mut area.cr3,
                    &mut area.cr4,
                    &mut area.efer,
                    &mut area.dr7,
                    &mut area.rip,
                    &mut area.rflags,
                    &mut area.interruptibility,
                    &mut area.pending_debug,
                    &mut area.pat,
                    &mut area.sysenter_esp,
                    &mut area.sysenter_eip,
                    &mut area.pdpte_0,
                    &mut area.pdpte_3,
                    &mut table.base,
                ];
                let count = words.len();
                match words.into_iter().nth(which % (count + 1)) {
                    Some(word) => *word = change(*word),
                    None => table.limit = change(table.limit.into()) as u32,
                }
            }
        }
    }

    fn states() -> [SaveArea; 4] {
        let mut virtual_8086 = real_mode();
        virtual_8086.set_cr0(0x11);
        virtual_8086.rflags |= RFLAGS_VM;
        for it in &mut virtual_8086.segments[..6] {
            it.access_rights = 0xf3;
            it.base = u64::from(it.selector) << 4;
        }
        let mut paging = real_mode();
        paging.set_cr0(0x8000_0011);
        paging.cr4 |= CR4_PAE;
        [real_mode(), long_mode(), virtual_8086, paging]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        /// The checks find fault exactly where the manual's sentences do, and with bits of CR0 that are the hypervisor's to keep
        /// clear (the cache's) or that nobody knows, and with one of CR4 that is its to keep set.
        #[test]
        fn cpu_16_the_checks_and_the_manual_agree(
            base in 0..4usize,
            steps in proptest::collection::vec((0..160usize, telling(), any::<bool>()), 0..5),
        ) {
            let mut area = states()[base];
            for (which, value, flip) in steps {
                disturb(&mut area, which, value, flip);
            }
            let kept = area.cr0 & !0x8005_003f != 0 || area.cr4 & 0x40 == 0;
            let refused = manual::refuses(&area, &LIMITS) || kept;
            prop_assert_eq!(
                area.violations(&LIMITS).is_empty(),
                !refused,
                "{:?} {:x?}", area.violations(&LIMITS), area
            );
        }
    }

    #[test]
    fn the_states_to_begin_with_enter() {
        for (number, area) in states().into_iter().enumerate() {
            assert_eq!(area.violations(&LIMITS), Violations::empty(), "{number}");
            assert!(!manual::refuses(&area, &LIMITS), "{number}");
        }
    }
}
