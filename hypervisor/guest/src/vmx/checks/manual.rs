//! The manual's sentences once more, one after the other and in its order (SDM volume 3, 27.3.1.1 to 27.3.1.6), for the tests:
//! written from the text, not from the checks. Unrestricted guest, no event, active.

use super::super::save::SaveArea;
use super::super::segment::Segment;
use super::Limits;

/// A bit of a value.
const fn bit(value: u64, number: u32) -> bool {
    value >> number & 1 == 1
}

/// Bits `high..=low` are all zero.
const fn zero(value: u64, high: u32, low: u32) -> bool {
    value << (63 - high) >> (63 - high + low) == 0
}

/// Bits 63:48 are copies of bit 47.
const fn canonical(address: u64) -> bool {
    zero(address, 63, 47) || zero(!address, 63, 47)
}

/// Whether any sentence is violated.
pub fn refuses(a: &SaveArea, limits: &Limits) -> bool {
    control_registers(a, limits)
        || segments(a)
        || tables(a)
        || rip_and_rflags(a)
        || other_state(a)
        || pdptes(a, limits)
}

fn long(a: &SaveArea) -> bool {
    // The entry control "IA-32e mode guest" is loaded from LMA.
    bit(a.efer, 10)
}

fn control_registers(a: &SaveArea, limits: &Limits) -> bool {
    let fixed_0 = bit(a.cr0, 5);
    let pg_without_pe = bit(a.cr0, 31) && !bit(a.cr0, 0);
    // IA32_VMX_CR0_FIXED1 leaves the lower half free on every processor.
    let unknown_0 = !zero(a.cr0, 63, 32);
    let cr4 = a.cr4 & !limits.cr4_allowed != 0 || !bit(a.cr4, 13);
    let ia32e = long(a) && !(bit(a.cr0, 31) && bit(a.cr4, 5));
    let pcid = !long(a) && bit(a.cr4, 17);
    let cr3 = limits.physical_bits < 64 && a.cr3 >> limits.physical_bits != 0;
    let dr7 = !zero(a.dr7, 63, 32);
    let sysenter = !canonical(a.sysenter_esp) || !canonical(a.sysenter_eip);
    let pat = (0..8).any(|i| !matches!(a.pat >> (8 * i) & 0xff, 0 | 1 | 4 | 5 | 6 | 7));
    let efer_reserved = a.efer & !(1 | 1 << 8 | 1 << 10 | 1 << 11) != 0;
    let efer_lme = bit(a.cr0, 31) && bit(a.efer, 8) != bit(a.efer, 10);
    // With paging off LMA cannot be set: the entry control would ask for CR0.PG.
    !fixed_0
        || pg_without_pe
        || unknown_0
        || cr4
        || ia32e
        || pcid
        || cr3
        || dr7
        || sysenter
        || pat
        || efer_reserved
        || efer_lme
}

