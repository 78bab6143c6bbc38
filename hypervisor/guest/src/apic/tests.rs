extern crate std;

use proptest::prelude::*;

use super::*;

fn enabled() -> LocalApic {
    let mut apic = LocalApic::started(ApicId(3));
    assert_eq!(apic.write(msr::SVR, 0x1ff, 0), Ok(Effect::Switched));
    apic
}

#[test]
fn the_highest_vector_above_both_priorities_is_delivered() {
    let mut apic = enabled();
    assert!(apic.accept(Vector(0x35), false) && apic.accept(Vector(0x51), true));
    assert_eq!(apic.pending(0), Some(Vector(0x51)));
    assert_eq!(apic.pending(5), None);
    assert_eq!(apic.waiting(), Some(Vector(0x51)));
    apic.begin_service(Vector(0x51));
    assert_eq!((apic.pending(0), apic.waiting()), (None, None));
    assert_eq!(apic.read(msr::PPR, 0, 0), Ok(0x50));
    let end = Effect::EndOfInterrupt {
        vector: Vector(0x51),
        level: true,
    };
    assert_eq!(apic.write(msr::EOI, 0, 0), Ok(end));
    assert_eq!(apic.pending(0), Some(Vector(0x35)));
}

#[test]
fn int_25_an_eoi_without_a_vector_in_service_does_nothing() {
    let mut apic = enabled();
    assert_eq!(apic.end_of_interrupt(), Effect::None);
    apic.accept(Vector(0x40), false);
    assert_eq!(apic.end_of_interrupt(), Effect::None);
    assert_eq!(apic.pending(0), Some(Vector(0x40)));
    apic.begin_service(Vector(0x40));
    let end = Effect::EndOfInterrupt {
        vector: Vector(0x40),
        level: false,
    };
    assert_eq!(apic.end_of_interrupt(), end);
    assert_eq!(apic.end_of_interrupt(), Effect::None);
}

#[test]
fn int_22_a_storm_of_self_ipis_is_one_request() {
    let mut apic = enabled();
    for _ in 0..1000 {
        assert_eq!(apic.write(msr::SELF_IPI, 0x60, 0), Ok(Effect::None));
    }
    apic.begin_service(Vector(0x60));
    assert_eq!(apic.pending(0), None);
}

#[test]
fn int_22_commands_to_others_come_out_as_requests() {
    let mut apic = enabled();
    let expected = IpiRequest {
        kind: IpiKind::Fixed(Vector(0x60)),
        destination: Destination::AllButSelf,
    };
    assert_eq!(apic.write(msr::ICR, 0xc0060, 0), Ok(Effect::Ipi(expected)));
    assert_eq!(apic.read(msr::ICR, 0, 0), Ok(0xc0060));
    assert_eq!(apic.pending(0), None);
}

#[test]
fn int_22_task_priority_is_shared_with_cr8() {
    let mut apic = enabled();
    assert_eq!(apic.write(msr::TPR, 0x37, 0), Ok(Effect::TaskPriority(3)));
    assert_eq!(apic.read(msr::TPR, 3, 0), Ok(0x37));
    assert_eq!(apic.read(msr::TPR, 4, 0), Ok(0x40));
    assert_eq!(apic.write(msr::TPR, 0x100, 0), Err(Gp));
}

#[test]
fn cpu_17_an_error_whose_own_vector_is_illegal_ends_there() {
    let mut apic = enabled();
    apic.write(msr::LVT_ERROR, 0x05, 0).unwrap();
    assert_eq!(apic.write(msr::ICR, 0x0f, 0), Ok(Effect::None));
    assert_eq!(apic.read(msr::ESR, 0, 0), Ok(0));
    apic.write(msr::ESR, 0, 0).unwrap();
    assert_eq!(apic.read(msr::ESR, 0, 0), Ok(0x60));
    assert_eq!(apic.waiting(), None);
    apic.write(msr::LVT_ERROR, 0x45, 0).unwrap();
    apic.write(msr::SELF_IPI, 0x03, 0).unwrap();
    assert_eq!(apic.waiting(), Some(Vector(0x45)));
}

