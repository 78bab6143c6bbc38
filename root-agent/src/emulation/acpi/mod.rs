//! ACPI tables of a child (ACPI Specification 6.5, chapter 5): enough to find its processors and its bus.

mod fadt;
mod madt;
mod mcfg;
mod rsdp;
mod table;

use alloc::vec::Vec;

/// Where the RSDP stands; the others follow.
pub const RSDP: u64 = 0xf_0000;
const TABLES: u64 = 0xf_0100;

/// All tables of a child with this many VPs, as bytes to be placed at [`RSDP`].
#[must_use]
pub fn build(vps: u32) -> Vec<u8> {
    let mut place = Place {
        bytes: Vec::new(),
        base: TABLES,
    };
    let dsdt = place.put(&table::finish(*b"DSDT", 2, &[]));
    let fadt = place.put(&fadt::build(dsdt));
    let madt = place.put(&madt::build(vps));
    let mcfg = place.put(&mcfg::build());
    let pointers: Vec<u8> = [fadt, madt, mcfg]
        .into_iter()
        .flat_map(u64::to_le_bytes)
        .collect();
    let xsdt = place.put(&table::finish(*b"XSDT", 1, &pointers));
    let mut bytes = rsdp::build(xsdt).to_vec();
    bytes.resize((TABLES - RSDP) as usize, 0);
    bytes.extend(place.bytes);
    bytes
}

/// Tables one behind the other.
struct Place {
    bytes: Vec<u8>,
    base: u64,
}

impl Place {
    fn put(&mut self, table: &[u8]) -> u64 {
        self.bytes.resize(self.bytes.len().next_multiple_of(16), 0);
        let at = self.base + self.bytes.len() as u64;
        self.bytes.extend_from_slice(table);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(bytes: &[u8], address: u64, length: usize) -> &[u8] {
        let start = (address - RSDP) as usize;
        &bytes[start..start + length]
    }

    fn number(bytes: &[u8]) -> u64 {
        bytes.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b))
    }

    /// A table whose checksum is right.
    fn table(bytes: &[u8], address: u64) -> &[u8] {
        let length = number(at(bytes, address + 4, 4)) as usize;
        let table = at(bytes, address, length);
        assert_eq!(table.iter().fold(0u8, |sum, &b| sum.wrapping_add(b)), 0);
        table
    }

    #[test]
    fn every_table_is_found_and_its_checksum_is_right() {
        let bytes = build(3);
        let rsdp = at(&bytes, RSDP, 36);
        assert_eq!(&rsdp[..8], b"RSD PTR ");
        for length in [20, 36] {
            let sum = rsdp[..length].iter().fold(0u8, |s, &b| s.wrapping_add(b));
            assert_eq!(sum, 0);
        }
        let xsdt = table(&bytes, number(&rsdp[24..32]));
        let names: Vec<&[u8]> = xsdt[36..]
            .chunks(8)
            .map(|pointer| &table(&bytes, number(pointer))[..4])
            .collect();
        assert_eq!(names, [b"FACP", b"APIC", b"MCFG"]);
        let fadt = table(&bytes, number(&xsdt[36..44]));
        assert_eq!(fadt.len(), 276);
        assert_eq!(&table(&bytes, number(&fadt[140..148]))[..4], b"DSDT");
        assert!(bytes.len() < 0x1_0000);
    }

    #[test]
    fn the_madt_names_every_vp() {
        let bytes = build(64);
        let xsdt = table(&bytes, number(&bytes[24..32]));
        let madt = table(&bytes, number(&xsdt[44..52]));
        assert_eq!(madt[44..].len(), 64 * 8);
        assert_eq!(&madt[44 + 63 * 8..], [0, 8, 63, 63, 1, 0, 0, 0]);
    }

    #[test]
    fn the_mcfg_names_the_emulated_window() {
        let bytes = build(1);
        let xsdt = table(&bytes, number(&bytes[24..32]));
        let mcfg = table(&bytes, number(&xsdt[52..60]));
        assert_eq!(number(&mcfg[44..52]), crate::emulation::map::ECAM.start);
        assert_eq!((mcfg[54], mcfg[55]), (0, 0), "bus 0 alone");
    }
}
