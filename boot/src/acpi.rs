//! Finds ACPI tables, and builds a root table with the boot volume's overrides (ACPI specification 6.5, 5.2.5 to 5.2.8).

use alloc::vec::Vec;

use thiserror::Error;

const HEADER_BYTES: usize = 36;
const RSDP_BYTES: usize = 36;
const RSDP_BYTES_1: usize = 20;
/// No real machine has this many; it bounds what hostile tables can make the loader do.
const MOST_TABLES: usize = 256;
const LONGEST_TABLE: usize = 16 << 20;

/// Physical memory that may be read for tables.
pub trait TableBytes {
    /// `len` bytes at a physical address; `None` where they are not all memory.
    fn bytes(&self, address: u64, len: usize) -> Option<&[u8]>;
}

/// Why a table cannot be used.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum TableError {
    /// No valid root pointer.
    #[error("firmware has no valid ACPI root pointer")]
    NoRoot,
    /// Neither XSDT nor RSDT can be read.
    #[error("the ACPI root table is broken")]
    Root,
    /// A table's length or checksum is wrong.
    #[error("the table's length or checksum is wrong")]
    Broken,
}

/// A table found in memory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Table {
    /// Four ASCII characters.
    pub signature: [u8; 4],
    /// Where its header starts.
    pub address: u64,
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(
        bytes.get(at..at.checked_add(4)?)?.try_into().ok()?,
    ))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(
        bytes.get(at..at.checked_add(8)?)?.try_into().ok()?,
    ))
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

/// Checks a file that shall become a table: header, length and checksum. Returns its signature.
///
/// # Errors
/// [`TableError::Broken`].
pub fn check_table(bytes: &[u8]) -> Result<[u8; 4], TableError> {
    let length = u32_at(bytes, 4).ok_or(TableError::Broken)? as usize;
    if length != bytes.len() || !(HEADER_BYTES..=LONGEST_TABLE).contains(&length) || sum(bytes) != 0
    {
        return Err(TableError::Broken);
    }
    bytes
        .get(..4)
        .and_then(|name| name.try_into().ok())
        .ok_or(TableError::Broken)
}

/// The whole table at an address, length and checksum good.
pub fn table_bytes(memory: &impl TableBytes, address: u64) -> Option<&[u8]> {
    let length = u32_at(memory.bytes(address, HEADER_BYTES)?, 4)? as usize;
    if !(HEADER_BYTES..=LONGEST_TABLE).contains(&length) {
        return None;
    }
    memory
        .bytes(address, length)
        .filter(|bytes| sum(bytes) == 0)
}

/// All tables that the root pointer at `rsdp` leads to, without the FACS and DSDT. Broken ones are left out.
///
/// # Errors
/// [`TableError::NoRoot`] and [`TableError::Root`].
pub fn tables(memory: &impl TableBytes, rsdp: u64) -> Result<Vec<Table>, TableError> {
    let (root, wide) = root_table(memory, rsdp)?;
    let body = table_bytes(memory, root)
        .and_then(|bytes| bytes.get(HEADER_BYTES..))
        .ok_or(TableError::Root)?;
    let mut found = Vec::new();
    for entry in body
        .chunks_exact(if wide { 8 } else { 4 })
        .take(MOST_TABLES)
    {
        let address = if wide {
            u64_at(entry, 0)
        } else {
            u32_at(entry, 0).map(u64::from)
        };
        let table = address.and_then(|address| Some((address, table_bytes(memory, address)?)));
        if let Some((address, bytes)) = table
            && let Some(signature) = bytes.get(..4).and_then(|name| name.try_into().ok())
        {
            found.push(Table { signature, address });
        }
    }
    Ok(found)
}

/// The XSDT's address and `true`, or the RSDT's and `false`.
fn root_table(memory: &impl TableBytes, rsdp: u64) -> Result<(u64, bool), TableError> {
    let old = memory
        .bytes(rsdp, RSDP_BYTES_1)
        .filter(|bytes| bytes.starts_with(b"RSD PTR ") && sum(bytes) == 0);
    let old = old.ok_or(TableError::NoRoot)?;
    let revision = old.get(15).copied().unwrap_or(0);
    let new = memory
        .bytes(rsdp, RSDP_BYTES)
        .filter(|bytes| revision >= 2 && sum(bytes) == 0);
    if let Some(xsdt) = new
        .and_then(|bytes| u64_at(bytes, 24))
        .filter(|&address| address != 0)
    {
        return Ok((xsdt, true));
    }
    let rsdt = u32_at(old, 16).ok_or(TableError::NoRoot)?;
    Ok((u64::from(rsdt), false))
}

