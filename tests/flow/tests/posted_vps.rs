//! Device interrupts that the unit leaves in a VP's inbox by itself: the whole kernel, processors that take what was posted, and
//! units that post.

use std::sync::atomic::Ordering;

use abi::device::{Attach, DeviceName};
use abi::interrupt::{MapInterrupt, MappedInterrupt, Retarget, Target, UnmapInterrupt};
use abi::vp::DeleteVp;
use abi::{Call, Status};
use address::DeviceId;
use flow::lab::*;
use flow::{A, B, FAR};
use guest::apic::msr;
use guest::{Exit, Vcpu};
use kernel::vp::{Activity, VpSlot};
use model::{Behaviour, Unit};
use proptest::prelude::*;

/// Posted entries of the unit that A and B are behind.
fn posted_entries(lab: &Lab) -> usize {
    let entries = lab.units[0].entries();
    entries.iter().filter(|it| it.1 >> 15 & 1 != 0).count()
}

fn give(lab: &Lab, partition: u64, device: DeviceId) {
    let input = Attach {
        partition,
        device: DeviceName::Pci(device).encode(),
        ..Attach::default()
    };
    lab.call(Call::VendorDeclareReset, &input).good();
    lab.call(Call::AttachDevice, &input).good();
}

const fn aimed(vp: u32, vector: u32) -> Target {
    Target {
        vector,
        flags: 0,
        mask: 1 << vp,
    }
}

fn map(lab: &Lab, partition: u64, device: DeviceId, target: Target) -> MappedInterrupt {
    let input = MapInterrupt {
        partition,
        device: DeviceName::Pci(device).encode(),
        vector_count: 1,
        target,
        ..MapInterrupt::default()
    };
    lab.call(Call::MapDeviceInterrupt, &input).good().get()
}

fn retarget(lab: &Lab, partition: u64, device: DeviceId, it: &MappedInterrupt, target: Target) {
    let input = Retarget {
        partition,
        device: DeviceName::Pci(device).encode(),
        entry: it.entry,
        reserved: 0,
        target,
    };
    lab.call(Call::RetargetDeviceInterrupt, &input).good();
}

fn unmap(lab: &Lab, partition: u64, device: DeviceId, it: &MappedInterrupt) {
    let input = UnmapInterrupt {
        partition,
        device: DeviceName::Pci(device).encode(),
        entry: it.entry,
        ..UnmapInterrupt::default()
    };
    lab.call(Call::UnmapDeviceInterrupt, &input).good();
}

/// Address and data.
fn wire(it: &MappedInterrupt) -> (u64, u32) {
    let value = it.entry.value;
    (value & 0xffff_ffff, (value >> 32) as u32)
}

/// A device's message as something that happens while a guest runs.
fn arrives(device: DeviceId, it: &MappedInterrupt) -> Act {
    let (address, data) = wire(it);
    Act::Message(device, address, data)
}

/// Switches a guest's local APIC and its interrupts on; `served`: its processor takes what was posted.
fn listen(lab: &Lab, slot: VpSlot, served: bool) {
    lab.with_vp(slot, |vp| {
        vp.vcpu.serving.offered = served;
        let _ = vp.set_apic_base(vp.apic.base() | 0x400);
        let _ = vp.apic.write(msr::SVR, 0x1ff, 0);
        vp.vcpu.serve(&mut vp.apic);
        vp.vcpu.set_interrupts(true);
    });
}

/// Lets an LP do what there is to do.
fn settle(lab: &Lab, lp: u16) {
    (0..6).for_each(|_| lab.turn(lp));
}

/// What a guest was given, as vectors, since the last time; its services ended.
fn given(lab: &Lab, slot: VpSlot) -> Vec<u8> {
    lab.with_vp(slot, |vp| {
        if vp.vcpu.serves_interrupts() {
            vp.vcpu.hand_over(&mut vp.apic);
            (0..16).for_each(|_| vp.vcpu.serving.end());
        } else {
            (0..16).for_each(|_| {
                vp.apic.end_of_interrupt();
            });
        }
        // A guest that had ended its services would not have halted over this.
        if vp.activity == Activity::Halted && vp.has_wake_event() {
            vp.activity = Activity::Running;
            lab.kernel.wake(slot);
        }
        let delivered = std::mem::take(&mut vp.vcpu.delivered);
        delivered.into_iter().map(|event| event as u8).collect()
    })
}

