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
    // I/O decoding stays off: a child gets no ports, and the guard has no windows for them.
    let again = before & !command::IO;
    config.write(register::COMMAND, 2, u32::from(again))?;
    bars
}

fn size_all(config: &impl ConfigSpace) -> Result<Vec<Bar>, Status> {
    let mut bars = Vec::new();
    let mut index = 0u8;
    while index < 6 {
        let offset = register::BAR0 + 4 * u16::from(index);
        let low = config.read(offset, 4);
        let wide = low & 0b111 == 0b100 && index < 5;
        if low & 1 == 0
            && let Some(size) = size(config, offset, wide)?
        {
            bars.extend(bar(config, index, low, wide, size));
        }
        index += if wide { 2 } else { 1 };
    }
    Ok(bars)
}

fn bar(config: &impl ConfigSpace, index: u8, low: u32, wide: bool, size: u64) -> Option<Bar> {
    let offset = register::BAR0 + 4 * u16::from(index);
    let high = if wide { config.read(offset + 4, 4) } else { 0 };
    let address = u64::from(high) << 32 | u64::from(low & !0xf);
    // What firmware has not placed cannot be shown, and the largest sizes would wrap.
    let usable = address != 0 && size < 1 << 48 && address.is_multiple_of(size);
    usable.then_some(Bar {
        index,
        address,
        size,
        wide,
        prefetchable: low & 8 != 0,
    })
}

/// The size of a BAR; `None` where there is none. The guard admits no address that lies outside a window, so that all
/// ones cannot be written: instead each address bit is turned in its own write, and the first that the register keeps,
/// or that the guard refuses because it would move the BAR, is the size.
fn size(config: &impl ConfigSpace, offset: u16, wide: bool) -> Result<Option<u64>, Status> {
    let low = config.read(offset, 4);
    match config.write(offset, 4, low) {
        Ok(_) => {}
        Err(Status::ACCESS_DENIED) => return Ok(None),
        Err(status) => return Err(status),
    }
    for bit in 4..if wide { 64 } else { 32 } {
        let register = offset + if bit < 32 { 0 } else { 4 };
        let before = config.read(register, 4);
        match config.write(register, 4, before ^ 1 << (bit % 32)) {
            Err(Status::ACCESS_DENIED) => return Ok(Some(1 << bit)),
            Err(status) => return Err(status),
            Ok(_) if config.read(register, 4) != before => {
                config.write(register, 4, before)?;
                return Ok(Some(1 << bit));
            }
            Ok(_) => {}
        }
    }
    Ok(None)
}