#[test]
fn cpu_17_a_deadline_in_the_past_fires_once() {
    let mut apic = enabled();
    apic.write(msr::LVT_TIMER, 0x400e0, 0).unwrap();
    assert_eq!(
        apic.write(msr::TSC_DEADLINE, 5, 100),
        Ok(Effect::TimerChanged)
    );
    assert_eq!(apic.timer_deadline(), Some(5));
    assert!(apic.timer_expired(100));
    assert_eq!(
        (apic.timer_deadline(), apic.pending(0)),
        (None, Some(Vector(0xe0)))
    );
    assert!(!apic.timer_expired(200));
    assert_eq!(apic.read(msr::TSC_DEADLINE, 0, 0), Ok(0));
}

#[test]
fn cpu_17_a_timer_with_an_illegal_vector_notes_an_error() {
    let mut apic = enabled();
    apic.write(msr::LVT_TIMER, 0x4000e, 0).unwrap();
    apic.write(msr::TSC_DEADLINE, 5, 0).unwrap();
    assert!(!apic.timer_expired(10));
    apic.write(msr::ESR, 0, 0).unwrap();
    assert_eq!(apic.read(msr::ESR, 0, 0), Ok(0x40));
}

#[test]
fn a_masked_timer_counts_without_a_deadline_for_the_host() {
    let mut apic = enabled();
    apic.write(msr::DIVIDE, 0xb, 0).unwrap();
    apic.write(msr::INITIAL_COUNT, 1000, 0).unwrap();
    assert_eq!(apic.timer_deadline(), None);
    assert_eq!(apic.read(msr::CURRENT_COUNT, 0, 16 * 400), Ok(600));
    apic.write(msr::LVT_TIMER, 0x31, 0).unwrap();
    assert_eq!(apic.timer_deadline(), Some(16_000));
}

#[test]
fn a_disabled_apic_accepts_nothing_and_masks_its_table() {
    let mut apic = LocalApic::started(ApicId(0));
    assert!(!apic.accept(Vector(0x40), false));
    apic.write(msr::LVT_TIMER, 0x31, 0).unwrap();
    assert_eq!(apic.read(msr::LVT_TIMER, 0, 0), Ok(0x10031));
}

#[test]
fn the_identity_registers_have_these_raw_values() {
    let apic = LocalApic::started(ApicId(0x23));
    assert_eq!(apic.read(msr::ID, 0, 0), Ok(0x23));
    assert_eq!(apic.read(msr::LDR, 0, 0), Ok(0x0002_0008));
    assert_eq!(apic.read(msr::VERSION, 0, 0), Ok(0x50014));
    assert_eq!(apic.read(msr::SVR, 0, 0), Ok(0xff));
    assert_eq!(apic.base(), 0xfee0_0c00);
    assert_eq!(LocalApic::started(ApicId(0)).base(), 0xfee0_0d00);
    assert_eq!(LocalApic::new(ApicId(0), true).base(), 0xfee0_0900);
    assert_eq!(LocalApic::new(ApicId(1), true).base(), 0xfee0_0800);
}

#[test]
fn cpu_05_the_base_changes_its_mode_only_in_order_and_never_moves() {
    let mut apic = enabled();
    assert_eq!(apic.set_base(0xfee0_0c00), Ok(()));
    assert_eq!(apic.set_base(0xfee0_0800), Err(Gp));
    assert_eq!(apic.set_base(0xfed0_0c00), Err(Gp));
    assert_eq!(apic.set_base(0xfee0_0400), Err(Gp));
    assert_eq!(apic.set_base(0xfee0_0000), Ok(()));
    assert_eq!(apic.read(msr::ID, 0, 0), Err(Gp));
    assert_eq!(apic.set_base(0xfee0_0c00), Err(Gp));
    assert_eq!(apic.set_base(0xfee0_0800), Ok(()));
    assert_eq!(apic.set_base(0xfee0_0c00), Ok(()));
    assert!(!apic.is_enabled());
}