/// A lab that posts, with a guest on LP 1 that listens, and has A.
fn lab(served: bool) -> (Lab, u64, Caller) {
    let lab = Lab::posting(true);
    let (id, child) = lab.guest(0x2100, 60, 1);
    listen(&lab, child.slot, served);
    give(&lab, id, A);
    settle(&lab, 1);
    (lab, id, child)
}

fn activity(lab: &Lab, slot: VpSlot) -> Activity {
    lab.with_vp(slot, |vp| vp.activity)
}

#[test]
fn a_message_reaches_a_running_vp_without_an_exit_where_the_guest_takes_it() {
    for served in [true, false] {
        let (lab, id, child) = lab(served);
        let it = map(&lab, id, A, aimed(0, 0x51));
        assert_eq!(posted_entries(&lab), 1);
        settle(&lab, 1);
        let cell = lab.kernel.vp_cell(child.slot);
        let exits = || cell.counters.exits.iter().map(|it| it.get()).sum::<u64>();
        // In one turn: a message, a write of memory, and what leaves the guest at last.
        lab.script(
            child.slot,
            &[arrives(A, &it), Act::Exit(Exit::Cpuid), arrives(A, &it)],
        );
        let before = exits();
        while lab.sent() == 0 {
            lab.turn(1);
        }
        let (host, injected) = (exits() - before, cell.counters.injections.get());
        // CPUID, and the end of the slice.
        assert_eq!(host == 2, served, "{host}");
        assert_eq!(injected == 0, served);
        assert_eq!(given(&lab, child.slot)[0], 0x51);
        assert_eq!(cell.counters.device_interrupts.get(), 0, "no LP had it");
    }
}

#[test]
fn off_by_default_no_entry_is_ever_posted() {
    for on in [false, true] {
        let lab = Lab::posting(on);
        let (id, child) = lab.guest(0x2100, 60, 1);
        listen(&lab, child.slot, true);
        lab.create_vp(id, 1, 0).good();
        give(&lab, id, A);
        let its = [0, 1].map(|vp| map(&lab, id, A, aimed(vp, 0x51)));
        assert_eq!(posted_entries(&lab), if on { 2 } else { 0 });
        for vp in [1, 0, 1] {
            for it in &its {
                retarget(&lab, id, A, it, aimed(vp, 0x52));
            }
            assert_eq!(posted_entries(&lab), if on { 2 } else { 0 });
        }
        retarget(&lab, id, A, &its[0], aimed(0, 0x52));
        lab.send(A, wire(&its[0])).unwrap();
        settle(&lab, 1);
        assert_eq!(given(&lab, child.slot), [0x52], "by either way");
        let none = lab.kernel.lps.iter().all(|lp| lp.posted.is_empty());
        assert_eq!(none, !on);
    }
    // Nor does a machine like those that are told nothing.
    let lab = Lab::new();
    let (id, _) = lab.guest(0x2100, 60, 1);
    give(&lab, id, A);
    map(&lab, id, A, aimed(0, 0x51));
    assert_eq!(posted_entries(&lab), 0);
}

#[test]
fn int_20_a_sleeping_vp_wakes() {
    for served in [true, false] {
        let (lab, id, child) = lab(served);
        let it = map(&lab, id, A, aimed(0, 0x51));
        for _ in 0..3 {
            lab.script(child.slot, &[Act::Exit(Exit::Halt)]);
            settle(&lab, 1);
            assert_eq!(activity(&lab, child.slot), Activity::Halted);
            assert!(!lab.kernel.lps[1].ready.contains(child.slot));
            assert_eq!(given(&lab, child.slot), []);
            lab.send(A, wire(&it)).unwrap();
            settle(&lab, 1);
            assert_eq!(activity(&lab, child.slot), Activity::Running);
            assert_eq!(given(&lab, child.slot), [0x51]);
        }
    }
}

