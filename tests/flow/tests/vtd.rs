//! What the tables of this dialect hold, bit by bit, as a walker reads them.

use flow::*;

type Machine = World<VtdArm>;

#[test]
fn dma_09_contexts_block_translated_requests_and_pass_nothing_through() {
    let mut world = Machine::new(Traits::default());
    assert!(world.units[0].contexts().is_empty() && world.units[1].contexts().is_empty());
    world.give(A, P).unwrap();
    world.give(FAR, Q).unwrap();
    for unit in &world.units {
        let contexts = unit.contexts();
        assert_eq!(contexts.len(), 1);
        for (_, low, high) in contexts {
            assert_eq!(
                low >> 2 & 3,
                0,
                "untranslated requests through second-stage tables"
            );
            assert_eq!(low & 0xff0, 0);
            assert_eq!(high & 7, 2, "four levels");
            assert_ne!(
                high >> 8 & 0xffff,
                0,
                "domain 0 is the unit's own in caching mode"
            );
        }
    }
    assert_eq!(world.units[0].contexts()[0].0, A.requester.0);
    world.take(A, P).unwrap();
    assert!(world.units[0].contexts().is_empty());
}

#[test]
fn int_03_entries_verify_their_source() {
    let mut world = Machine::new(Traits::default());
    world.devices.declare_reset(OTHER).unwrap();
    world.give(TWIN, Q).unwrap();
    world.give(A, P).unwrap();
    world.message(A, P, target(0, 1, 0x41)).unwrap();
    world.message(TWIN, Q, target(0, 1, 0x41)).unwrap();
    let entries = world.units[0].entries();
    assert_eq!(entries.len(), 2);
    for (_, low, high) in &entries {
        assert_eq!(
            low & 0xffff & !1,
            0,
            "fixed, physical, edge, not posted, faults recorded"
        );
        assert_eq!(low >> 32, 0x1000);
        assert_eq!(high >> 16 & 3, 0, "all bits of the source are compared");
    }
    let mut sources: Vec<u64> = entries.iter().map(|it| it.2).collect();
    sources.sort_unstable();
    assert_eq!(
        sources,
        [1 << 18 | u64::from(A.requester.0), 2 << 18 | 0x0202]
    );
}
