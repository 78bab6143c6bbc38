use super::*;
use crate::testing::table;
extern crate std;
use address::{RequesterId, Spa};
use std::vec::Vec;

fn block(kind: u8, flags: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::from([kind, flags, 0, 0]);
    bytes.extend(rest);
    let length = bytes.len() as u16;
    bytes[2..4].copy_from_slice(&length.to_le_bytes());
    bytes
}

fn unit(kind: u8, function: u16, base: u64, features: u64, entries: &[u8]) -> Vec<u8> {
    let mut rest = Vec::from(function.to_le_bytes());
    rest.extend(0x40u16.to_le_bytes());
    rest.extend(base.to_le_bytes());
    rest.extend([1, 0, 0, 0, 0, 0, 0, 0]);
    if kind != 0x10 {
        rest.extend(features.to_le_bytes());
        rest.extend(0u64.to_le_bytes());
    }
    rest.extend(entries);
    block(kind, 0, &rest)
}

fn memory(kind: u8, flags: u8, ids: (u16, u16), base: u64, bytes: u64) -> Vec<u8> {
    let mut rest = Vec::from(ids.0.to_le_bytes());
    rest.extend(ids.1.to_le_bytes());
    rest.extend([0; 8]);
    rest.extend(base.to_le_bytes());
    rest.extend(bytes.to_le_bytes());
    block(kind, flags, &rest)
}

fn ivrs(blocks: &[Vec<u8>]) -> Vec<u8> {
    let mut body = Vec::from([0; 12]);
    body.extend(blocks.concat());
    table(b"IVRS", 2, &body)
}

const BASE: u64 = 0xfed8_0000;

fn entries(bytes: &[u8]) -> Vec<Result<Entry, Error>> {
    let bytes = ivrs(&[unit(0x10, 0x10, BASE, 0, bytes)]);
    let table = Ivrs::parse(&bytes).unwrap();
    let unit = table.units().next().unwrap().unwrap();
    unit.devices.collect()
}

fn devices(first: u16, last: u16, alias: Option<u16>) -> Result<Entry, Error> {
    Ok(Entry::Devices {
        first: RequesterId(first),
        last: RequesterId(last),
        alias: alias.map(RequesterId),
    })
}

#[test]
fn a_unit_of_each_type_is_read() {
    for (kind, wanted) in [
        (0x10, Kind::Basic),
        (0x11, Kind::Extended),
        (0x40, Kind::Namespace),
    ] {
        let bytes = ivrs(&[unit(kind, 0x10, BASE, 1 << 9, &[1, 0, 0, 0])]);
        let table = Ivrs::parse(&bytes).unwrap();
        assert_eq!(table.check(), Ok(()));
        let unit = table.units().next().unwrap().unwrap();
        assert_eq!(unit.kind, wanted);
        assert_eq!((unit.segment, unit.function), (1, RequesterId(0x10)));
        assert_eq!((unit.base, unit.capability), (Spa::new(BASE), 0x40));
        let counters = kind != 0x10;
        assert_eq!(unit.register_bytes == 0x8_0000, counters);
        assert_eq!(unit.devices.count(), 1);
    }
}

#[test]
fn every_kind_of_device_entry_is_read() {
    let found = entries(&[
        1, 0, 0, 0, // all
        2, 0x18, 0, 0xd7, // select
        3, 0x20, 0, 0, 4, 0x2f, 0, 0, // range
        0x42, 0x00, 0x02, 0, 0, 0xff, 0x01, 0, // alias select
        0x43, 0x00, 0x03, 0, 0, 0x00, 0x03, 0, 4, 0xff, 0x03, 0, // alias range
        0x46, 0x30, 0, 0, 0, 0, 0, 0x80, // extended select
        0x47, 0x38, 0, 0, 0, 0, 0, 0, 4, 0x3f, 0, 0, // extended range
        0x48, 0, 0, 0xd7, 2, 0xa0, 0, 1, // IOAPIC 2 at 00:14.0
        0x48, 0, 0, 0, 0, 0xa0, 0, 2, // HPET
        0x48, 0, 0, 0, 0, 0xa0, 0, 9, // something else
        0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, // padding
    ]);
    let special = |kind, handle| {
        Ok(Entry::Special {
            kind,
            handle,
            requester: RequesterId(0xa0),
        })
    };
    assert_eq!(
        found,
        [
            devices(0, 0xffff, None),
            devices(0x18, 0x18, None),
            devices(0x20, 0x2f, None),
            devices(0x200, 0x200, Some(0x1ff)),
            devices(0x300, 0x3ff, Some(0x300)),
            devices(0x30, 0x30, None),
            devices(0x38, 0x3f, None),
            special(SpecialKind::IoApic, 2),
            special(SpecialKind::Hpet, 0),
            special(SpecialKind::Other(9), 0),
        ]
    );
}

