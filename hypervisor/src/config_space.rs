//! PCI configuration space: by memory where MCFG covers the bus (PCI Express Base Specification 6.0, 7.2.2), else by ports
//! CF8h and CFCh (PCI Local Bus Specification 3.0, 3.2.2.3.2).

use address::{DeviceId, Spa};
use alloc::vec::Vec;
use firmware::mcfg::Mcfg;
use handoff::Extent;
use spin::{Mutex, Once};
use x86_64::instructions::port::Port;

use crate::facts::Facts;
use crate::memory::is_covered;
use crate::mmio::Registers;

const CONFIG_BYTES: u64 = 4096;

struct Window {
    segment: u16,
    first: u8,
    last: u8,
    registers: Registers,
}

static WINDOWS: Once<Vec<Window>> = Once::new();
/// The two ports are one register pair for all LPs.
static PORTS: Mutex<(Port<u32>, Port<u32>)> = Mutex::new((Port::new(0xcf8), Port::new(0xcfc)));

/// Takes the windows that MCFG names, without those that cannot be.
pub fn start(facts: &Facts, mcfg: Option<&[u8]>) {
    let mut windows = Vec::new();
    if let Some(table) = mcfg.map(Mcfg::parse) {
        match table {
            Ok(table) => windows.extend(
                table
                    .segments()
                    .filter_map(|segment| window(facts, segment.ok()?)),
            ),
            Err(error) => log::warn!("MCFG: {error:?}; configuration space by ports"),
        }
    }
    WINDOWS.call_once(|| windows);
}

fn window(facts: &Facts, segment: firmware::mcfg::Segment) -> Option<Window> {
    let buses = u64::from(segment.last_bus.checked_sub(segment.first_bus)?) + 1;
    let base = segment
        .base
        .checked_add(u64::from(segment.first_bus) << 20)?;
    let place = Extent::new(base.as_u64(), buses << 20);
    let in_ram = facts
        .ranges
        .iter()
        .any(|range| range.kind().is_ram() && range.extent().overlaps(place));
    if in_ram || !is_covered(base, place.len) {
        log::warn!("MCFG: the window at {base} is not a place for registers; ignored");
        return None;
    }
    Some(Window {
        segment: segment.segment,
        first: segment.first_bus,
        last: segment.last_bus,
        registers: Registers::new(base, place.len)?,
    })
}

/// The windows in use, which are nobody's but the hypervisor's to write.
pub fn windows() -> impl Iterator<Item = (u16, Spa, u64)> {
    WINDOWS.get().into_iter().flatten().map(|window| {
        let (base, len) = window.registers.extent();
        (window.segment, base, len)
    })
}

fn find(device: DeviceId) -> Option<(Registers, u64)> {
    let holds = |window: &&Window| {
        window.segment == device.segment && (window.first..=window.last).contains(&device.bus())
    };
    let window = WINDOWS.get()?.iter().find(holds)?;
    let requester = u64::from(device.requester.0) - (u64::from(window.first) << 8);
    Some((window.registers, requester * CONFIG_BYTES))
}

/// The aligned 32-bit register at `offset`; all ones where nothing answers.
pub fn read(device: DeviceId, offset: u16) -> u32 {
    let offset = offset & 0xffc;
    if let Some((registers, base)) = find(device) {
        return registers.read_32(base + u64::from(offset));
    }
    if device.segment != 0 || offset > 0xff {
        return u32::MAX;
    }
    let mut ports = PORTS.lock();
    // SAFETY: selects and reads a configuration register; the lock keeps the pair together.
    unsafe {
        ports.0.write(port_address(device, offset));
        ports.1.read()
    }
}

/// Writes the aligned 32-bit register at `offset`; nothing where nothing answers.
pub fn write(device: DeviceId, offset: u16, value: u32) {
    let offset = offset & 0xffc;
    if let Some((registers, base)) = find(device) {
        registers.write_32(base + u64::from(offset), value);
        return;
    }
    if device.segment != 0 || offset > 0xff {
        return;
    }
    let mut ports = PORTS.lock();
    // SAFETY: what may be written to configuration space is the kernel's guard to decide.
    unsafe {
        ports.0.write(port_address(device, offset));
        ports.1.write(value);
    }
}

fn port_address(device: DeviceId, offset: u16) -> u32 {
    1 << 31 | u32::from(device.requester.0) << 8 | u32::from(offset)
}
