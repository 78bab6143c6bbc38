//! Finds the firmware's tables by their root pointer. Only where they lie is found here; what they say is parsed as hostile
//! bytes by the firmware crate.

use acpi::rsdp::Rsdp;
use address::Spa;
use alloc::vec::Vec;
use handoff::{Kind, Range};

use crate::facts::Facts;
use crate::memory::{is_covered, virtual_of};

/// Longest table that is looked at.
const LONGEST_TABLE: usize = 1 << 20;
const HEADER_BYTES: usize = 36;
const MOST_TABLES: usize = 128;

/// Tables as bytes.
#[derive(Debug, Default)]
pub struct Tables {
    found: Vec<&'static [u8]>,
}

impl Tables {
    /// The first table with this signature.
    pub fn find(&self, signature: &[u8; 4]) -> Option<&'static [u8]> {
        self.found
            .iter()
            .find(|bytes| bytes.starts_with(signature))
            .copied()
    }
}

/// Finds all tables. None at all is possible, and said.
pub fn find(facts: &Facts) -> Tables {
    let rsdp = facts.handoff.rsdp;
    let mut tables = Tables::default();
    if rsdp == 0 {
        log::warn!("firmware has no ACPI tables");
        return tables;
    }
    let Some((address, entry_bytes)) = root_table(facts, rsdp) else {
        log::warn!("firmware's ACPI root pointer cannot be used");
        return tables;
    };
    let Some(root) = table(facts, address) else {
        log::warn!("firmware's ACPI root table cannot be used");
        return tables;
    };
    let entries = root
        .get(HEADER_BYTES..)
        .unwrap_or_default()
        .chunks_exact(entry_bytes);
    for entry in entries.take(MOST_TABLES) {
        let mut address = [0; 8];
        address[..entry_bytes].copy_from_slice(entry);
        match table(facts, u64::from_le_bytes(address)) {
            Some(bytes) => tables.found.push(bytes),
            None => log::warn!("a broken ACPI table is left out"),
        }
    }
    tables
}

/// The DSDT that a FADT points to.
pub fn dsdt(facts: &Facts, fadt: &[u8]) -> Option<&'static [u8]> {
    let wide = fadt.get(140..148).map_or(0, |field| {
        u64::from_le_bytes(field.try_into().unwrap_or_default())
    });
    let narrow = u64::from(u32::from_le_bytes(fadt.get(40..44)?.try_into().ok()?));
    table(facts, if wide == 0 { narrow } else { wide })
}

/// Address of the XSDT, or RSDT, and the bytes of its entries.
fn root_table(facts: &Facts, rsdp: u64) -> Option<(u64, usize)> {
    let revision = *bytes(facts, rsdp, 20)?.get(15)?;
    let length = if revision == 0 { 20 } else { size_of::<Rsdp>() };
    let raw = bytes(facts, rsdp, length)?;
    // The crate sums as many bytes as the pointer says it has.
    if revision != 0 && raw.get(20..24)? != (length as u32).to_le_bytes() {
        return None;
    }
    let mut whole = [0; size_of::<Rsdp>()];
    whole.get_mut(..length)?.copy_from_slice(raw);
    // SAFETY: the structure is made of plain numbers, and the bytes are as many as it has.
    let pointer = unsafe { whole.as_ptr().cast::<Rsdp>().read_unaligned() };
    pointer.validate().ok()?;
    if revision == 0 || pointer.xsdt_address() == 0 {
        return Some((u64::from(pointer.rsdt_address()), 4));
    }
    Some((pointer.xsdt_address(), 8))
}

/// The whole table at an address, its length and checksum good.
fn table(facts: &Facts, address: u64) -> Option<&'static [u8]> {
    let header = bytes(facts, address, HEADER_BYTES)?;
    let length = u32::from_le_bytes(header.get(4..8)?.try_into().ok()?) as usize;
    let whole = bytes(facts, address, length)
        .filter(|_| (HEADER_BYTES..=LONGEST_TABLE).contains(&length))?;
    firmware::Table::parse_any(whole).ok().map(|_| whole)
}

/// Bytes that lie wholly in memory that firmware may keep tables in.
fn bytes(facts: &Facts, address: u64, length: usize) -> Option<&'static [u8]> {
    let kinds = [Kind::AcpiReclaimable, Kind::AcpiNvs, Kind::Reserved];
    let end = address.checked_add(length as u64)?;
    let inside = |range: &Range| {
        range.start <= address && end <= range.end() && kinds.contains(&range.kind())
    };
    if !facts.ranges.iter().any(inside) || !is_covered(Spa::new(address), length as u64) {
        return None;
    }
    // SAFETY: inside one range of the memory map that is memory, and in the direct map; nobody writes there during the
    // boot, and no partition ever gets it while the slice is used.
    Some(unsafe { core::slice::from_raw_parts(virtual_of(address), length) })
}