#[test]
fn fw_05_devices_of_the_namespace_have_a_length_of_their_own() {
    for uid in [0usize, 1, 5, 255] {
        let mut bytes = Vec::from([0xf0, 0xa5, 0, 0]);
        bytes.extend(b"AMDI0020");
        bytes.extend([0; 8]);
        bytes.extend([2, uid as u8]);
        bytes.resize(bytes.len() + uid, b'x');
        bytes.extend([2, 0x18, 0, 0]);
        let found = entries(&bytes);
        let named = Ok(Entry::Namespace {
            requester: RequesterId(0xa5),
            hid: *b"AMDI0020",
        });
        assert_eq!(found, [named, devices(0x18, 0x18, None)]);
        let cut = entries(&bytes[..21 + uid]);
        assert!(matches!(cut[..], [Err(_)]), "{cut:?}");
    }
}

#[test]
fn fw_05_ranges_that_do_not_end_or_are_reversed_end_the_walk() {
    let wrong: [&[u8]; 7] = [
        &[3, 0x20, 0, 0],
        &[3, 0x20, 0, 0, 2, 0x28, 0, 0],
        &[3, 0x20, 0, 0, 4, 0x1f, 0, 0],
        &[4, 0x20, 0, 0],
        &[0x43, 0, 2, 0, 0, 0, 1, 0, 4, 0xff, 0x01, 0],
        &[0x47, 0, 2, 0, 0, 0, 1, 0],
        &[0xf1, 0, 0, 0],
    ];
    for bytes in wrong {
        let mut all = Vec::from([2, 0x18, 0, 0]);
        all.extend(bytes);
        all.extend([2, 0x18, 0, 0]);
        let found = entries(&all);
        assert!(found[0].is_ok() && found[1].is_err(), "{bytes:?}");
        assert_eq!(found.len(), 2);
        let bytes = ivrs(&[unit(0x10, 0x10, BASE, 0, &all)]);
        assert!(Ivrs::parse(&bytes).unwrap().check().is_err());
    }
}

#[test]
fn fw_05_entries_cut_at_any_byte_are_errors() {
    for whole in [
        &[2, 0x18, 0, 0][..],
        &[0x42, 0, 2, 0, 0, 0, 1, 0],
        &[0x80; 16],
        &[0xc0; 32],
    ] {
        for end in 1..whole.len() {
            assert!(matches!(entries(&whole[..end])[..], [Err(_)]), "{whole:?}");
        }
    }
}

#[test]
fn fw_05_the_richest_block_of_a_unit_wins() {
    let poor = unit(0x10, 0x10, BASE, 0, &[1, 0, 0, 0]);
    let rich = unit(0x11, 0x10, BASE, 0, &[2, 0x18, 0, 0]);
    let richest = unit(0x40, 0x10, BASE, 0, &[2, 0x20, 0, 0]);
    let other = unit(0x10, 0x11, BASE + 0x8_0000, 0, &[]);
    for blocks in [
        [poor.clone(), rich.clone(), richest.clone(), other.clone()],
        [richest, other, rich, poor],
    ] {
        let bytes = ivrs(&blocks);
        let table = Ivrs::parse(&bytes).unwrap();
        assert_eq!(table.check(), Ok(()));
        let mut kinds: Vec<_> = table.units().map(|it| it.unwrap().kind).collect();
        kinds.sort_unstable();
        assert_eq!(kinds, [Kind::Basic, Kind::Namespace]);
    }
}

#[test]
fn fw_05_descriptions_of_one_unit_that_name_different_registers_are_refused() {
    let bytes = ivrs(&[
        unit(0x10, 0x10, BASE, 0, &[]),
        unit(0x11, 0x10, BASE + 0x4000, 0, &[]),
    ]);
    let table = Ivrs::parse(&bytes).unwrap();
    assert!(matches!(table.check(), Err(Error::Duplicate { .. })));
}

