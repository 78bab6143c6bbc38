//! TLB-10 to TLB-12: processors whose TLBs keep every translation, by its tag, until somebody flushes it.

use abi::memory::map_flags;
use abi::{Call, Status};
use flow::lab::*;

const WINDOW: u64 = 0x40;

fn touch(page: u64) -> Act {
    Act::Touch {
        gpa: page << 12,
        write: true,
    }
}

/// The root unmaps a page, on LP 0, while the child is in its guest on LP 1 and has the page in its TLB.
#[test]
fn tlb_10_an_lp_inside_the_guest_is_made_to_forget() {
    let lab = Lab::new();
    let (id, child) = lab.guest(0x2100, 32, 1);
    lab.map(id, WINDOW, &[0x2200], RAM).good();
    let header = abi::memory::Unmap {
        partition: id,
        gpfn: WINDOW,
        ..Default::default()
    };
    let root = lab.root_on(0);
    bytes(&lab, root, &header);
    let control = abi::CallInput::rep(Call::UnmapGpaPages as u16, 1, 0).0;
    lab.registers(root, control, root.gpa.0, root.gpa.1);
    lab.script(root.slot, &[Act::Hypercall]);
    // The second touch comes from the TLB; the last one after the call has ended.
    lab.script(
        child.slot,
        &[touch(WINDOW), touch(WINDOW), Act::Turn(0), touch(WINDOW)],
    );
    lab.turn(1);
    lab.turn(1);
    let reached = Some(0x2200 << 12);
    assert_eq!(lab.touched(), [reached, reached, None]);
    assert!(lab.with_vp(child.slot, |vp| vp.intercept_suspend));
}

fn bytes(lab: &Lab, caller: Caller, header: &impl IntoBytesHere) {
    put(&lab.memory, caller.spa.0, header.bytes());
}

/// The child was on LP 1 before, and left what it used in the TLB there; the page goes while it is away.
#[test]
fn tlb_11_an_lp_that_comes_back_flushes_at_its_entry() {
    let lab = Lab::new();
    let (id, child) = lab.guest(0x2100, 32, 1);
    lab.map(id, WINDOW, &[0x2200], RAM).good();
    lab.script(child.slot, &[touch(WINDOW)]);
    lab.turn(1);
    lab.turn(1);
    lab.unmap(id, WINDOW, 1).good();
    lab.map(id, WINDOW, &[0x2201], RAM).good();
    lab.script(child.slot, &[touch(WINDOW)]);
    lab.turn(1);
    lab.turn(1);
    assert_eq!(lab.touched(), [Some(0x2200 << 12), Some(0x2201 << 12)]);
}

/// A partition's slot, and so its tag, goes to another one on the same LP.
#[test]
fn tlb_12_a_tag_starts_with_nothing_of_its_last_owner() {
    let lab = Lab::new();
    let (first, child) = lab.guest(0x2100, 32, 1);
    lab.map(first, WINDOW, &[0x2200], RAM).good();
    lab.script(child.slot, &[touch(WINDOW)]);
    lab.turn(1);
    lab.turn(1);
    lab.end(first);
    let (second, child) = lab.guest(0x2140, 32, 1);
    assert_eq!(first % 64, second % 64, "the same slot");
    lab.map(second, WINDOW, &[0x2300], RAM).good();
    lab.script(child.slot, &[touch(WINDOW)]);
    lab.turn(1);
    lab.turn(1);
    assert_eq!(lab.touched(), [Some(0x2200 << 12), Some(0x2300 << 12)]);
}

/// The same where the new partition's tables even stand in the old one's frames: what was known by the table is not known any more.
#[test]
fn tlb_12_tables_in_old_frames_start_with_nothing() {
    let lab = Lab::new();
    let mut roots = Vec::new();
    for frame in [0x2200, 0x2300] {
        let (id, child) = lab.guest(0x2100, 32, 1);
        lab.map(id, WINDOW, &[frame], RAM).good();
        lab.script(child.slot, &[touch(WINDOW)]);
        (0..3).for_each(|_| lab.turn(1));
        assert_eq!(lab.touched(), [Some(frame << 12)]);
        let cell = lab.kernel.partitions.get(address::PartitionId(id));
        let root = cell.and_then(|cell| cell.body.lock().slat.live().map(|slat| slat.root()));
        roots.push((id % 64, root));
        lab.end(id);
    }
    assert_eq!(roots[0], roots[1], "the same slot and the same root");
}