/// The message comes when the guest has left to halt, and its LP has not put it to sleep yet.
#[test]
fn int_20_a_vp_does_not_fall_asleep_over_a_message() {
    for served in [true, false] {
        let (lab, id, child) = lab(served);
        let it = map(&lab, id, A, aimed(0, 0x51));
        settle(&lab, 1);
        // Between the two the guest does nothing that an LP would open its interrupts for.
        lab.script(child.slot, &[Act::Leave(A, wire(&it), Exit::Halt)]);
        while lab.sent() == 0 {
            lab.turn(1);
        }
        // The vector that tells of it is still there, and may be some other guest's to swallow.
        lab.lose_notification(1);
        settle(&lab, 1);
        assert_eq!(activity(&lab, child.slot), Activity::Running);
        assert_eq!(given(&lab, child.slot), [0x51]);
    }
}

/// The processor of the VP that runs would take the notification for its own.
#[test]
fn int_20_a_message_while_another_vp_runs_is_not_lost() {
    for (served, sleeps) in [(true, true), (true, false), (false, true), (false, false)] {
        let (lab, id, child) = lab(served);
        let other = lab.root_on(1).slot;
        listen(&lab, other, true);
        let it = map(&lab, id, A, aimed(0, 0x51));
        let acts: &[Act] = if sleeps {
            &[Act::Exit(Exit::Halt)]
        } else {
            &[]
        };
        lab.script(child.slot, acts);
        settle(&lab, 1);
        lab.script(other, &[arrives(A, &it), Act::Pass(1)]);
        settle(&lab, 1);
        assert_eq!(given(&lab, child.slot), [0x51]);
        assert_eq!(given(&lab, other), [], "it was not for that one");
    }
}

/// However often a device raises it, others are disturbed once for each turn of the VP that it is for.
#[test]
fn int_12_a_storm_costs_others_one_interrupt_a_turn() {
    for served in [true, false] {
        let (lab, id, child) = lab(served);
        let other = lab.root_on(1).slot;
        let it = map(&lab, id, A, aimed(0, 0x51));
        settle(&lab, 1);
        let host = |slot| lab.kernel.vp_cell(slot).counters.exits[0].get();
        lab.script(other, &vec![arrives(A, &it); 5000]);
        let before = host(other);
        (0..40).for_each(|_| lab.turn(1));
        // Each turn of either ends at the end of its slice besides.
        assert!(host(other) - before <= 45, "{}", host(other) - before);
        assert!(!given(&lab, child.slot).is_empty());
    }
}

/// An LP takes interrupts in a guest or at rest: turns in which no guest is entered must not follow each other for ever.
#[test]
fn int_12_a_storm_for_a_vp_that_cannot_run_lets_its_lp_rest() {
    let (lab, id, child) = lab(true);
    let it = map(&lab, id, A, aimed(0, 0x51));
    // Everybody on this LP sleeps, and the child does not wake for anything.
    lab.script(lab.root_on(1).slot, &[Act::Exit(Exit::Halt)]);
    settle(&lab, 1);
    lab.with_vp(child.slot, |vp| vp.explicit_suspend = true);
    lab.storm(A, wire(&it));
    lab.send(A, wire(&it)).unwrap();
    settle(&lab, 1);
    let (rests, sent) = (lab.rests(), lab.sent());
    (0..100).for_each(|_| lab.turn(1));
    assert!(lab.sent() - sent > 20, "there was a storm");
    assert!(lab.rests() - rests > 20, "{} rests", lab.rests() - rests);
    // And when it can run again, it has the interrupt.
    lab.with_vp(child.slot, |vp| vp.explicit_suspend = false);
    settle(&lab, 1);
    assert_eq!(given(&lab, child.slot)[0], 0x51);
}