/// A root pointer and an XSDT over `tables`, for a place at `address`: the root pointer comes first. The result is the
/// bytes to put there.
#[must_use]
pub fn root_over(tables: &[Table], address: u64) -> Vec<u8> {
    let xsdt_at = address.wrapping_add(RSDP_BYTES as u64 + 4);
    let mut rsdp = Vec::with_capacity(RSDP_BYTES);
    rsdp.extend_from_slice(b"RSD PTR \0PORTCU\x02\0\0\0\0");
    rsdp.extend_from_slice(&(RSDP_BYTES as u32).to_le_bytes());
    rsdp.extend_from_slice(&xsdt_at.to_le_bytes());
    rsdp.extend_from_slice(&[0; 4]);
    set_checksum(&mut rsdp, RSDP_BYTES_1, 8);
    set_checksum(&mut rsdp, RSDP_BYTES, 32);
    let mut xsdt = Vec::with_capacity(HEADER_BYTES + tables.len() * 8);
    xsdt.extend_from_slice(b"XSDT");
    xsdt.extend_from_slice(&((HEADER_BYTES + tables.len() * 8) as u32).to_le_bytes());
    xsdt.extend_from_slice(b"\x01\0PORTCUPORTCULL\x01\0\0\0PORT\x01\0\0\0");
    for table in tables {
        xsdt.extend_from_slice(&table.address.to_le_bytes());
    }
    let length = xsdt.len();
    set_checksum(&mut xsdt, length, 9);
    rsdp.extend_from_slice(&[0; 4]);
    rsdp.extend_from_slice(&xsdt);
    rsdp
}

fn set_checksum(bytes: &mut [u8], length: usize, at: usize) {
    let rest = bytes.get(..length).map_or(0, sum);
    if let Some(place) = bytes.get_mut(at) {
        *place = place.wrapping_sub(rest);
    }
}

/// Firmware's tables with the overrides in: an override replaces every table of its signature (except SSDTs, which are many),
/// and is added where there is none.
#[must_use]
pub fn with_overrides(firmware: &[Table], overrides: &[Table]) -> Vec<Table> {
    let replaced = |table: &&Table| {
        table.signature == *b"SSDT" || !overrides.iter().any(|new| new.signature == table.signature)
    };
    firmware
        .iter()
        .filter(replaced)
        .chain(overrides)
        .copied()
        .collect()
}

/// Port and width in bits (24 or 32) of the power management timer, from the FADT (ACPI specification 6.5, 5.2.9).
#[must_use]
pub fn pm_timer(fadt: &[u8]) -> Option<(u16, u32)> {
    let bits = if u32_at(fadt, 112)? & 1 << 8 != 0 {
        32
    } else {
        24
    };
    let port = u32_at(fadt, 76).filter(|&port| port != 0);
    // X_PM_TMR_BLK: address space 1 is I/O.
    let extended = || {
        let space = *fadt.get(208)?;
        (space == 1)
            .then(|| u64_at(fadt, 212))
            .flatten()
            .and_then(|address| u32::try_from(address).ok())
    };
    let port = u16::try_from(port.or_else(extended)?).ok()?;
    (port != 0).then_some((port, bits))
}

/// Segment, first bus, last bus and base address of each entry of an MCFG table (PCI Firmware Specification 3.3, 4.1.2).
pub fn ecam_windows(mcfg: &[u8]) -> impl Iterator<Item = (u16, u8, u8, u64)> {
    let entries = mcfg.get(44..).unwrap_or_default().chunks_exact(16);
    entries.filter_map(|entry| {
        let base = u64_at(entry, 0)?;
        let segment = u16::from_le_bytes(entry.get(8..10)?.try_into().ok()?);
        let (first, last) = (*entry.get(10)?, *entry.get(11)?);
        let end = base.checked_add((u64::from(last) + 1) << 20)?;
        (base != 0 && base & 0xf_ffff == 0 && first <= last && end <= 1 << 46)
            .then_some((segment, first, last, base))
    })
}

#[cfg(test)]
mod tests;
