//! Where ECAM is: RSDP, XSDT or RSDT, MCFG (ACPI Specification 6.5, section 5.2; PCI Firmware Specification 3.3,
//! section 4.1.2). Lengths are the tables' own, and bounded.

use runtime::{entry, memory};

/// Entries of a root table that are looked at.
const TABLES: u64 = 64;

/// An ECAM window.
#[derive(Clone, Copy, Debug)]
pub struct Ecam {
    /// Address of bus 0.
    pub base: u64,
    /// First bus that it decodes.
    pub first_bus: u8,
    /// Last bus that it decodes.
    pub last_bus: u8,
}

/// The ECAM window of segment 0.
pub fn ecam() -> Option<Ecam> {
    let mcfg = table(rsdp()?, *b"MCFG")?;
    let length = u64::from(u32_at(mcfg + 4)?);
    let mut at = 44;
    while at + 16 <= length {
        let ids: [u8; 4] = bytes(mcfg + at + 8)?;
        if ids[..2] == [0, 0] {
            return Some(Ecam {
                base: u64_at(mcfg + at)?,
                first_bus: ids[2],
                last_bus: ids[3],
            });
        }
        at += 16;
    }
    None
}

fn rsdp() -> Option<u64> {
    let told = entry::rsdp();
    let places = core::iter::once(told)
        .filter(|&address| address != 0)
        .chain((0xe_0000..0x10_0000).step_by(16));
    places.into_iter().find(|&address| is_rsdp(address))
}

fn is_rsdp(address: u64) -> bool {
    bytes(address) == Some(*b"RSD PTR ")
        && bytes::<20>(address)
            .is_some_and(|b| b.iter().fold(0_u8, |sum, &byte| sum.wrapping_add(byte)) == 0)
}

fn table(rsdp: u64, signature: [u8; 4]) -> Option<u64> {
    let revision = bytes::<1>(rsdp + 15)?[0];
    let xsdt = if revision >= 2 { u64_at(rsdp + 24)? } else { 0 };
    let (root, width) = match xsdt {
        0 => (u64::from(u32_at(rsdp + 16)?), 4),
        xsdt => (xsdt, 8),
    };
    let entries = u64::from(u32_at(root + 4)?).saturating_sub(36) / width;
    (0..entries.min(TABLES)).find_map(|index| {
        let at = root + 36 + index * width;
        let address = if width == 8 {
            u64_at(at)?
        } else {
            u64::from(u32_at(at)?)
        };
        (bytes(address) == Some(signature)).then_some(address)
    })
}

fn bytes<const N: usize>(address: u64) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    memory::read(address, &mut bytes).ok()?;
    Some(bytes)
}

fn u32_at(address: u64) -> Option<u32> {
    bytes(address).map(u32::from_le_bytes)
}

fn u64_at(address: u64) -> Option<u64> {
    bytes(address).map(u64::from_le_bytes)
}
