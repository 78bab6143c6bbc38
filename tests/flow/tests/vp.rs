//! VPs: states that nobody can break, halts and starts, timers and slices, messages, the hypercall page.

use abi::memory::map_flags;
use abi::message::kind;
use abi::{Call, Status, msr, register};
use address::LpIndex;
use flow::lab::*;
use guest::{Exit, PortAccess, Vcpu};
use kernel::vp::inbox::Request;
use kernel::vp::{Activity, VpSlot};
use proptest::prelude::*;

const GENERAL_PROTECTION: u64 = 1 << 31 | 1 << 11 | 3 << 8 | 13;

fn turns(lab: &Lab, lp: u16, count: usize) {
    for _ in 0..count {
        lab.turn(lp);
    }
}

fn out(port: u16) -> Act {
    Act::Exit(Exit::Port(PortAccess {
        port,
        size: 1,
        write: true,
        string: false,
        rep: false,
    }))
}

fn hear(lab: &Lab) -> u64 {
    lab.with_vp(VpSlot(0), |vp| {
        let page = vp.frames.last().expect("a page").as_u64();
        vp.synic.write(msr::SIMP, page | 1).expect("the page");
        vp.synic.write(msr::SCONTROL, 1).expect("on");
        vp.synic.write(msr::SINT0, 0x40).expect("a vector");
        page
    })
}

fn peek(lab: &Lab, page: u64) -> abi::message::Message {
    let mut bytes = [0; 256];
    get(&lab.memory, page, &mut bytes);
    zerocopy::FromBytes::read_from_bytes(&bytes).expect("256 bytes")
}

fn listen(lab: &Lab, slot: VpSlot) {
    lab.with_vp(slot, |vp| {
        let x2apic = vp.apic.base() | guest::apic::BASE_X2APIC;
        assert!(vp.apic.set_base(x2apic).is_ok());
        let _ = vp.apic.write(0x80f, 0x1ff, 0);
        vp.vcpu.set_interrupts(true);
    });
}

/// Two children have something to say at once: one message, the flag that another waits, an EOM, the other one.
#[test]
fn messages_come_one_by_one_and_say_that_more_wait() {
    let lab = Lab::new();
    let page = hear(&lab);
    let (one, first) = lab.guest(0x2100, 40, 0);
    let (two, second) = lab.guest(0x2180, 40, 0);
    lab.script(first.slot, &[out(0x10)]);
    lab.script(second.slot, &[out(0x11)]);
    turns(&lab, 0, 6);
    let message = peek(&lab, page);
    assert_eq!(message.message_type, kind::IO_PORT_INTERCEPT);
    assert_eq!(message.flags & 1, 1, "another one waits");
    let told = message.sender;
    assert!(told == one || told == two);
    // The slot is not empty: nothing is overwritten.
    lab.write_msr(lab.root_on(0), msr::EOM, 0);
    assert_eq!(peek(&lab, page).sender, told);
    put(&lab.memory, page, &[0; 4]);
    lab.write_msr(lab.root_on(0), msr::EOM, 0);
    let message = peek(&lab, page);
    assert_eq!((message.sender, message.flags & 1), (one + two - told, 0));
    for slot in [first.slot, second.slot] {
        assert!(lab.with_vp(slot, |vp| vp.intercept_suspend && !vp.is_runnable()));
    }
    lab.set_registers(one, 0, &[(register::INTERCEPT_SUSPEND, 0)])
        .good();
    assert!(lab.with_vp(first.slot, |vp| vp.is_runnable()));
}

/// A message that its sender's INIT took back does not hide the next one.
#[test]
fn a_message_that_was_taken_back_hides_no_other() {
    let lab = Lab::new();
    let (one, first) = lab.guest(0x2100, 40, 0);
    let (_, second) = lab.guest(0x2180, 40, 0);
    lab.script(first.slot, &[Act::Exit(Exit::Halt)]);
    lab.script(second.slot, &[out(0x11)]);
    turns(&lab, 0, 6);
    let assert = abi::interrupt::Assert {
        partition: one,
        interrupt_type: abi::interrupt::interrupt_type::INIT,
        ..Default::default()
    };
    lab.call(Call::AssertVirtualInterrupt, &assert).good();
    turns(&lab, 0, 4);
    assert_eq!(
        lab.with_vp(first.slot, |vp| vp.activity),
        Activity::WaitForStartup
    );
    let page = hear(&lab);
    lab.kernel.notify(VpSlot(0), Request::Message);
    turns(&lab, 0, 3);
    assert_eq!(peek(&lab, page).message_type, kind::IO_PORT_INTERCEPT);
}

