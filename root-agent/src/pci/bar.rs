//! Base address registers (PCI Local Bus Specification 3.0, 6.2.5).

use abi::Status;
use alloc::vec::Vec;

use super::config::{ConfigSpace, command, register};

/// A memory range that a function answers to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bar {
    /// Which register holds it; a 64-bit one takes the next as well.
    pub index: u8,
    /// System-physical address.
    pub address: u64,
    /// Bytes, a power of two.
    pub size: u64,
    /// Whether it takes two registers.
    pub wide: bool,
    /// Whether reads have no side effects.
    pub prefetchable: bool,
}

/// Reads and sizes all memory BARs. The function must not be in use: its memory decoding is off meanwhile.
pub fn read_all(config: &impl ConfigSpace) -> Result<Vec<Bar>, Status> {
    let before = config.read(register::COMMAND, 2) as u16;
    let quiet = before & !(command::IO | command::MEMORY);
    config.write(register::COMMAND, 2, u32::from(quiet))?;
    let bars = size_all(config);
    config.write(register::COMMAND, 2, u32::from(before))?;
    bars
}

fn size_all(config: &impl ConfigSpace) -> Result<Vec<Bar>, Status> {
    let mut bars = Vec::new();
    let mut index = 0u8;
    while index < 6 {
        let offset = register::BAR0 + 4 * u16::from(index);
        let low = config.read(offset, 4);
        let wide = low & 0b111 == 0b100 && index < 5;
        if low & 1 == 0 {
            let mask = size_mask(config, offset, wide)?;
            bars.extend(bar(config, index, low, wide, mask));
        }
        index += if wide { 2 } else { 1 };
    }
    Ok(bars)
}

fn bar(config: &impl ConfigSpace, index: u8, low: u32, wide: bool, mask: u64) -> Option<Bar> {
    let offset = register::BAR0 + 4 * u16::from(index);
    let high = if wide { config.read(offset + 4, 4) } else { 0 };
    let size = mask & mask.wrapping_neg();
    let address = u64::from(high) << 32 | u64::from(low & !0xf);
    // A size of 0 means that there is none; the largest would wrap.
    let usable = (16..1 << 62).contains(&size) && address.is_multiple_of(size);
    usable.then_some(Bar {
        index,
        address,
        size,
        wide,
        prefetchable: low & 8 != 0,
    })
}

/// Address bits that the register keeps, and puts the register back.
fn size_mask(config: &impl ConfigSpace, offset: u16, wide: bool) -> Result<u64, Status> {
    let low = probe(config, offset)? & !0xf;
    if !wide {
        return Ok(u64::from(low));
    }
    let high = probe(config, offset + 4)?;
    Ok(u64::from(high) << 32 | u64::from(low))
}

fn probe(config: &impl ConfigSpace, offset: u16) -> Result<u32, Status> {
    let before = config.read(offset, 4);
    let kept = config.write(offset, 4, u32::MAX);
    config.write(offset, 4, before)?;
    kept
}