#[test]
fn int_23_a_slot_gets_another_vp_only_when_nothing_is_posted_there() {
    let (lab, id, child) = lab(true);
    lab.create_vp(id, 1, 1).good();
    let slot = lab.slot(id, 1);
    let it = map(&lab, id, A, aimed(1, 0x51));
    lab.send(A, wire(&it)).unwrap();
    let delete = DeleteVp {
        partition: id,
        vp: 1,
        ..DeleteVp::default()
    };
    let refused = lab.call(Call::DeleteVp, &delete);
    assert_eq!(refused.status, Status::OBJECT_IN_USE);
    retarget(&lab, id, A, &it, aimed(0, 0x51));
    lab.call(Call::DeleteVp, &delete).good();
    lab.create_vp(id, 2, 0).good();
    assert_eq!(lab.slot(id, 2), slot, "the slot is free");
    lab.send(A, wire(&it)).unwrap();
    settle(&lab, 1);
    assert_eq!(given(&lab, child.slot), [0x51]);
    // Neither what was posted to the old one, nor anything after.
    let posted = lab.kernel.vp_cell(slot).inbox.posted();
    let words = posted
        .words()
        .each_ref()
        .map(|it| it.load(Ordering::Relaxed));
    assert_eq!(words, [0, 0, 0, 0, 0x1000_00f4_0000, 0, 0, 0]);
}

#[test]
fn int_23_a_slot_that_a_failed_unit_may_post_to_is_never_used_again() {
    for fails in [false, true] {
        let lab = Lab::posting(true);
        // The child's only device is behind the other unit: what it keeps of memory stays out of this.
        let (id, child) = lab.guest(0x2100, 60, 1);
        give(&lab, id, FAR);
        map(&lab, id, FAR, aimed(0, 0x51));
        if fails {
            lab.units[1].behave(Behaviour::Silent);
        }
        let target = abi::partition::Target { partition: id };
        for _ in 0..100 {
            let ended = lab.call(Call::FinalizePartition, &target);
            if ended.status == Status::SUCCESS {
                break;
            }
        }
        let other = lab.partition(0x2800, 60);
        lab.create_vp(other, 0, 1).good();
        assert_eq!(lab.slot(other, 0) == child.slot, !fails);
    }
}

#[test]
fn int_19_nothing_comes_after_unmap_and_detach() {
    let (lab, id, child) = lab(true);
    let first = map(&lab, id, A, aimed(0, 0x51));
    let second = map(&lab, id, A, aimed(0, 0x52));
    lab.send(A, wire(&first)).unwrap();
    unmap(&lab, id, A, &first);
    assert!(lab.send(A, wire(&first)).is_err());
    lab.send(A, wire(&second)).unwrap();
    settle(&lab, 1);
    assert_eq!(given(&lab, child.slot), [0x52]);
    settle(&lab, 1);
    assert_eq!(given(&lab, child.slot), [0x51], "it came before");
    let input = Attach {
        partition: id,
        device: DeviceName::Pci(A).encode(),
        ..Attach::default()
    };
    lab.call(Call::DetachDevice, &input).good();
    for it in [&first, &second] {
        assert!(lab.send(A, wire(it)).is_err());
        let (address, data) = wire(it);
        assert!(
            lab.units[0]
                .interrupt(A.requester.0, address, data)
                .is_err()
        );
    }
    settle(&lab, 1);
    assert_eq!(given(&lab, child.slot), []);
}

#[test]
fn int_03_a_handle_of_anothers_posts_nothing() {
    let (lab, id, child) = lab(true);
    let (other, _) = lab.guest(0x2200, 60, 0);
    give(&lab, other, B);
    let it = map(&lab, id, A, aimed(0, 0x51));
    assert!(lab.send(B, wire(&it)).is_err());
    settle(&lab, 1);
    assert_eq!(given(&lab, child.slot), []);
    lab.send(A, wire(&it)).unwrap();
    settle(&lab, 1);
    assert_eq!(given(&lab, child.slot), [0x51]);
}

