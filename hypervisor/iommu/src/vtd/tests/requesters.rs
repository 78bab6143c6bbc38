//! Attaching and blocking.

extern crate std;

use super::fixture::*;
use crate::{DomainName, Error, Geometry, Levels};
use address::{PageSize, RequesterId, Spa};

/// The context table of bus 3, and the word of the requester's entry.
const CONTEXTS: Spa = Spa::new(0x100_3000);
const WORD: usize = 0x30;

#[test]
fn attaching_writes_the_present_half_last_and_flushes() {
    let (mut unit, mut frames) = enabled(CAPABILITY, EXTENDED);
    let domain = table(&unit, &mut frames);
    unit.hardware.take_events();
    unit.attach(REQUESTER, NAME, &domain).unwrap();
    let events = unit.hardware.take_events();
    assert_eq!(events[0], Event::Store(0x1003, WORD + 1, 0x502));
    assert_eq!(events[1], Event::Store(0x1003, WORD, 0x100_4001));
    unit.hardware.events.replace(events);
    assert_eq!(
        unit.hardware.take_descriptors(),
        [(0x0000_0318_0000_0031, 0), (0x0005_00e2, 0)]
    );
    assert_eq!(
        unit.attach(REQUESTER, NAME, &domain),
        Err(Error::NotBlocked)
    );
    let other = RequesterId(0x0319);
    assert_eq!(unit.attach(other, NAME, &domain), Ok(()));
}

#[test]
fn tlb_02_blocking_clears_the_present_half_first_and_forgets_entry_then_domain() {
    let (mut unit, mut frames) = enabled(CAPABILITY, EXTENDED);
    let domain = table(&unit, &mut frames);
    unit.attach(REQUESTER, NAME, &domain).unwrap();
    unit.hardware.take_events();
    unit.block(REQUESTER).unwrap();
    let events = unit.hardware.take_events();
    assert_eq!(events[0], Event::Store(0x1003, WORD, 0));
    assert_eq!(events[1], Event::Store(0x1003, WORD + 1, 0));
    unit.hardware.events.replace(events);
    // TLB-18: reads and writes under way are drained.
    assert_eq!(
        unit.hardware.take_descriptors(),
        [(0x0000_0318_0005_0031, 0), (0x0005_00e2, 0)]
    );
    assert_eq!(unit.hardware.word(CONTEXTS, WORD), 0);
    assert_eq!(unit.block(REQUESTER), Ok(()), "blocking twice is allowed");
    assert_eq!(unit.attach(REQUESTER, NAME, &domain), Ok(()));
}

#[test]
fn what_the_unit_does_not_know_is_refused() {
    let (mut unit, mut frames) = enabled(CAPABILITY & !7, EXTENDED);
    let domain = table(&unit, &mut frames);
    unit.hardware.take_events();
    let elsewhere = RequesterId(0x0418);
    for name in [0, 16, 0xffff] {
        let refused = unit.attach(REQUESTER, DomainName(name), &domain);
        assert_eq!(refused, Err(Error::DomainName));
    }
    let refused = unit.attach(elsewhere, DomainName(15), &domain);
    assert_eq!(refused, Err(Error::UnknownBus));
    assert_eq!(unit.block(elsewhere), Err(Error::UnknownBus));
    assert!(unit.hardware.take_events().is_empty());
}

#[test]
fn dma_16_a_table_made_for_more_than_the_unit_has_is_refused() {
    let (mut unit, mut frames) = enabled(CAPABILITY & !(1 << 35), EXTENDED & !0x81);
    let more = [
        Geometry {
            levels: Levels::NONE.with(5),
            ..PLAIN
        },
        Geometry {
            output_bits: 48,
            ..PLAIN
        },
        Geometry {
            largest: PageSize::Size1G,
            ..PLAIN
        },
        Geometry {
            coherent: true,
            ..PLAIN
        },
        Geometry {
            snoop: true,
            ..PLAIN
        },
    ];
    for geometry in more {
        let domain = table_for(geometry, &unit, &mut frames);
        let refused = unit.attach(REQUESTER, NAME, &domain);
        assert_eq!(refused, Err(Error::Geometry), "{geometry:?}");
    }
    let domain = table_for(PLAIN, &unit, &mut frames);
    assert_eq!(unit.attach(REQUESTER, NAME, &domain), Ok(()));
}

#[test]
fn dma_16_depth_follows_what_units_share() {
    let (unit, mut frames) = enabled(CAPABILITY, EXTENDED);
    let both = unit.geometry().meet(PLAIN).unwrap();
    assert_eq!(table_for(both, &unit, &mut frames).shape().levels, 3);
    assert_eq!(table(&unit, &mut frames).shape().levels, 4);
    assert_eq!(table(&unit, &mut frames).shape().input_bits, 48);
}

#[test]
fn dma_18_the_interrupt_window_is_never_mapped() {
    use address::Iova;
    use paging::{Access, MapError, Rights};
    let (unit, mut frames) = enabled(CAPABILITY, EXTENDED);
    let mut domain = table(&unit, &mut frames);
    let access = Access::ram(Rights::READ | Rights::WRITE);
    let mock = &unit.hardware;
    let window = Iova::new(0xfee0_0000);
    let refused = domain.map_pages(mock, &mut frames, window, &[1], access);
    assert_eq!(refused, (0, Err(MapError::OutOfRange)));
    let low = Iova::new(0);
    let all = domain.map_range(mock, &mut frames, low, Spa::new(0), 1 << 20, access);
    assert_eq!(all, (0, Err(MapError::OutOfRange)));
    let onto = domain.map_range(mock, &mut frames, low, Spa::new(0xfee0_0000), 1, access);
    assert_eq!(onto, (0, Err(MapError::Target)));
    let below = domain.map_range(mock, &mut frames, low, Spa::new(0), 0xfee00, access);
    assert_eq!(below, (0xfee00, Ok(())));
}
