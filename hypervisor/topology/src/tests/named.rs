//! FW-05: units that name ids by ranges.

use super::*;
use firmware::ivrs::Ivrs;

const BASE: u64 = 0xfed8_0000;
const UNIT: DeviceId = match DeviceId::new(0, 0, 2, 0) {
    Some(id) => id,
    None => panic!("not a device"),
};
/// Bits of the capability header: type 3, id 0Fh; and that absent entries are cached.
const HEADER: u32 = 3 << 16 | 0xf;
const CACHES_ABSENT: u32 = 1 << 26;

fn unit(kind: u8, function: u16, base: u64, entries: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::from([kind, 0, 0, 0]);
    bytes.extend(function.to_le_bytes());
    bytes.extend(0x40u16.to_le_bytes());
    bytes.extend(base.to_le_bytes());
    bytes.resize(if kind == 0x10 { 24 } else { 40 }, 0);
    bytes.extend(entries);
    let length = bytes.len() as u16;
    bytes[2..4].copy_from_slice(&length.to_le_bytes());
    bytes
}

fn memory(kind: u8, flags: u8, first: u16, last: u16, base: u64) -> Vec<u8> {
    let mut bytes = Vec::from([kind, flags, 32, 0]);
    bytes.extend(first.to_le_bytes());
    bytes.extend(last.to_le_bytes());
    bytes.resize(16, 0);
    bytes.extend(base.to_le_bytes());
    bytes.extend(0x1000u64.to_le_bytes());
    bytes
}

fn table(blocks: &[Vec<u8>]) -> Vec<u8> {
    let body = blocks.concat();
    let mut bytes = Vec::from(*b"IVRS");
    bytes.extend((48 + body.len() as u32).to_le_bytes());
    bytes.resize(48, 0);
    bytes.extend(body);
    let sum = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    bytes[9] = sum.wrapping_neg();
    bytes
}

/// Two endpoints on the root bus, one behind a port, and the unit's own function.
fn machine() -> Machine {
    let mut express = device(0x8086, 0x10c9);
    express.pcie(0, true);
    let mut own = device(0x1022, 0x1419);
    let mut body = [0; 18];
    body[..2].copy_from_slice(&((HEADER | CACHES_ABSENT) >> 16).to_le_bytes()[..2]);
    own.capability(0x40, 0xf, &body);
    own.allow(0x44, !0x3fff | 1);
    own.allow(0x48, u32::MAX);
    Machine::new()
        .with(UNIT, own)
        .with(id(0, 3, 0), express.clone())
        .with(id(0, 4, 0), port(4, 1, 1))
        .with(id(0, 5, 0), express.clone())
        .with(id(1, 0, 0), express)
}

fn walk_on(machine: &mut Machine, blocks: &[Vec<u8>]) -> Topology {
    let bytes = table(blocks);
    let ivrs = Ivrs::parse(&bytes).unwrap();
    discover(machine, [ALL], Remapping::Ivrs(&ivrs))
}

fn walk(blocks: &[Vec<u8>]) -> Topology {
    walk_on(&mut machine(), blocks)
}

fn of(topology: &Topology, id: DeviceId) -> (Option<usize>, Option<Reason>) {
    let function = topology.function(id).unwrap();
    (function.unit, function.unassignable)
}

const EVERYTHING: [u8; 4] = [1, 0, 0, 0];

#[test]
fn ids_named_one_by_one_by_range_or_all_at_once_are_covered() {
    let all = walk(&[unit(0x10, 0x10, BASE, &EVERYTHING)]);
    for id in [id(0, 3, 0), id(0, 5, 0), id(1, 0, 0)] {
        assert_eq!(of(&all, id), (Some(0), None));
    }
    let some = walk(&[unit(
        0x11,
        0x10,
        BASE,
        &[2, 0x18, 0, 0, 3, 0, 1, 0, 4, 0xff, 1, 0],
    )]);
    assert_eq!(of(&some, id(0, 3, 0)), (Some(0), None));
    assert_eq!(of(&some, id(1, 0, 0)), (Some(0), None));
    assert_eq!(of(&some, id(0, 5, 0)), (None, Some(Reason::NotCovered)));
    let unit = some.units[0];
    assert_eq!(unit.kind, UnitKind::DeviceTable);
    assert_eq!((unit.base.as_u64(), unit.register_bytes), (BASE, 0x4000));
}