#[test]
fn a_halt_ends_with_an_interrupt_and_not_without() {
    let lab = Lab::new();
    let (id, child) = lab.guest(0x2100, 40, 1);
    listen(&lab, child.slot);
    lab.script(child.slot, &[Act::Exit(Exit::Halt)]);
    turns(&lab, 1, 4);
    assert_eq!(lab.with_vp(child.slot, |vp| vp.activity), Activity::Halted);
    turns(&lab, 1, 4);
    assert_eq!(lab.with_vp(child.slot, |vp| vp.activity), Activity::Halted);
    let assert = abi::interrupt::Assert {
        partition: id,
        vector: 0x61,
        ..Default::default()
    };
    lab.call(Call::AssertVirtualInterrupt, &assert).good();
    turns(&lab, 1, 4);
    assert_eq!(lab.with_vp(child.slot, |vp| vp.activity), Activity::Running);
    assert_eq!(lab.delivered(child.slot), [1 << 31 | 0x61]);
}

/// INIT and the start-up IPI, left in one inbox at once, are taken in their order; one without the other does nothing.
#[test]
fn int_22_init_and_startup_are_taken_in_order() {
    let lab = Lab::new();
    let (_, child) = lab.guest(0x2100, 40, 1);
    let cell = lab.kernel.vp_cell(child.slot);
    cell.inbox.startup(0x9a);
    lab.kernel.wake(child.slot);
    turns(&lab, 1, 4);
    assert!(
        lab.with_vp(child.slot, |vp| vp.vcpu.rip()) != 0,
        "it runs: the IPI means nothing"
    );
    cell.inbox.startup(0x9a);
    lab.kernel.notify(child.slot, Request::Init);
    turns(&lab, 1, 4);
    let (activity, cs) = lab.with_vp(child.slot, |vp| {
        (vp.activity, vp.vcpu.register(register::CS))
    });
    assert_eq!(activity, Activity::Running);
    assert_eq!(cs.expect("CS") as u64, 0x9a000);
}

/// CPU-29: a guest that never leaves by itself gives way at the end of its slice, and its time is counted.
#[test]
fn cpu_29_two_guests_that_never_yield_share_their_lp() {
    let lab = Lab::new();
    let (_, first) = lab.guest(0x2100, 40, 1);
    let (_, second) = lab.guest(0x2180, 40, 1);
    turns(&lab, 1, 30);
    let counters = |slot| {
        let cell = lab.kernel.vp_cell(slot);
        (
            cell.counters.preemptions.get(),
            cell.counters.guest_ticks.get(),
        )
    };
    let (one, two) = (counters(first.slot), counters(second.slot));
    assert!(one.0 >= 9 && two.0 >= 9, "{one:?} {two:?}");
    let slice = kernel::SLICE_US * 1000;
    for (turns, ticks) in [one, two] {
        assert!(
            ticks >= turns * slice && ticks < (turns + 1) * (slice + 100_000),
            "{ticks}"
        );
    }
}

/// A timer of a VP that halts fires; one of a VP whose LP runs somebody else, too.
#[test]
fn timers_fire_whoever_runs() {
    let lab = Lab::new();
    let (_, child) = lab.guest(0x2100, 40, 1);
    let (_, _busy) = lab.guest(0x2180, 40, 1);
    listen(&lab, child.slot);
    // One-shot at vector 70h, divider 1, 1000 counts.
    for (index, value) in [(0x832, 0x70), (0x83e, 0xb), (0x838, 1000)] {
        lab.write_msr(child, index, value);
    }
    lab.script(child.slot, &[Act::Exit(Exit::Halt)]);
    turns(&lab, 1, 8);
    assert_eq!(lab.delivered(child.slot), [1 << 31 | 0x70]);
}