/// A deposit leaves the root's own map everywhere, too: here the root's VP of LP 1 has used the page.
#[test]
fn tlb_10_a_deposited_page_leaves_the_roots_processors() {
    let lab = Lab::new();
    let id = lab.create();
    let page = 0x2300;
    let root = lab.root_on(0);
    let list = listed(&abi::memory::Deposit { partition: id }, &[page]);
    put(&lab.memory, root.spa.0, &list);
    let control = abi::CallInput::rep(Call::DepositMemory as u16, 1, 0).0;
    lab.registers(root, control, root.gpa.0, root.gpa.1);
    lab.script(root.slot, &[Act::Hypercall]);
    let other = lab.root_on(1);
    lab.script(other.slot, &[touch(page), Act::Turn(0), touch(page)]);
    lab.turn(1);
    lab.turn(1);
    assert_eq!(lab.touched(), [Some(page << 12), None]);
    assert_eq!(lab.balance(id), (1, 0));
}

/// A mapping that the identity domain refuses does not stay in a TLB: here it runs out of frames there, while the child, which
/// was told nothing, is in its guest on another LP.
#[test]
fn tlb_10_a_mapping_that_is_taken_back_is_forgotten() {
    let lab = Lab::new();
    let mut taken_back = 0;
    for spare in 0..12 {
        let (id, child) = lab.guest(0x2100, 40, 1);
        // Enough for the SLAT's tables of a far place, and not for the domain's as well.
        lab.withdraw(id, (lab.balance(id).0 - spare) as u16).good();
        let far = 0x40_0000_0000 >> 12;
        let header = abi::memory::Map {
            partition: id,
            gpfn: far,
            flags: RAM,
            reserved: 0,
        };
        let root = lab.root_on(0);
        put(&lab.memory, root.spa.0, &listed(&header, &[0x2200]));
        let control = abi::CallInput::rep(Call::MapGpaPages as u16, 1, 0).0;
        lab.registers(root, control, root.gpa.0, root.gpa.1);
        lab.script(root.slot, &[Act::Hypercall]);
        lab.script(child.slot, &[Act::Turn(0), touch(far)]);
        let before = lab.kicks();
        lab.turn(1);
        lab.turn(1);
        let refused = lab.touched() == [None];
        let deposited = lab.deposit(id, &[0x2200]).status == Status::SUCCESS;
        assert_eq!(deposited, refused, "a page that was taken back is free");
        taken_back += u32::from(refused && lab.kicks() > before);
        lab.end(id);
    }
    assert!(taken_back > 0 && taken_back < 12, "{taken_back}");
}

/// Rights count: what is mapped to be read only is not written, and neither is it by a TLB entry of a reader.
#[test]
fn a_read_only_page_is_not_written() {
    let lab = Lab::new();
    let (id, child) = lab.guest(0x2100, 32, 1);
    lab.map(id, WINDOW, &[0x2200], map_flags::READ).good();
    let read = Act::Touch {
        gpa: WINDOW << 12,
        write: false,
    };
    lab.script(child.slot, &[read, touch(WINDOW)]);
    lab.turn(1);
    lab.turn(1);
    assert_eq!(lab.touched(), [Some(0x2200 << 12), None]);
}

/// Two VPs of one partition on one LP share a tag, and the same linear address means two things; the one that comes back with
/// nobody in between keeps what it had.
#[test]
fn tlb_11_a_sibling_finds_none_of_the_others_linear_translations() {
    let lab = Lab::new();
    let (id, first) = lab.guest(0x2100, 48, 1);
    lab.map(id, WINDOW, &[0x2200, 0x2201], RAM).good();
    lab.create_vp(id, 1, 1).good();
    let second = lab.slot(id, 1);
    lab.go(second);
    let through = |gpa: u64| Act::TouchLinear {
        linear: 0x7000,
        gpa: gpa << 12,
    };
    let mut reached = Vec::new();
    for _ in 0..2 {
        for (slot, page) in [(first.slot, WINDOW), (second, WINDOW + 1)] {
            lab.script(slot, &[through(page)]);
            lab.turn(1);
            lab.turn(1);
            lab.turn(1);
            reached.extend(lab.touched());
        }
    }
    let (one, other) = (Some(0x2200 << 12), Some(0x2201 << 12));
    assert_eq!(reached, [one, other, one, other]);
}

/// The control, and no more than needed: a VP alone under its tag is never flushed again.
#[test]
fn tlb_11_who_comes_back_alone_is_not_flushed() {
    let lab = Lab::new();
    let (id, child) = lab.guest(0x2100, 32, 1);
    lab.map(id, WINDOW, &[0x2200], RAM).good();
    lab.script(child.slot, &[touch(WINDOW)]);
    (0..4).for_each(|_| lab.turn(1));
    let before = lab.flushes();
    lab.script(child.slot, &[touch(WINDOW), touch(WINDOW)]);
    (0..8).for_each(|_| lab.turn(1));
    assert_eq!(lab.flushes(), before);
    assert_eq!(lab.touched().len(), 3);
}
