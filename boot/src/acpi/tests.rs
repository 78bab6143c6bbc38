//! A small memory with tables in it.

extern crate std;

use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

struct Memory(Vec<u8>);

impl TableBytes for Memory {
    fn bytes(&self, address: u64, len: usize) -> Option<&[u8]> {
        let start = usize::try_from(address).ok()?;
        self.0.get(start..start.checked_add(len)?)
    }
}

fn table(signature: &[u8; 4], length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    bytes[..4].copy_from_slice(signature);
    bytes[4..8].copy_from_slice(&(length as u32).to_le_bytes());
    set_checksum(&mut bytes, length, 9);
    bytes
}

fn memory(tables: &[(u64, Vec<u8>)]) -> Memory {
    let mut bytes = vec![0; 0x4000];
    let list: Vec<Table> = tables
        .iter()
        .map(|(address, bytes)| Table {
            signature: bytes[..4].try_into().unwrap(),
            address: *address,
        })
        .collect();
    let root = root_over(&list, 0x100);
    bytes[0x100..0x100 + root.len()].copy_from_slice(&root);
    for (address, table) in tables {
        bytes[*address as usize..*address as usize + table.len()].copy_from_slice(table);
    }
    Memory(bytes)
}

#[test]
fn a_built_root_reads_back() {
    let memory = memory(&[(0x1000, table(b"APIC", 60)), (0x2000, table(b"FACP", 244))]);
    let found = tables(&memory, 0x100).unwrap();
    assert_eq!(
        found.iter().map(|t| t.signature).collect::<Vec<_>>(),
        [*b"APIC", *b"FACP"]
    );
    assert_eq!(table_bytes(&memory, 0x2000).map(<[u8]>::len), Some(244));
}

#[test]
fn broken_tables_are_left_out_and_broken_roots_refused() {
    let mut memory = memory(&[
        (0x1000, table(b"APIC", 60)),
        (0x2000, table(b"FACP", 244)),
        (0x3ff0, Vec::from(*b"DMAR")),
    ]);
    memory.0[0x1030] ^= 1;
    assert_eq!(tables(&memory, 0x100).unwrap().len(), 1);
    assert_eq!(tables(&memory, 0x101), Err(TableError::NoRoot));
    assert_eq!(tables(&memory, u64::MAX), Err(TableError::NoRoot));
    memory.0[0x128 + 12] ^= 1;
    assert_eq!(tables(&memory, 0x100), Err(TableError::Root));
}

#[test]
fn overrides_replace_by_signature_and_add() {
    let t = |signature: &[u8; 4], address| Table {
        signature: *signature,
        address,
    };
    let firmware = [t(b"APIC", 1), t(b"SSDT", 2), t(b"SSDT", 3), t(b"DMAR", 4)];
    let merged = with_overrides(&firmware, &[t(b"DMAR", 9), t(b"SSDT", 10), t(b"MCFG", 11)]);
    assert_eq!(
        merged.iter().map(|t| t.address).collect::<Vec<_>>(),
        [1, 2, 3, 9, 10, 11]
    );
}

#[test]
fn files_are_checked_before_they_become_tables() {
    assert_eq!(check_table(&table(b"DMAR", 48)), Ok(*b"DMAR"));
    let mut wrong = table(b"DMAR", 48);
    wrong[40] = 1;
    assert_eq!(check_table(&wrong), Err(TableError::Broken));
    assert_eq!(
        check_table(&table(b"DMAR", 48)[..40]),
        Err(TableError::Broken)
    );
    assert_eq!(check_table(b"DMAR"), Err(TableError::Broken));
}

#[test]
fn the_timer_port_comes_from_either_field() {
    let mut fadt = table(b"FACP", 244);
    assert_eq!(pm_timer(&fadt), None);
    fadt[208] = 1;
    fadt[212..214].copy_from_slice(&0x608_u16.to_le_bytes());
    assert_eq!(pm_timer(&fadt), Some((0x608, 24)));
    fadt[76..78].copy_from_slice(&0x408_u16.to_le_bytes());
    fadt[113] = 1;
    assert_eq!(pm_timer(&fadt), Some((0x408, 32)));
    assert_eq!(pm_timer(&fadt[..60]), None);
}

#[test]
fn windows_that_cannot_be_are_left_out() {
    let mut mcfg = table(b"MCFG", 44 + 48);
    let mut put = |index: usize, base: u64, first: u8, last: u8| {
        let at = 44 + index * 16;
        mcfg[at..at + 8].copy_from_slice(&base.to_le_bytes());
        mcfg[at + 10] = first;
        mcfg[at + 11] = last;
    };
    put(0, 0xe000_0000, 0, 255);
    put(1, 0xe000_0000, 9, 8);
    put(2, u64::MAX << 20, 0, 255);
    assert_eq!(
        ecam_windows(&mcfg).collect::<Vec<_>>(),
        [(0, 0, 255, 0xe000_0000)]
    );
}

proptest! {
    #[test]
    fn no_bytes_panic(changes in proptest::collection::vec((0x100_usize..0x1100, any::<u8>()), 0..40), rsdp in 0_u64..0x5000) {
        let mut memory = memory(&[(0x1000, table(b"APIC", 60)), (0x2000, table(b"FACP", 244))]);
        for (at, value) in changes {
            memory.0[at] = value;
        }
        for address in [0x100, rsdp] {
            let _ = tables(&memory, address);
        }
        let _ = pm_timer(&memory.0[0x100..]);
        let _ = ecam_windows(&memory.0[0x100..]).count();
    }
}