/// HC-19: the hypercall page comes over a page of the partition's RAM, hides it, and gives it back.
#[test]
fn hc_19_the_hypercall_page_hides_a_page_and_gives_it_back() {
    let lab = Lab::new();
    let (id, child) = lab.guest(0x2100, 60, 1);
    lab.map(id, 0x40, &[0x2200, 0x2201], RAM).good();
    put(&lab.memory, 0x2200 << 12, b"below");
    let read = Act::Touch {
        gpa: 0x4_0000,
        write: false,
    };
    let write = Act::Touch {
        gpa: 0x4_0000,
        write: true,
    };
    let before = lab.snapshot();
    lab.write_msr(child, msr::HYPERCALL, 0x4_0001);
    assert_eq!(
        lab.read_msr(child, msr::HYPERCALL),
        0x4_0000,
        "no guest OS: it stays off"
    );
    lab.write_msr(child, msr::HYPERCALL, 0);
    assert_eq!(lab.snapshot(), before);
    lab.write_msr(child, msr::GUEST_OS_ID, 7);
    lab.script(child.slot, &[read]);
    turns(&lab, 1, 3);
    lab.write_msr(child, msr::HYPERCALL, 0x4_0001);
    assert_eq!(lab.read_msr(child, msr::HYPERCALL), 0x4_0001);
    lab.script(child.slot, &[read, write]);
    turns(&lab, 1, 4);
    let touched = lab.touched();
    let [Some(below), Some(page), None] = touched[..] else {
        panic!("{touched:x?}");
    };
    assert_eq!(below, 0x2200 << 12);
    let mut code = [0; 4];
    get(&lab.memory, page, &mut code);
    assert_eq!(code, [0x0f, 0x01, 0xd9, 0xc3]);
    assert_eq!(
        lab.delivered(child.slot),
        [GENERAL_PROTECTION],
        "it is not written"
    );
    // What it hides stays the child's.
    assert_eq!(lab.unmap(id, 0x40, 1).status, Status::OBJECT_IN_USE);
    assert_eq!(lab.unmap(id, 0x3f, 4).reps, 1);
    assert_eq!(
        lab.map(id, 0x40, &[0x2300], RAM).status,
        Status::OBJECT_IN_USE
    );
    the_page_moves_and_goes(&lab, child, read);
    lab.end(id);
}

/// Elsewhere, over nothing; then off, by the guest OS id.
fn the_page_moves_and_goes(lab: &Lab, child: Caller, read: Act) {
    lab.write_msr(child, msr::HYPERCALL, 0x50_0001);
    let far = Act::Touch {
        gpa: 0x50_0000,
        write: false,
    };
    lab.script(child.slot, &[read, far]);
    turns(lab, 1, 4);
    assert!(matches!(lab.touched()[..], [Some(0x220_0000), Some(_)]));
    lab.write_msr(child, msr::GUEST_OS_ID, 0);
    lab.script(child.slot, &[far]);
    turns(lab, 1, 4);
    assert_eq!(lab.touched(), [None]);
    let mut text = [0; 5];
    get(&lab.memory, 0x2200 << 12, &mut text);
    assert_eq!(&text, b"below");
}

#[test]
fn hc_19_the_hypercall_page_stands_on_nothing_but_ram_and_air() {
    let lab = Lab::new();
    let (id, child) = lab.guest(0x2100, 60, 1);
    lab.write_msr(child, msr::GUEST_OS_ID, 7);
    for (value, why) in [
        (1 << 48 | 1, "past the map"),
        (u64::MAX, "everything"),
        (0x4_0005, "reserved bits"),
    ] {
        let events = lab.delivered(child.slot).len();
        let before = lab.snapshot();
        lab.write_msr(child, msr::HYPERCALL, value);
        assert_eq!(
            lab.delivered(child.slot)[events..],
            [GENERAL_PROTECTION],
            "{why}"
        );
        assert_eq!(lab.snapshot(), before, "{why}");
    }
    // No frames left: refused, and nothing is lost.
    lab.withdraw(id, lab.balance(id).0 as u16).good();
    let events = lab.delivered(child.slot).len();
    let before = lab.balance(id);
    lab.write_msr(child, msr::HYPERCALL, 0x1_0001);
    assert_eq!(lab.delivered(child.slot)[events..], [GENERAL_PROTECTION]);
    assert_eq!(lab.balance(id), before);
    lab.deposit(id, &(0x2300..0x2310).collect::<Vec<_>>())
        .good();
    lab.write_msr(child, msr::HYPERCALL, 0x1_0003);
    assert_eq!(lab.read_msr(child, msr::HYPERCALL), 0x1_0003);
    let events = lab.delivered(child.slot).len();
    lab.write_msr(child, msr::HYPERCALL, 0);
    assert_eq!(
        lab.delivered(child.slot)[events..],
        [GENERAL_PROTECTION],
        "locked"
    );
    lab.end(id);
}

/// Each synthetic MSR needs its right.
#[test]
fn hc_16_synthetic_msrs_need_their_rights() {
    use abi::partition::privilege::*;
    let lab = Lab::new();
    let (id, child) = lab.guest(0x2100, 60, 1);
    let cell = lab
        .kernel
        .partitions
        .get(address::PartitionId(id))
        .expect("it is there");
    for (index, right) in [
        (msr::GUEST_OS_ID, HYPERCALL_MSRS),
        (msr::HYPERCALL, HYPERCALL_MSRS),
        (msr::VP_INDEX, VP_INDEX),
        (msr::VP_RUNTIME, VP_RUNTIME),
        (msr::TIME_REF_COUNT, REFERENCE_COUNTER),
        (msr::TSC_FREQUENCY, FREQUENCY_MSRS),
        (msr::APIC_FREQUENCY, FREQUENCY_MSRS),
        (msr::TPR, APIC_MSRS),
        (msr::SCONTROL, SYNIC_MSRS),
    ] {
        for (mask, faults) in [(ROOT & !right, 1), (right, 0)] {
            cell.privileges
                .store(mask, std::sync::atomic::Ordering::Relaxed);
            let events = lab.delivered(child.slot).len();
            lab.read_msr(child, index);
            assert_eq!(
                lab.delivered(child.slot).len() - events,
                faults,
                "{index:#x} with {mask:#x}"
            );
        }
    }
}

