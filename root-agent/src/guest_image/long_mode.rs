//! Page tables and descriptors of the long-mode entry (SDM volume 3, "IA-32e mode"; APM volume 2, "Long mode"):
//! the first 4 GiB at their own addresses, in pages of 2 MiB.

use alloc::vec::Vec;

use super::placement::PAGE_TABLES;

const PRESENT_WRITABLE: u64 = 0b11;
const LARGE: u64 = 1 << 7;
const ENTRIES: u64 = 512;

/// The six tables as bytes, to be placed at [`PAGE_TABLES`]: PML4, PDPT, four directories.
#[must_use]
pub fn page_tables() -> Vec<u8> {
    let table = |index: u64| PAGE_TABLES + index * 4096;
    let mut entries: Vec<u64> = Vec::with_capacity(6 * ENTRIES as usize);
    entries.push(table(1) | PRESENT_WRITABLE);
    entries.resize(ENTRIES as usize, 0);
    entries.extend((2..6).map(|index| table(index) | PRESENT_WRITABLE));
    entries.resize(2 * ENTRIES as usize, 0);
    entries.extend((0..4 * ENTRIES).map(|page| page << 21 | PRESENT_WRITABLE | LARGE));
    entries.into_iter().flat_map(u64::to_le_bytes).collect()
}

/// Selector of the code segment.
pub const CODE: u16 = 0x08;
/// Selector of the data segment.
pub const DATA: u16 = 0x10;

/// Descriptors: none, 64-bit code or 32-bit code, data.
#[must_use]
pub fn descriptors(long: bool) -> Vec<u8> {
    let code: u64 = if long {
        0x00af_9b00_0000_ffff
    } else {
        0x00cf_9b00_0000_ffff
    };
    let table = [0, code, 0x00cf_9300_0000_ffff];
    table.into_iter().flat_map(u64::to_le_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_below_4_gib_is_its_own() {
        let bytes = page_tables();
        assert_eq!(bytes.len(), 6 * 4096);
        let entry = |table: u64, index: u64| {
            let at = (table - PAGE_TABLES + 8 * index) as usize;
            u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
        };
        for address in [0, 0x10_0000, 0x7fff_ffff, 0xfee0_0000, 0xffff_ffff_u64] {
            let pdpt = entry(PAGE_TABLES, 0) & !0xfff;
            let directory = entry(pdpt, address >> 30) & !0xfff;
            let leaf = entry(directory, address >> 21 & 511);
            assert_eq!(leaf & 0x83, 0x83);
            assert_eq!(leaf & !0x1f_ffff | address & 0x1f_ffff, address);
        }
    }
}