/// What happens, in any order, to an interrupt of a partition with two VPs on one LP and one on the other.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A message while nobody runs.
    Send,
    /// A message while this VP runs.
    While(u8),
    /// A message when this VP has left its guest, to halt.
    Halting(u8),
    /// This VP goes to sleep.
    Halt(u8),
    /// It is for this VP from now on.
    Retarget(u8),
    /// An LP has a turn.
    Turn(u16),
    /// This VP's processor takes what was posted, or does not any more.
    Served(u8, bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Send),
        2 => (0..3u8).prop_map(Step::While),
        2 => (0..3u8).prop_map(Step::Halting),
        1 => (0..3u8).prop_map(Step::Halt),
        2 => (0..3u8).prop_map(Step::Retarget),
        3 => (0..2u16).prop_map(Step::Turn),
        1 => (0..3u8, any::<bool>()).prop_map(|(vp, on)| Step::Served(vp, on)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Each message is another vector's, so that one tells which came, and how often.
    #[test]
    fn int_10_messages_and_retargets_lose_and_double_nothing(
        steps in prop::collection::vec(step(), 1..50),
    ) {
        let lab = Lab::posting(true);
        let (id, _) = lab.guest(0x2100, 60, 1);
        for (vp, lp) in [(1, 1), (2, 0)] {
            lab.create_vp(id, vp, lp).good();
            lab.go(lab.slot(id, vp as usize));
        }
        let slots = [0, 1, 2].map(|vp| lab.slot(id, vp));
        slots.iter().for_each(|&slot| listen(&lab, slot, true));
        give(&lab, id, A);
        let (mut vp, mut next) = (0u8, 0x30u32);
        let it = map(&lab, id, A, aimed(0, next));
        let mut sent = Vec::new();
        let mut came: [Vec<u8>; 3] = Default::default();
        for &step in &steps {
            let lp = |vp: u8| u16::from(vp != 2);
            match step {
                Step::Send => {
                    lab.send(A, wire(&it)).unwrap();
                    sent.push((vp, next as u8));
                }
                Step::While(runs) | Step::Halting(runs) => {
                    let act = match step {
                        Step::While(_) => arrives(A, &it),
                        _ => Act::Leave(A, wire(&it), Exit::Halt),
                    };
                    // It comes to run, sooner or later, with this message.
                    let (slot, before) = (slots[usize::from(runs)], lab.sent());
                    lab.script(slot, &[act]);
                    for _ in 0..100 {
                        if lab.sent() == before {
                            lab.kernel.interrupt_vp(slot, 0x20);
                            came[usize::from(runs)].extend(given(&lab, slot));
                            lab.turn(lp(runs));
                        }
                    }
                    assert_eq!(lab.sent(), before + 1);
                    sent.push((vp, next as u8));
                }
                Step::Halt(of) => lab.script(slots[usize::from(of)], &[Act::Exit(Exit::Halt)]),
                Step::Retarget(to) => vp = to,
                Step::Turn(lp) => lab.turn(lp),
                Step::Served(of, on) => listen(&lab, slots[usize::from(of)], on),
            }
            for (came, &slot) in came.iter_mut().zip(&slots) {
                came.extend(given(&lab, slot));
            }
            // A vector of its own for the next message: otherwise one would stand for two.
            next = 0x30 + (next - 0x30 + 1) % 0xc0;
            retarget(&lab, id, A, &it, aimed(vp.into(), next));
        }
        for _ in 0..60 {
            (0..2).for_each(|lp| settle(&lab, lp));
            for (came, &slot) in came.iter_mut().zip(&slots) {
                came.extend(given(&lab, slot));
            }
        }
        for (vp, came) in came.iter_mut().enumerate() {
            came.retain(|&vector| vector != 0x20);
            came.sort_unstable();
            let mut wanted: Vec<u8> = sent
                .iter()
                .filter(|&&(to, _)| usize::from(to) == vp)
                .map(|&(_, vector)| vector)
                .collect();
            wanted.sort_unstable();
            prop_assert_eq!(&*came, &wanted, "VP {} after {:?}", vp, steps);
        }
    }
}
