use super::*;
use crate::testing::table;
extern crate std;
use address::Spa;
use std::vec::Vec;

const UNIT: [u8; 16] = [0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0xd9, 0xfe, 0, 0, 0, 0];

fn structure(fixed: &[u8], rest: &[u8]) -> Vec<u8> {
    let mut bytes = [fixed, rest].concat();
    let length = bytes.len() as u16;
    bytes[2..4].copy_from_slice(&length.to_le_bytes());
    bytes
}

fn dmar(structures: &[Vec<u8>]) -> Vec<u8> {
    let mut body = Vec::from([47, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    body.extend(structures.concat());
    table(b"DMAR", 1, &body)
}

fn rmrr(base: u64, limit: u64) -> Vec<u8> {
    let mut fixed = Vec::from([1, 0, 0, 0, 0, 0, 0, 0]);
    fixed.extend(base.to_le_bytes());
    fixed.extend(limit.to_le_bytes());
    structure(&fixed, &[1, 8, 0, 0, 0, 0, 0x1d, 0])
}

/// What QEMU's intel-iommu shows: no INCLUDE_PCI_ALL, the IOAPIC at ff:00.0, endpoints and bridges of bus 0.
fn emulated() -> Vec<u8> {
    let scopes = [
        &[3, 8, 0, 0, 0, 0xff, 0, 0][..],
        &[1, 8, 0, 0, 0, 0, 0, 0],
        &[2, 8, 0, 0, 0, 0, 3, 0],
        &[1, 10, 0, 0, 0, 0, 0x1c, 7, 2, 1],
    ]
    .concat();
    dmar(&[
        structure(&UNIT, &scopes),
        structure(&[2, 0, 0, 0, 1, 0, 0, 0], &[]),
    ])
}

#[test]
fn the_table_of_an_emulated_machine_is_read() {
    let bytes = emulated();
    let dmar = Dmar::parse(&bytes).unwrap();
    assert_eq!(dmar.host_address_width(), 48);
    assert!(dmar.interrupt_remapping());
    assert!(!dmar.x2apic_opt_out() && !dmar.dma_protection_opt_in());
    assert_eq!(dmar.check(), Ok(()));
    let unit = dmar.units().next().unwrap().unwrap();
    assert_eq!(unit.base, Spa::new(0xfed9_0000));
    assert_eq!(
        (unit.include_all, unit.segment, unit.register_bytes),
        (false, 0, 4096)
    );
    let scopes: Vec<_> = unit.scopes.map(|s| s.unwrap()).collect();
    assert_eq!(
        (scopes[0].kind, scopes[0].start_bus),
        (ScopeKind::IoApic, 0xff)
    );
    assert_eq!(scopes[2].kind, ScopeKind::SubHierarchy);
    let path: Vec<_> = scopes[3].path().map(|s| (s.device, s.function)).collect();
    assert_eq!(path, [(0x1c, 7), (2, 1)]);
    assert_eq!(scopes[3].path().next_back().unwrap().on(5).0, 0x511);
    assert!(matches!(
        dmar.structures().last(),
        Some(Ok(Structure::Atsr(Atsr {
            all_ports: true,
            ..
        })))
    ));
}

#[test]
fn namespace_devices_and_affinity_are_read_over() {
    let andd = structure(&[4, 0, 0, 0, 0, 0, 0, 3], b"\\_SB.I2C0\0\0");
    let rhsa = structure(
        &[
            3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xd9, 0xfe, 0, 0, 0, 0, 0, 0, 0, 0,
        ],
        &[],
    );
    let unknown = structure(&[9, 0, 0, 0], &[1, 2, 3]);
    let bytes = dmar(&[andd, rhsa, unknown, structure(&UNIT, &[])]);
    let found: Vec<_> = Dmar::parse(&bytes)
        .unwrap()
        .structures()
        .map(|s| s.unwrap())
        .collect();
    assert!(matches!(
        found[0],
        Structure::Andd(Andd {
            device_number: 3,
            name: b"\\_SB.I2C0"
        })
    ));
    assert!(matches!(
        found[1..],
        [Structure::Rhsa, Structure::Other(9), Structure::Drhd(_)]
    ));
}

#[test]
fn fw_01_structures_of_any_wrong_length_end_the_walk() {
    for (kind, minimum) in [(0u8, 16u8), (1, 24), (2, 8), (3, 20), (4, 8)] {
        for length in 0..minimum {
            let mut bytes = Vec::from([kind, 0, length, 0]);
            bytes.resize(usize::from(length.max(4)), 0);
            let bytes = dmar(&[bytes, structure(&UNIT, &[])]);
            let dmar = Dmar::parse(&bytes).unwrap();
            let found: Vec<_> = dmar.structures().collect();
            assert!(
                matches!(found[..], [Err(Error::RecordLength { .. })]),
                "type {kind} length {length}"
            );
            assert!(dmar.check().is_err());
        }
    }
}

#[test]
fn fw_02_units_at_impossible_addresses_are_refused() {
    for base in [0u64, 0xfed9_0800, !0xfff] {
        let mut fixed = UNIT;
        fixed[8..].copy_from_slice(&base.to_le_bytes());
        let bytes = dmar(&[structure(&fixed, &[])]);
        let unit = Dmar::parse(&bytes).unwrap().units().next().unwrap();
        assert!(matches!(unit, Err(Error::Address { .. })), "{base:#x}");
    }
}

#[test]
fn fw_03_paths_that_are_odd_empty_or_out_of_range_are_errors() {
    let wrong: [&[u8]; 6] = [
        &[1, 7, 0, 0, 0, 0, 3],
        &[1, 6, 0, 0, 0, 0],
        &[1, 9, 0, 0, 0, 0, 3, 0, 1],
        &[1, 8, 0, 0, 0, 0, 32, 0],
        &[1, 8, 0, 0, 0, 0, 0, 8],
        &[1, 5, 0, 0, 0],
    ];
    let sound: &[u8] = &[1, 8, 0, 0, 0, 0, 31, 7];
    for scope in wrong {
        let bytes = dmar(&[structure(&UNIT, &[sound, scope, sound].concat())]);
        let dmar = Dmar::parse(&bytes).unwrap();
        let found: Vec<_> = dmar.units().next().unwrap().unwrap().scopes.collect();
        assert!(matches!(found[..], [Ok(_), Err(_)]), "{scope:?}");
        assert!(dmar.check().is_err());
    }
}

#[test]
fn fw_04_reserved_ranges_that_are_reversed_or_unaligned_still_name_their_devices() {
    for (base, limit) in [
        (0x9000, 0x8fff),
        (0x9000, 0x8000),
        (0x9001, 0x9fff),
        (0x9000, 0x9ffe),
        (0, u64::MAX),
    ] {
        let bytes = dmar(&[rmrr(base, limit)]);
        let dmar = Dmar::parse(&bytes).unwrap();
        let Some(Ok(Structure::Rmrr(found))) = dmar.structures().next() else {
            panic!("no region")
        };
        assert!(found.range().is_err(), "{base:#x} {limit:#x}");
        assert_eq!(found.scopes.count(), 1);
    }
    let bytes = dmar(&[rmrr(0x9000, 0xafff)]);
    let dmar = Dmar::parse(&bytes).unwrap();
    assert_eq!(dmar.check(), Ok(()));
    let Some(Ok(Structure::Rmrr(found))) = dmar.structures().next() else {
        panic!("no region")
    };
    assert_eq!(found.range(), Ok((Spa::new(0x9000), 0x2000)));
}