#[test]
fn fw_05_the_units_own_function_is_never_assignable_and_is_switched_on() {
    let mut machine = machine();
    let topology = walk_on(&mut machine, &[unit(0x10, 0x10, BASE, &EVERYTHING)]);
    assert_eq!(of(&topology, UNIT).1, Some(Reason::Iommu));
    assert!(topology.units[0].caches_absent);
    let own = machine.space(UNIT);
    assert_eq!((own.get32(0x44), own.get32(0x48)), (BASE as u32 | 1, 0));
    assert_eq!(own.get16(4) & 4, 4);
}

#[test]
fn fw_05_a_capability_that_is_none_is_left_alone() {
    for offset in [0, 0x10, 0x42, 0x70, 0xf0, 0x100, 0xfffc] {
        let mut machine = machine();
        let before = machine.clone();
        let mut bytes = unit(0x10, 0x10, BASE, &EVERYTHING);
        bytes[6..8].copy_from_slice(&u16::to_le_bytes(offset));
        let topology = walk_on(&mut machine, &[bytes]);
        assert!(
            topology.units[0].caches_absent,
            "what is not known is assumed"
        );
        assert_eq!(machine.space(UNIT).get32(0x44), 0, "{offset:#x}");
        assert_eq!(before.spaces.len(), machine.spaces.len());
    }
}

#[test]
fn fw_05_an_alias_is_an_id_of_the_function_and_joins_groups() {
    let apart = walk(&[unit(0x10, 0x10, BASE, &EVERYTHING)]);
    let group = |topology: &Topology, id| topology.function(id).unwrap().group;
    assert_ne!(group(&apart, id(0, 3, 0)), group(&apart, id(0, 5, 0)));
    let mut entries = Vec::from(EVERYTHING);
    entries.extend([0x42, 0x18, 0, 0, 0, 0x29, 0, 0]);
    entries.extend([0x43, 0x28, 0, 0, 0, 0x29, 0, 0, 4, 0x28, 0, 0]);
    let topology = walk(&[unit(0x10, 0x10, BASE, &entries)]);
    let alias = RequesterRange::single(RequesterId(0x29));
    for id in [id(0, 3, 0), id(0, 5, 0)] {
        let function = topology.function(id).unwrap();
        assert!(function.aliases.contains(&alias));
        assert_eq!(function.aliases[0].first, id.requester);
        assert_eq!(function.interrupt_source, alias);
        assert_eq!(function.unassignable, None);
    }
    assert_eq!(group(&topology, id(0, 3, 0)), group(&topology, id(0, 5, 0)));
}

#[test]
fn fw_05_an_id_or_an_alias_that_two_units_name_is_not_assignable() {
    let topology = walk(&[
        unit(0x10, 0x10, BASE, &[2, 0x18, 0, 0, 2, 0x28, 0, 0]),
        unit(0x10, 0x11, BASE + 0x4000, &[2, 0x18, 0, 0]),
    ]);
    let twice = (None, Some(Reason::CoveredTwice));
    assert_eq!(of(&topology, id(0, 3, 0)), twice);
    assert_eq!(of(&topology, id(0, 5, 0)), (Some(0), None));
    let alias = walk(&[
        unit(0x10, 0x10, BASE, &[0x42, 0x18, 0, 0, 0, 0x40, 0, 0]),
        unit(0x10, 0x11, BASE + 0x4000, &[2, 0x40, 0, 0]),
    ]);
    assert_eq!(of(&alias, id(0, 3, 0)), twice);
}