fn segments(a: &SaveArea) -> bool {
    let [es, cs, ss, ds, fs, gs, ldtr, tr] = a.segments;
    let virtual_8086 = bit(a.rflags, 17);
    let rights = |s: Segment| u64::from(s.access_rights);
    let usable = |s: Segment| !bit(rights(s), 16);
    let kind = |s: Segment| rights(s) & 15;
    let dpl = |s: Segment| rights(s) >> 5 & 3;
    let mut bad = bit(tr.selector.into(), 2);
    bad |= usable(ldtr) && bit(ldtr.selector.into(), 2);
    bad |= !canonical(tr.base) || !canonical(fs.base) || !canonical(gs.base);
    bad |= usable(ldtr) && !canonical(ldtr.base);
    if virtual_8086 {
        for s in [cs, ss, ds, es, fs, gs] {
            bad |= s.base != u64::from(s.selector) * 16 || s.limit != 0xffff || rights(s) != 0xf3;
        }
    } else {
        bad |= !zero(cs.base, 63, 32);
        bad |= [ss, ds, es]
            .into_iter()
            .any(|s| usable(s) && !zero(s.base, 63, 32));
        bad |= match kind(cs) {
            3 => dpl(cs) != 0,
            9 | 11 => dpl(cs) != dpl(ss),
            13 | 15 => dpl(cs) > dpl(ss),
            _ => true,
        };
        bad |= usable(ss) && !matches!(kind(ss), 3 | 7);
        for s in [ds, es, fs, gs].into_iter().filter(|&s| usable(s)) {
            bad |= !bit(kind(s), 0) || bit(kind(s), 3) && !bit(kind(s), 1);
        }
        bad |= (kind(cs) == 3 || !bit(a.cr0, 0)) && dpl(ss) != 0;
        for s in [cs, ss, ds, es, fs, gs] {
            if usable(s) || s == cs {
                bad |= !bit(rights(s), 4) || common(s);
            }
        }
        bad |= long(a) && bit(rights(cs), 13) && bit(rights(cs), 14);
        bad |= !usable(cs);
    }
    bad |= !(kind(tr) == 11 || kind(tr) == 3 && !long(a));
    bad |= bit(rights(tr), 4) || common(tr) || !usable(tr);
    bad |= usable(ldtr) && (kind(ldtr) != 2 || bit(rights(ldtr), 4) || common(ldtr));
    bad
}

/// P; reserved bits 11:8 and 31:17; G and the limit.
fn common(s: Segment) -> bool {
    let rights = u64::from(s.access_rights);
    let limit = u64::from(s.limit);
    let g = bit(rights, 15);
    !bit(rights, 7)
        || !zero(rights, 11, 8)
        || !zero(rights, 31, 17)
        || !zero(!limit & 0xfff, 11, 0) && g
        || !zero(limit, 31, 20) && !g
}

fn tables(a: &SaveArea) -> bool {
    [a.gdtr, a.idtr]
        .into_iter()
        .any(|table| !canonical(table.base) || !zero(table.limit.into(), 31, 16))
}

fn rip_and_rflags(a: &SaveArea) -> bool {
    let code_64 = long(a) && bit(a.segments[1].access_rights.into(), 13);
    let rip = if code_64 {
        !canonical(a.rip)
    } else {
        !zero(a.rip, 63, 32)
    };
    let reserved = !zero(a.rflags, 63, 22)
        || bit(a.rflags, 15)
        || bit(a.rflags, 5)
        || bit(a.rflags, 3)
        || !bit(a.rflags, 1);
    let vm = bit(a.rflags, 17) && (long(a) || !bit(a.cr0, 0));
    rip || reserved || vm
}

fn other_state(a: &SaveArea) -> bool {
    let state = a.interruptibility;
    let (sti, mov_ss) = (bit(state, 0), bit(state, 1));
    let pending = a.pending_debug;
    let step = bit(pending, 14);
    let tf = bit(a.rflags, 8);
    // No SMM, no enclave; pending debug exceptions: 11:4, 13, 15 and 63:17 are reserved.
    !zero(state, 63, 5)
        || bit(state, 2)
        || bit(state, 4)
        || sti && mov_ss
        || sti && !bit(a.rflags, 9)
        || !zero(pending, 11, 4)
        || bit(pending, 13)
        || bit(pending, 15)
        || !zero(pending, 63, 17)
        || (sti || mov_ss) && step != tf
}

fn pdptes(a: &SaveArea, limits: &Limits) -> bool {
    let used = bit(a.cr0, 31) && bit(a.cr4, 5) && !long(a);
    [a.pdpte_0, a.pdpte_1, a.pdpte_2, a.pdpte_3]
        .into_iter()
        .any(|entry| {
            let reserved = !zero(entry, 2, 1) || !zero(entry, 8, 5);
            used && bit(entry, 0) && (reserved || entry >> limits.physical_bits != 0)
        })
}
