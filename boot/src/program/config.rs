//! PCI configuration space: by ports for segment 0, by memory for the others.

use boot::memory_map::ram;
use boot::pci::{self, ConfigSpace};
use handoff::{Extent, Range};
use x86_64::instructions::port::Port;

use super::acpi::Acpi;
use super::console::say;

struct Ports {
    address: Port<u32>,
    data: Port<u32>,
}

impl Ports {
    fn select(&mut self, bus: u8, device: u8, function: u8, offset: u16) {
        let place = u32::from(bus) << 16 | u32::from(device) << 11 | u32::from(function) << 8;
        // SAFETY: CF8h selects a register and has no other effect.
        unsafe {
            self.address
                .write(1 << 31 | place | u32::from(offset & 0xfc))
        };
    }
}

impl ConfigSpace for Ports {
    fn read(&mut self, bus: u8, device: u8, function: u8, offset: u16) -> u32 {
        self.select(bus, device, function, offset);
        // SAFETY: reading the header registers of a function has no side effect.
        unsafe { self.data.read() }
    }

    fn write(&mut self, bus: u8, device: u8, function: u8, offset: u16, value: u32) {
        self.select(bus, device, function, offset);
        // SAFETY: the caller writes the command register only, to take bus mastering away.
        unsafe { self.data.write(value) };
    }
}

struct Ecam(u64);

impl Ecam {
    fn register(&self, bus: u8, device: u8, function: u8, offset: u16) -> *mut u32 {
        let place = u64::from(bus) << 20
            | u64::from(device) << 15
            | u64::from(function) << 12
            | u64::from(offset & 0xffc);
        (self.0 + place) as *mut u32
    }
}

impl ConfigSpace for Ecam {
    fn read(&mut self, bus: u8, device: u8, function: u8, offset: u16) -> u32 {
        // SAFETY: the window came from MCFG, is not RAM, and firmware maps it at its physical address.
        unsafe { self.register(bus, device, function, offset).read_volatile() }
    }

    fn write(&mut self, bus: u8, device: u8, function: u8, offset: u16, value: u32) {
        // SAFETY: as for `read`.
        unsafe {
            self.register(bus, device, function, offset)
                .write_volatile(value)
        };
    }
}

/// Takes bus mastering from every function of every segment.
pub fn stop_bus_masters(acpi: &Acpi, map: &[Range]) {
    let mut ports = Ports {
        address: Port::new(0xcf8),
        data: Port::new(0xcfc),
    };
    let (mut seen, mut stopped) = pci::stop_bus_masters(&mut ports, 0, 255);
    for &(segment, first, last, base) in acpi.ecam.iter().filter(|window| window.0 != 0) {
        let window = Extent::new(
            base + (u64::from(first) << 20),
            (u64::from(last - first) + 1) << 20,
        );
        if ram(map).iter().any(|ram| ram.overlaps(window)) {
            say(format_args!(
                "PCI segment {segment}: its configuration window lies in RAM; left alone"
            ));
            continue;
        }
        let (more, on) = pci::stop_bus_masters(&mut Ecam(base), first, last);
        seen += more;
        stopped += on;
    }
    say(format_args!(
        "{seen} PCI functions, bus mastering taken from {stopped}"
    ));
}
