//! Interrupts that the processor serves by itself reach the guest as those that the hypervisor injects.

use address::LpIndex;
use flow::lab::*;
use guest::apic::msr;
use guest::{Exit, Vcpu};
use kernel::vp::inbox::Request;
use kernel::vp::{Activity, VpSlot};
use proptest::prelude::*;

/// What happens to a guest.
#[derive(Clone, Copy, Debug)]
enum Event {
    Interrupt(u8),
    Eoi,
    TaskPriority(u8),
    Interrupts(bool),
    Enabled(bool),
    X2Apic(bool),
    Halt,
    Init,
    SelfInterrupt(u8),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (16..=255u8).prop_map(Event::Interrupt),
        4 => Just(Event::Eoi),
        1 => (0..16u8).prop_map(Event::TaskPriority),
        2 => any::<bool>().prop_map(Event::Interrupts),
        1 => any::<bool>().prop_map(Event::Enabled),
        1 => any::<bool>().prop_map(Event::X2Apic),
        1 => Just(Event::Halt),
        1 => Just(Event::Init),
        2 => any::<u8>().prop_map(Event::SelfInterrupt),
    ]
}

fn ready(lab: &Lab, slot: VpSlot, served: bool) {
    lab.with_vp(slot, |vp| {
        vp.vcpu.serving.offered = served;
        let _ = vp.set_apic_base(vp.apic.base() | 0x400);
        let _ = vp.apic.write(msr::SVR, 0x1ff, 0);
        vp.vcpu.serve(&mut vp.apic);
        vp.vcpu.set_interrupts(true);
    });
}

fn turns(lab: &Lab, slot: VpSlot) {
    for _ in 0..4 {
        lab.kernel.wake(slot);
        lab.turn(1);
    }
}

fn happens(lab: &Lab, child: Caller, event: Event) {
    let slot = child.slot;
    match event {
        Event::Interrupt(vector) => lab.kernel.interrupt_vp(slot, vector),
        Event::Eoi => lab.with_vp(slot, |vp| {
            if vp.vcpu.serves_interrupts() {
                // Whoever looked took them back.
                vp.vcpu.hand_over(&mut vp.apic);
                vp.vcpu.serving.end();
            } else {
                vp.apic.end_of_interrupt();
            }
        }),
        Event::TaskPriority(class) => lab.with_vp(slot, |vp| vp.vcpu.set_task_priority(class)),
        Event::Interrupts(on) => lab.with_vp(slot, |vp| vp.vcpu.set_interrupts(on)),
        Event::Enabled(on) => lab.write_msr(child, msr::SVR, 0xff | u64::from(on) << 8),
        Event::X2Apic(on) => lab.with_vp(slot, |vp| {
            // Off, or on by the two steps that there are; what does not follow from where it is, is refused.
            let steps: &[u64] = if on { &[0x800, 0xc00] } else { &[0] };
            for mode in steps {
                let _ = vp.set_apic_base(vp.apic.base() & !0xc00 | mode);
            }
        }),
        Event::Halt => lab.script(slot, &[Act::Exit(Exit::Halt)]),
        Event::Init => {
            lab.kernel.notify(slot, Request::Init);
            turns(lab, slot);
            lab.go(slot);
        }
        Event::SelfInterrupt(vector) => lab.write_msr(child, msr::SELF_IPI, vector.into()),
    }
    turns(lab, slot);
}

/// What a guest can know of its state.
fn seen(lab: &Lab, slot: VpSlot) -> (Vec<u64>, Activity, Vec<u64>) {
    let apic = lab.with_vp(slot, |vp| {
        vp.vcpu.take_back(&mut vp.apic);
        let registers = (msr::ISR0..=msr::IRR7).chain([msr::SVR, msr::ESR]);
        let values = registers.map(|index| vp.apic.read(index, 0, 0).unwrap_or(u64::MAX));
        values.collect()
    });
    let activity = lab.with_vp(slot, |vp| vp.activity);
    (lab.delivered(slot), activity, apic)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn int_22_served_and_injected_interrupts_come_alike(events in prop::collection::vec(event(), 1..60)) {
        let [injected, served] = [false, true].map(|served| {
            let lab = Lab::new();
            let (_, child) = lab.guest(0x2100, 40, 1);
            ready(&lab, child.slot, served);
            events.iter().map(|&event| {
                happens(&lab, child, event);
                seen(&lab, child.slot)
            }).collect::<Vec<_>>()
        });
        for (step, (one, other)) in injected.iter().zip(&served).enumerate() {
            prop_assert_eq!(one, other, "after {:?}", &events[..=step]);
        }
    }
}

/// The control: with a processor that serves, interrupts need neither windows nor injection.
#[test]
fn a_served_interrupt_is_not_injected() {
    let lab = Lab::new();
    for (served, injections) in [(false, 1), (true, 0)] {
        let (id, child) = lab.guest(0x2100, 40, 1);
        ready(&lab, child.slot, served);
        assert_eq!(
            lab.with_vp(child.slot, |vp| vp.vcpu.serves_interrupts()),
            served
        );
        lab.kernel.interrupt_vp(child.slot, 0x41);
        turns(&lab, child.slot);
        assert_eq!(lab.delivered(child.slot), [1 << 31 | 0x41]);
        let cell = lab.kernel.vp_cell(child.slot);
        assert_eq!(cell.counters.injections.get(), injections);
        assert_eq!(cell.lp(), LpIndex(1));
        lab.end(id);
    }
}
