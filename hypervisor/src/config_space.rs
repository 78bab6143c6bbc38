//! PCI configuration space: by memory where MCFG covers the bus (PCI Express Base Specification 6.0, 7.2.2), else by ports
//! CF8h and CFCh (PCI Local Bus Specification 3.0, 3.2.2.3.2).

use address::{DeviceId, Spa};
use alloc::vec::Vec;
use firmware::mcfg::Mcfg;
use handoff::Extent;
use spin::{Mutex, Once};
use topology::{BusRange, ConfigSpace};
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
/// The select port; with the data port it is one register pair for all LPs.
static PORTS: Mutex<Port<u32>> = Mutex::new(Port::new(0xcf8));
const DATA_PORT: u16 = 0xcfc;

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
            Err(error) => log::warn!("MCFG: {error}; configuration space by ports"),
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

/// The buses that may be walked.
pub fn buses() -> Vec<BusRange> {
    let windows = WINDOWS.get().into_iter().flatten();
    let mut buses: Vec<BusRange> = windows
        .map(|window| BusRange {
            segment: window.segment,
            first: window.first,
            last: window.last,
        })
        .collect();
    if !buses.iter().any(|range| range.segment == 0) {
        buses.push(BusRange::LEGACY);
    }
    buses
}

fn find(device: DeviceId) -> Option<(Registers, u64)> {
    let holds = |window: &&Window| {
        window.segment == device.segment && (window.first..=window.last).contains(&device.bus())
    };
    let window = WINDOWS.get()?.iter().find(holds)?;
    let requester = u64::from(device.requester.0) - (u64::from(window.first) << 8);
    Some((window.registers, requester * CONFIG_BYTES))
}

/// Configuration space of every function.
#[derive(Clone, Copy, Debug)]
pub struct Config;

macro_rules! accesses {
    ($read:ident, $write:ident, $number:ty, $bytes:literal, $read_register:ident, $write_register:ident) => {
        fn $read(&mut self, device: DeviceId, offset: u16) -> $number {
            let offset = offset & (0x1000 - $bytes);
            if let Some((registers, base)) = find(device) {
                return registers.$read_register(base + u64::from(offset));
            }
            let Some(address) = port_address(device, offset) else {
                return <$number>::MAX;
            };
            let mut select = PORTS.lock();
            let mut data = Port::<$number>::new(DATA_PORT + (offset & 3));
            // SAFETY: selects and reads a configuration register; the lock keeps the pair together.
            unsafe {
                select.write(address);
                data.read()
            }
        }

        fn $write(&mut self, device: DeviceId, offset: u16, value: $number) {
            let offset = offset & (0x1000 - $bytes);
            if let Some((registers, base)) = find(device) {
                registers.$write_register(base + u64::from(offset), value);
                return;
            }
            let Some(address) = port_address(device, offset) else {
                return;
            };
            let mut select = PORTS.lock();
            let mut data = Port::<$number>::new(DATA_PORT + (offset & 3));
            // SAFETY: what may be written to configuration space is the guard's to decide, before it comes here.
            unsafe {
                select.write(address);
                data.write(value);
            }
        }
    };
}

impl ConfigSpace for Config {
    accesses!(read8, write8, u8, 1, read_8, write_8);
    accesses!(read16, write16, u16, 2, read_16, write_16);
    accesses!(read32, write32, u32, 4, read_32, write_32);
}

/// What selects a register by ports; `None` where they do not reach.
fn port_address(device: DeviceId, offset: u16) -> Option<u32> {
    let reached = device.segment == 0 && offset <= 0xff;
    reached.then(|| 1 << 31 | u32::from(device.requester.0) << 8 | u32::from(offset & 0xfc))
}