#[test]
fn fw_05_reserved_memory_of_either_kind_keeps_its_devices_from_assignment() {
    for (kind, flags) in [(0x21, 0b0111), (0x21, 0b1000), (0x22, 0b0001)] {
        let topology = walk(&[
            unit(0x10, 0x10, BASE, &EVERYTHING),
            memory(kind, flags, 0x18, 0x1f, 0x7000_0000),
        ]);
        let function = topology.function(id(0, 3, 0)).unwrap();
        assert!(function.rmrr);
        assert_eq!(function.unassignable, Some(Reason::ReservedMemory));
        assert_eq!(of(&topology, id(0, 5, 0)), (Some(0), None));
        assert_eq!(topology.reserved.len(), 1);
    }
    let all = walk(&[
        unit(0x10, 0x10, BASE, &EVERYTHING),
        memory(0x20, 1, 0, 0, 0x7000_0000),
    ]);
    let reserved = Some(Reason::ReservedMemory);
    assert_eq!(of(&all, id(1, 0, 0)), (Some(0), reserved));
}

#[test]
fn fw_05_specials_of_two_units_belong_to_neither() {
    let io_apic = [0x48, 0, 0, 0, 2, 0xa0, 0, 1];
    let entries = [&EVERYTHING[..], &io_apic].concat();
    let topology = walk(&[unit(0x10, 0x10, BASE, &entries)]);
    let found = topology.special(SpecialKind::IoApic, 2).unwrap();
    assert_eq!((found.unit, found.requester), (0, RequesterId(0xa0)));
    let twice = walk(&[
        unit(0x10, 0x10, BASE, &entries),
        unit(0x10, 0x11, BASE + 0x4000, &io_apic),
    ]);
    assert_eq!(twice.special(SpecialKind::IoApic, 2), None);
}

#[test]
fn fw_05_units_that_share_registers_are_refused() {
    let topology = walk(&[
        unit(0x10, 0x10, BASE, &[2, 0x18, 0, 0]),
        unit(0x10, 0x11, BASE, &[2, 0x28, 0, 0]),
    ]);
    assert!(topology.units.iter().all(|unit| unit.refused));
    assert_eq!(of(&topology, id(0, 3, 0)).1, Some(Reason::UnitTwice));
}

#[test]
fn fw_05_a_malformed_table_lets_nobody_go() {
    let topology = walk(&[
        unit(0x10, 0x10, BASE, &[2, 0x18, 0, 0]),
        unit(0x10, 0x11, BASE + 0x4000, &[3, 0x28, 0, 0]),
    ]);
    let malformed = Some(Reason::MalformedTable);
    assert_eq!(of(&topology, id(0, 3, 0)), (Some(0), malformed));
    assert_eq!(topology.units.len(), 2);
}

#[test]
fn fw_05_other_segments_are_another_story() {
    let mut elsewhere = unit(0x10, 0x10, BASE, &EVERYTHING);
    elsewhere[16] = 1;
    let topology = walk(&[elsewhere]);
    assert_eq!(of(&topology, id(0, 3, 0)).0, None);
    assert_eq!(topology.units[0].segment, 1);
}

#[test]
fn fw_05_rights_of_reserved_memory_are_those_of_its_flags() {
    for (flags, rights) in [
        (0b0111, Some((true, true))),
        (0b0011, Some((true, false))),
        (0b0101, Some((false, true))),
        (0b1000, Some((true, true))),
        // Nothing is wished for: there is nothing to keep, and nothing to assign.
        (0b0001, None),
        (0b0110, None),
        (0, None),
    ] {
        let topology = walk(&[
            unit(0x10, 0x10, BASE, &EVERYTHING),
            memory(0x21, flags, 0x18, 0, 0x7000_0000),
        ]);
        let found = &topology.reserved[0];
        let kept = found.range.map(|_| (found.read, found.write));
        assert_eq!(kept, rights, "{flags:#b}");
        assert_eq!(of(&topology, id(0, 3, 0)).1, Some(Reason::ReservedMemory));
        assert_eq!(of(&topology, id(0, 5, 0)).1, None);
    }
}
