use super::*;
use address::Spa;

/// A scope: type, enumeration id, start bus, path.
type Scope<'a> = (u8, u8, u8, &'a [u8]);

pub(super) fn unit(base: u64, all: bool, scopes: &[Scope<'_>]) -> Vec<u8> {
    let mut bytes = Vec::from([0, 0, 0, 0, u8::from(all), 0, 0, 0]);
    bytes.extend(base.to_le_bytes());
    finish(bytes, scopes)
}

fn region(base: u64, limit: u64, scopes: &[Scope<'_>]) -> Vec<u8> {
    let mut bytes = Vec::from([1, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend(base.to_le_bytes());
    bytes.extend(limit.to_le_bytes());
    finish(bytes, scopes)
}

fn finish(mut bytes: Vec<u8>, scopes: &[Scope<'_>]) -> Vec<u8> {
    for (kind, number, bus, path) in scopes {
        bytes.extend([*kind, 6 + path.len() as u8, 0, 0, *number, *bus]);
        bytes.extend(*path);
    }
    let length = bytes.len() as u16;
    bytes[2..4].copy_from_slice(&length.to_le_bytes());
    bytes
}

pub(super) fn table(flags: u8, structures: &[Vec<u8>]) -> Vec<u8> {
    let body = structures.concat();
    let mut bytes = Vec::from(*b"DMAR");
    bytes.extend((48 + body.len() as u32).to_le_bytes());
    bytes.resize(36, 0);
    bytes.extend([47, flags]);
    bytes.resize(48, 0);
    bytes.extend(body);
    let sum = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    bytes[9] = sum.wrapping_neg();
    bytes
}

pub(super) fn covering_all() -> Vec<u8> {
    table(1, &[unit(0xfed9_0000, true, &[])])
}

/// An endpoint on the root bus, and one behind two bridges.
fn machine() -> Machine {
    let mut express = device(0x8086, 0x10c9);
    express.pcie(0, true);
    Machine::new()
        .with(id(0, 3, 0), express.clone())
        .with(id(0, 4, 0), port(4, 1, 2))
        .with(id(1, 0, 0), port(7, 2, 2))
        .with(id(2, 6, 0), express)
}

fn walk(table: &[u8]) -> Topology {
    discover(&mut machine(), [ALL], Some(&Dmar::parse(table).unwrap()))
}

fn unit_of(topology: &Topology, id: DeviceId) -> (Option<usize>, Option<Reason>) {
    let function = topology.function(id).unwrap();
    (function.unit, function.unassignable)
}

const NEAR: DeviceId = match DeviceId::new(0, 0, 3, 0) {
    Some(id) => id,
    None => panic!("not a device"),
};
const FAR: DeviceId = match DeviceId::new(0, 2, 6, 0) {
    Some(id) => id,
    None => panic!("not a device"),
};

#[test]
fn scopes_are_walked_through_bridges() {
    let topology = walk(&table(
        1,
        &[
            unit(
                0xfed9_0000,
                false,
                &[(1, 0, 0, &[3, 0]), (3, 0, 0xff, &[0, 0])],
            ),
            unit(0xfed9_1000, false, &[(1, 0, 0, &[4, 0, 0, 0, 6, 0])]),
        ],
    ));
    assert_eq!(unit_of(&topology, NEAR), (Some(0), None));
    assert_eq!(unit_of(&topology, FAR), (Some(1), None));
    let io_apic = topology.special(SpecialKind::IoApic, 0).unwrap();
    assert_eq!((io_apic.unit, io_apic.requester), (0, RequesterId(0xff00)));
    assert!(topology.problems.is_empty());
}

#[test]
fn a_named_hierarchy_and_the_rest_of_a_segment_are_covered() {
    let topology = walk(&table(
        1,
        &[
            unit(0xfed9_0000, false, &[(2, 0, 0, &[4, 0])]),
            unit(0xfed9_1000, true, &[]),
        ],
    ));
    assert_eq!(unit_of(&topology, FAR), (Some(0), None));
    assert_eq!(unit_of(&topology, NEAR), (Some(1), None));
}

#[test]
fn fw_03_what_no_unit_or_two_units_name_is_not_assignable() {
    let topology = walk(&table(
        1,
        &[unit(0xfed9_0000, false, &[(1, 0, 0, &[4, 0, 0, 0, 7, 0])])],
    ));
    assert_eq!(unit_of(&topology, NEAR), (None, Some(Reason::NotCovered)));
    assert_eq!(
        topology.problems,
        [Problem::ScopeLeadsNowhere {
            unit: 0,
            start_bus: 0
        }]
    );
    let named: &[Scope<'_>] = &[(1, 0, 0, &[3, 0])];
    let topology = walk(&table(
        1,
        &[
            unit(0xfed9_0000, false, named),
            unit(0xfed9_1000, false, named),
        ],
    ));
    assert_eq!(unit_of(&topology, NEAR), (None, Some(Reason::CoveredTwice)));
    // An endpoint scope that names a bridge covers nothing below it.
    let topology = walk(&table(
        1,
        &[unit(0xfed9_0000, false, &[(1, 0, 0, &[4, 0])])],
    ));
    assert_eq!(unit_of(&topology, FAR), (None, Some(Reason::NotCovered)));
    // A path through what is no bridge leads nowhere.
    let topology = walk(&table(
        1,
        &[unit(0xfed9_0000, false, &[(1, 0, 0, &[3, 0, 6, 0])])],
    ));
    assert_eq!(topology.problems.len(), 1);
}

#[test]
fn fw_03_an_ioapic_claimed_twice_belongs_to_nobody() {
    let scopes: &[Scope<'_>] = &[
        (3, 2, 0, &[0x1e, 0]),
        (3, 2, 0, &[0x1e, 1]),
        (4, 0, 0, &[0x1f, 0]),
    ];
    let topology = walk(&table(1, &[unit(0xfed9_0000, true, scopes)]));
    assert_eq!(topology.special(SpecialKind::IoApic, 2), None);
    assert!(topology.special(SpecialKind::Hpet, 0).is_some());
    let twice = Problem::SpecialTwice {
        kind: SpecialKind::IoApic,
        number: 2,
    };
    assert_eq!(topology.problems, [twice]);
}

#[test]
fn fw_02_units_with_one_register_block_are_both_refused() {
    let named: &[Scope<'_>] = &[(1, 0, 0, &[3, 0])];
    let topology = walk(&table(
        1,
        &[
            unit(0xfed9_0000, false, named),
            unit(0xfed9_0000, true, &[]),
        ],
    ));
    assert!(topology.units.iter().all(|unit| unit.refused));
    assert_eq!(unit_of(&topology, NEAR).1, Some(Reason::UnitTwice));
}

#[test]
fn fw_04_devices_with_reserved_memory_are_refused_however_the_range_looks() {
    for (base, limit, sound) in [
        (0x9000, 0x9fff, true),
        (0x9fff, 0x9000, false),
        (0, u64::MAX, false),
    ] {
        let structures = [
            unit(0xfed9_0000, true, &[]),
            region(base, limit, &[(2, 0, 0, &[4, 0])]),
        ];
        let topology = walk(&table(1, &structures));
        assert_eq!(
            unit_of(&topology, FAR),
            (Some(0), Some(Reason::ReservedMemory))
        );
        assert_eq!(unit_of(&topology, NEAR), (Some(0), None));
        assert_eq!(topology.reserved[0].range.is_some(), sound);
        assert!(
            topology.reserved[0]
                .owners
                .contains(&topology.find(FAR).unwrap())
        );
    }
}

#[test]
fn fw_01_a_malformed_table_or_no_remapping_ends_all_assignment() {
    let mut broken = unit(0xfed9_0000, true, &[(1, 0, 0, &[3, 0])]);
    broken.extend([1, 0, 0, 0]);
    let topology = walk(&table(1, &[broken]));
    assert_eq!(
        unit_of(&topology, NEAR),
        (Some(0), Some(Reason::MalformedTable))
    );
    let topology = walk(&table(0, &[unit(0xfed9_0000, true, &[])]));
    assert_eq!(
        unit_of(&topology, NEAR),
        (Some(0), Some(Reason::NoInterruptRemapping))
    );
    let mut topology = walk(&covering_all());
    assert_eq!(unit_of(&topology, NEAR), (Some(0), None));
    topology.refuse(Some(0), Reason::UnitFailed);
    assert_eq!(
        unit_of(&topology, NEAR),
        (Some(0), Some(Reason::UnitFailed))
    );
}

#[test]
fn fw_04_a_range_that_is_not_firmwares_is_nobodys_and_its_device_stays_refused() {
    let scopes: &[Scope<'_>] = &[(2, 0, 0, &[4, 0])];
    let structures = [
        unit(0xfed9_0000, true, &[]),
        region(0x9000, 0x9fff, scopes),
        region(0xa000, 0xbfff, scopes),
        region(0xd000, 0xc000, scopes),
    ];
    let mut topology = walk(&table(1, &structures));
    let told = topology.problems.len();
    topology.judge_reserved(|start, bytes| (start.as_u64(), bytes) == (0x9000, 0x1000));
    let ranges: Vec<_> = topology.reserved.iter().map(|it| it.range).collect();
    assert_eq!(ranges, [Some((Spa::new(0x9000), 0x1000)), None, None]);
    assert!(topology.reserved.iter().all(|it| it.read && it.write));
    let problem = Problem::Reserved {
        start: Spa::new(0xa000),
        bytes: 0x2000,
    };
    assert_eq!(topology.problems[told..], [problem]);
    assert_eq!(
        unit_of(&topology, FAR),
        (Some(0), Some(Reason::ReservedMemory))
    );
    // More than are looked at: the first ones stay.
    let mut structures = std::vec![unit(0xfed9_0000, true, &[])];
    structures.extend((0..64).map(|_| region(0x9000, 0x9fff, scopes)));
    let mut topology = walk(&table(1, &structures));
    topology.judge_reserved(|_, _| true);
    let kept = topology.reserved.iter().take_while(|it| it.range.is_some());
    assert_eq!(kept.count(), MOST_RESERVED);
    assert_eq!(topology.problems.len(), 64 - MOST_RESERVED);
}