#[test]
fn cpu_05_x2apic_mode_is_gp_where_there_is_none() {
    let mut apic = LocalApic::new(ApicId(0), false);
    assert_eq!(apic.set_base(0xfee0_0d00), Err(Gp));
    assert!(apic.is_in_memory());
    let mut apic = LocalApic::new(ApicId(0), true);
    assert_eq!(apic.set_base(0xfee0_0d00), Ok(()));
    assert!(!apic.is_in_memory());
}

#[test]
fn cpu_02_registers_that_do_not_exist_are_gp() {
    let mut apic = enabled();
    for index in (0x800..0xc00).filter(|i| !(0x802..=0x83f).contains(i)) {
        assert_eq!(apic.read(index, 0, 0), Err(Gp), "{index:#x}");
        assert_eq!(apic.write(index, 0, 0), Err(Gp), "{index:#x}");
    }
    for read_only in [
        msr::ID,
        msr::VERSION,
        msr::PPR,
        msr::LDR,
        msr::ISR0,
        msr::TMR0,
        msr::IRR7,
        msr::CURRENT_COUNT,
    ] {
        assert_eq!(apic.write(read_only, 0, 0), Err(Gp), "{read_only:#x}");
    }
    for write_only in [msr::EOI, msr::SELF_IPI] {
        assert_eq!(apic.read(write_only, 0, 0), Err(Gp), "{write_only:#x}");
    }
    for (index, value) in [
        (msr::EOI, 1),
        (msr::SVR, 0x1000),
        (msr::ESR, 1),
        (msr::DIVIDE, 4),
        (msr::ICR, 0x40 | 1 << 13),
        (msr::ICR, 0x40 | 1 << 16),
        (msr::ICR, 0x40 | 1 << 17),
        (msr::ICR, 0x40 | 1 << 20),
        (msr::ICR, 0x40 | 1 << 31),
    ] {
        assert_eq!(apic.write(index, value, 0), Err(Gp), "{index:#x}");
    }
    assert_eq!(apic.write(msr::TPR, 1 << 32, 0), Err(Gp));
}

proptest! {
    #[test]
    fn any_sequence_of_accesses_keeps_the_state_sound(
        steps in prop::collection::vec((0x800u32..0x842, any::<u64>(), 0u32..40, any::<u64>()), 0..200),
    ) {
        let mut apic = enabled();
        for (index, value, shift, now) in steps {
            let before = std::format!("{apic:?}");
            let _ = apic.read(index, (value & 15) as u8, now);
            if apic.write(index, value >> shift, now).is_err() {
                prop_assert_eq!(before, std::format!("{:?}", apic));
            }
            apic.timer_expired(now);
            if let Some(vector) = apic.pending((value >> 60) as u8) {
                prop_assert!(vector.0 >= 16);
                apic.begin_service(vector);
            }
            if let (Some(waiting), Some(served)) = (apic.waiting(), apic.in_service.highest()) {
                prop_assert!(waiting.0 >> 4 > served.0 >> 4);
            }
        }
    }
}

#[test]
fn what_is_handed_over_comes_back() {
    let mut apic = LocalApic::started(ApicId(0));
    assert!(!apic.may_be_served(), "software has not enabled it");
    let _ = apic.write(msr::SVR, 0x1ff, 0);
    assert!(apic.may_be_served() && !apic.has_work());
    apic.accept(Vector(0x41), false);
    apic.accept(Vector(0xf0), false);
    apic.begin_service(Vector(0xf0));
    let (requested, served) = apic.hand_over();
    assert!(!apic.has_work() && apic.pending(0).is_none());
    let registers =
        [&requested, &served].map(|set| core::array::from_fn(|i| set.register(i as u32)));
    apic.take_back(&registers);
    assert_eq!(apic.pending(0), None, "F0h is in service");
    apic.end_of_interrupt();
    assert_eq!(apic.pending(0), Some(Vector(0x41)));
    apic.accept(Vector(0x42), true);
    assert!(!apic.may_be_served(), "a level must be told of its end");
}
