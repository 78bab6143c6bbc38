//! Errors of the machine while a guest runs.

use abi::message::kind;
use abi::msr;
use flow::lab::*;
use guest::{Exit, Vcpu};
use kernel::vp::VpSlot;

const MACHINE_CHECK: u8 = 18;

/// A guest that runs when an error is reported never goes on and never gets the exception; its sibling on the LP does.
/// Another exception, the control, is its own, and it goes on.
#[test]
fn cpu_22_a_machine_check_stops_the_guest_that_ran_and_nobody_else() {
    let lab = Lab::new();
    let page = lab.with_vp(VpSlot(0), |vp| {
        let page = vp.frames.last().expect("a page").as_u64();
        vp.synic.write(msr::SIMP, page | 1).expect("the page");
        vp.synic.write(msr::SCONTROL, 1).expect("on");
        vp.synic.write(msr::SINT0, 0x40).expect("a vector");
        page
    });
    let (_, sibling) = lab.guest(0x2100, 40, 0);
    let (id, child) = lab.guest(0x2180, 40, 0);
    let exception = |vector, error_code| Act::Exit(Exit::Exception { vector, error_code });
    lab.script(
        child.slot,
        &[exception(17, Some(0)), exception(MACHINE_CHECK, None)],
    );
    for _ in 0..12 {
        lab.turn(0);
    }
    // #AC with its error code, and nothing else.
    assert_eq!(lab.delivered(child.slot), [1 << 31 | 1 << 11 | 3 << 8 | 17]);
    assert!(lab.with_vp(child.slot, |vp| vp.intercept_suspend && !vp.is_runnable()));
    let mut bytes = [0; 256];
    get(&lab.memory, page, &mut bytes);
    let message: abi::message::Message =
        zerocopy::FromBytes::read_from_bytes(&bytes).expect("256 bytes");
    assert_eq!(
        (message.message_type, message.sender),
        (kind::UNRECOVERABLE_EXCEPTION, id)
    );
    assert!(lab.with_vp(sibling.slot, |vp| vp.is_runnable() && vp.vcpu.rip() != 0));
}