#[test]
fn fw_05_units_at_impossible_addresses_are_refused() {
    for base in [0, BASE + 0x1000, !0x3fff] {
        let bytes = ivrs(&[unit(0x10, 0x10, base, 0, &[])]);
        let table = Ivrs::parse(&bytes).unwrap();
        assert!(matches!(
            table.units().next(),
            Some(Err(Error::Address { .. }))
        ));
        assert!(table.check().is_err());
    }
}

#[test]
fn fw_05_blocks_of_any_wrong_length_end_the_walk() {
    for (kind, minimum) in [(0x10, 24), (0x11, 40), (0x40, 40), (0x20, 32), (0x22, 32)] {
        for length in 0..minimum {
            let mut bytes = Vec::from([kind, 0, length, 0]);
            bytes.resize(usize::from(length.max(4)), 0);
            let bytes = ivrs(&[bytes, unit(0x10, 0x10, BASE, 0, &[])]);
            let table = Ivrs::parse(&bytes).unwrap();
            let found: Vec<_> = table.structures().collect();
            assert!(
                matches!(found[..], [Err(Error::RecordLength { .. })]),
                "type {kind:#x} length {length}"
            );
            assert!(table.check().is_err());
        }
    }
}

#[test]
fn fw_05_more_units_than_any_machine_has_end_the_walk() {
    let blocks: Vec<_> = (0..200).map(|id| unit(0x10, id, BASE, 0, &[])).collect();
    let bytes = ivrs(&blocks);
    let table = Ivrs::parse(&bytes).unwrap();
    assert!(matches!(table.check(), Err(Error::TooMany { .. })));
    assert_eq!(table.structures().count(), MOST_UNITS + 1);
}

#[test]
fn fw_05_reserved_memory_of_every_type() {
    let bytes = ivrs(&[
        memory(0x20, 0b0111, (1, 2), 0x1000, 0x2000),
        memory(0x21, 0b0011, (0x18, 9), 0x3000, 0x1000),
        memory(0x21, 0b0101, (0x19, 9), 0x3000, 0x1000),
        memory(0x21, 0b0110, (0x1a, 9), 0x3000, 0x1000),
        memory(0x22, 0b1000, (0x20, 0x2f), 0x4000, 0x1000),
        block(0x99, 0, &[1, 2, 3]),
    ]);
    let table = Ivrs::parse(&bytes).unwrap();
    assert_eq!(table.check(), Ok(()));
    let found: Vec<_> = table
        .structures()
        .filter_map(|it| match it.unwrap() {
            Structure::Ivmd(it) => Some((it.first.0, it.last.0, it.read, it.write, it.range())),
            _ => None,
        })
        .collect();
    let range = |base, bytes| Ok((Spa::new(base), bytes));
    assert_eq!(
        found,
        [
            (0, 0xffff, true, true, range(0x1000, 0x2000)),
            (0x18, 0x18, true, false, range(0x3000, 0x1000)),
            (0x19, 0x19, false, true, range(0x3000, 0x1000)),
            // Rights without the flag that there is a mapping.
            (0x1a, 0x1a, false, false, range(0x3000, 0x1000)),
            (0x20, 0x2f, true, true, range(0x4000, 0x1000)),
        ]
    );
}

#[test]
fn fw_05_reserved_memory_that_is_nonsense_still_names_its_devices() {
    for (base, bytes) in [
        (0x1000, 0),
        (0x1001, 0x1000),
        (0x1000, 0xfff),
        (!0xfff, 0x2000),
    ] {
        let bytes = ivrs(&[memory(0x21, 1, (0x18, 0), base, bytes)]);
        let table = Ivrs::parse(&bytes).unwrap();
        let Some(Ok(Structure::Ivmd(found))) = table.structures().next() else {
            panic!("no memory")
        };
        assert!(found.range().is_err());
        assert_eq!(found.first, RequesterId(0x18));
    }
    let reversed = ivrs(&[memory(0x22, 1, (0x20, 0x1f), 0x1000, 0x1000)]);
    assert!(Ivrs::parse(&reversed).unwrap().check().is_err());
}