/// A kick and a wake-up that arrive while a VP goes to sleep are not lost.
#[test]
fn what_is_left_in_an_inbox_wakes_its_vp() {
    let lab = Lab::new();
    let (_, child) = lab.guest(0x2100, 40, 1);
    listen(&lab, child.slot);
    for vector in 0x60..0x80 {
        lab.script(child.slot, &[Act::Exit(Exit::Halt)]);
        turns(&lab, 1, 3);
        let kicks = lab.kicks();
        lab.kernel.interrupt_vp(child.slot, vector);
        assert!(lab.kicks() > kicks, "its LP is another one");
        turns(&lab, 1, 3);
        let delivered = lab.delivered(child.slot);
        assert_eq!(delivered.last(), Some(&(1 << 31 | u64::from(vector))));
        lab.with_vp(child.slot, |vp| vp.apic.end_of_interrupt());
    }
    lab.kernel.on_timer(LpIndex(9));
    assert!(!lab.kernel.on_device_interrupt(LpIndex(1), 0x31), "a stray");
    assert!(!lab.kernel.on_device_interrupt(LpIndex(9), 0x31));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// CPU-16: any register with any value: refused, or taken and read back; the VP is entered or its parent told.
    #[test]
    fn cpu_16_register_nonsense_is_survived(
        values in prop::collection::vec((0..96usize, any::<u64>(), any::<u8>()), 1..40)
    ) {
        let lab = Lab::new();
        let (id, child) = lab.guest(0x2100, 40, 1);
        lab.set_registers(id, 0, &[(register::EXPLICIT_SUSPEND, 1)]);
        turns(&lab, 1, 2);
        lab.set_registers(id, 0, &[(register::EXPLICIT_SUSPEND, 1)]).good();
        for (index, value, shape) in values {
            let base = [0, 0x10000, 0x20000, 0x40000, 0x50000, 0x60000, 0x70000, 0x80000][index / 12];
            let name = base + (index % 12) as u32;
            let value = match shape % 5 { 0 => 0, 1 => u64::MAX, 2 => value & 0xff, 3 => 1 << (value % 64), _ => value };
            let answer = lab.set_registers(id, 0, &[(name, value)]);
            prop_assert!(answer.reps <= 1);
            lab.set_registers(id, 0, &[(register::EXPLICIT_SUSPEND, 1)]);
            turns(&lab, 1, 1);
        }
        lab.set_registers(id, 0, &[(register::EXPLICIT_SUSPEND, 0)]);
        lab.script(child.slot, &[Act::Exit(Exit::InvalidState)]);
        turns(&lab, 1, 4);
        lab.end(id);
    }
}

#[test]
fn a_device_page_is_no_place_for_parameters() {
    let lab = Lab::new();
    let (id, _) = lab.guest(0x2100, 40, 1);
    assert_eq!(
        lab.map(
            id,
            0x60,
            &[BAR_PAGE],
            map_flags::READ | map_flags::NOT_CACHED
        )
        .status,
        Status::ACCESS_DENIED
    );
}

/// Registers may be written in any order; what they come to is refused by the call that would let the VP go on.
#[test]
fn cpu_16_a_state_that_no_processor_takes_does_not_go_on() {
    let lab = Lab::new();
    let (id, child) = lab.guest(0x2100, 40, 1);
    lab.set_registers(id, 0, &[(register::EXPLICIT_SUSPEND, 1)]);
    turns(&lab, 1, 2);
    let stop = [(register::EXPLICIT_SUSPEND, 1)];
    let go = [(register::EXPLICIT_SUSPEND, 0)];
    lab.set_registers(id, 0, &stop).good();
    // Long mode without PAE, on the way to somewhere else.
    lab.set_registers(id, 0, &[(register::CR4, 0)]).good();
    let answer = lab.set_registers(id, 0, &go);
    assert_eq!(answer.status, Status::INVALID_REGISTER_VALUE);
    assert!(lab.with_vp(child.slot, |vp| vp.explicit_suspend));
    lab.set_registers(id, 0, &[(register::CR4, 0x620)]).good();
    lab.set_registers(id, 0, &go).good();
    assert!(lab.with_vp(child.slot, |vp| vp.is_runnable()));
}
