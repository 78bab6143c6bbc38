//! Bus 0 of a child: which function an access means, by ports (PCI Local Bus Specification 3.0, 3.2.2.3) or by
//! memory (PCI Firmware Specification, "MCFG").

use abi::interrupt::Entry;
use address::DeviceId;
use alloc::vec::Vec;

use super::function::{Function, Window};
use super::hardware::Hardware;
use super::space::Space;
use crate::emulation::map;
use crate::facts::Span;
use crate::pci::description::Description;

/// A host bridge of nobody's: vendor 1DE5h is not assigned here, device 0001h.
const HOST_BRIDGE_IDS: u32 = 0x0001_1de5;
const HOST_BRIDGE_CLASS: u32 = 0x0600_0000;
/// Device numbers of functions: 0 is the host bridge.
const SLOTS: core::ops::Range<u8> = 1..32;

/// The bus.
pub struct Bus {
    vps: u32,
    bridge: Space,
    functions: Vec<Function>,
    window: Window,
    address: u32,
}

/// Finds the hardware behind a device.
pub trait HardwareOf {
    /// What it finds.
    type Hardware: Hardware;

    /// The hardware behind a device.
    fn of(&mut self, device: DeviceId) -> Self::Hardware;
}

impl Bus {
    /// A bus with nothing but a host bridge, of a child with this many VPs.
    #[must_use]
    pub fn new(vps: u32) -> Self {
        Self {
            vps,
            bridge: Space::new(HOST_BRIDGE_IDS, HOST_BRIDGE_CLASS),
            functions: Vec::new(),
            window: Window::default(),
            address: 0,
        }
    }

    /// Adds a function; returns its device number, `None` where there is no room.
    pub fn add(&mut self, device: DeviceId, description: &Description) -> Option<u8> {
        let slot = SLOTS
            .into_iter()
            .find(|slot| self.functions.iter().all(|f| f.slot != *slot))?;
        let function = Function::new(device, slot, description, &mut self.window)?;
        self.functions.push(function);
        Some(slot)
    }

    /// Takes a function off the bus, and all that it was given from the child.
    pub fn remove(&mut self, device: DeviceId, hardware: &mut impl Hardware) -> bool {
        let Some(index) = self.functions.iter().position(|f| f.device == device) else {
            return false;
        };
        self.functions.remove(index).withdraw(hardware);
        if self.functions.is_empty() {
            self.window = Window::default();
        }
        true
    }

    /// The functions: real name and device number.
    pub fn devices(&self) -> impl Iterator<Item = (DeviceId, u8)> + '_ {
        self.functions.iter().map(|f| (f.device, f.slot))
    }

    /// The interrupt of a message of a device.
    #[must_use]
    pub fn interrupt(&self, device: DeviceId, index: usize) -> Option<Entry> {
        let function = self.functions.iter().find(|f| f.device == device);
        function.and_then(|function| function.interrupt(index))
    }

    /// Reads a port of configuration mechanism 1.
    #[must_use]
    pub fn read_port(&self, port: u16, size: u8) -> u32 {
        match self.data_register(port, size) {
            Some((slot, offset)) => self.read_config(slot, offset, size),
            None if port == map::CONFIG_ADDRESS && size == 4 => self.address,
            None => u32::MAX,
        }
    }

    /// Writes a port of configuration mechanism 1.
    pub fn write_port(
        &mut self,
        (port, size): (u16, u8),
        value: u32,
        hardware: &mut impl HardwareOf,
    ) {
        match self.data_register(port, size) {
            Some((slot, offset)) => self.write_config(slot, (offset, size), value, hardware),
            None if port == map::CONFIG_ADDRESS && size == 4 => self.address = value & 0x80ff_fffc,
            None => {}
        }
    }

    /// Slot and register that the data port means now; `None` for a foreign function or a straddling access.
    fn data_register(&self, port: u16, size: u8) -> Option<(u8, u16)> {
        let into = port
            .checked_sub(map::CONFIG_DATA)
            .filter(|into| *into < 4)?;
        let enabled = self.address >> 31 != 0;
        let own = self.address >> 16 & 0xff == 0 && self.address >> 8 & 7 == 0;
        let aligned = into.is_multiple_of(u16::from(size.max(1)));
        (enabled && own && aligned).then_some((
            (self.address >> 11) as u8 & 0x1f,
            (self.address & 0xfc) as u16 + into,
        ))
    }

    /// Slot and register of an address in the memory-mapped window.
    fn memory_register(address: u64, size: u8) -> Option<(u8, u16)> {
        let inside = map::ECAM.contains(address, u64::from(size));
        let offset = address.wrapping_sub(map::ECAM.start);
        let own = offset >> 12 & 7 == 0 && size <= 4;
        let aligned = size != 0 && offset.is_multiple_of(u64::from(size));
        (inside && own && aligned).then_some(((offset >> 15) as u8 & 0x1f, (offset & 0xfff) as u16))
    }

    fn read_config(&self, slot: u8, offset: u16, size: u8) -> u32 {
        let function = self.functions.iter().find(|f| f.slot == slot);
        match (slot, function) {
            (0, _) => self.bridge.read(offset, size),
            (_, Some(function)) => function.read(offset, size),
            _ => u32::MAX,
        }
    }

    fn write_config(
        &mut self,
        slot: u8,
        at: (u16, u8),
        value: u32,
        hardware: &mut impl HardwareOf,
    ) {
        let others = self.functions.iter().filter(|f| f.slot != slot);
        let taken: Vec<Span> = others.flat_map(Function::spans).collect();
        let vps = self.vps;
        if let Some(function) = self.functions.iter_mut().find(|f| f.slot == slot) {
            let mut hardware = hardware.of(function.device);
            function.write(at, value, (vps, &taken), &mut hardware);
        }
    }

    /// Reads memory that is emulated; all ones where nothing is.
    pub fn read_memory(&self, address: u64, size: u8, hardware: &mut impl HardwareOf) -> u64 {
        if map::ECAM.contains(address, 1) {
            // Eight bytes are two registers, as root complexes split them.
            let half = |address| {
                let register = Self::memory_register(address, size.min(4));
                register.map_or(u32::MAX, |(slot, offset)| {
                    self.read_config(slot, offset, size.min(4))
                })
            };
            return match size {
                8 => u64::from(half(address)) | u64::from(half(address.wrapping_add(4))) << 32,
                _ => u64::from(half(address)),
            };
        }
        match self.functions.iter().find(|f| f.answers(address, size)) {
            Some(function) => {
                let mut hardware = hardware.of(function.device);
                function.read_memory(address, size, &mut hardware)
            }
            None => u64::MAX,
        }
    }

    /// Writes memory that is emulated.
    pub fn write_memory(
        &mut self,
        (address, size): (u64, u8),
        value: u64,
        hardware: &mut impl HardwareOf,
    ) {
        if size == 8 && map::ECAM.contains(address, 8) {
            self.write_memory((address, 4), value & 0xffff_ffff, hardware);
            self.write_memory((address + 4, 4), value >> 32, hardware);
        } else if let Some((slot, offset)) = Self::memory_register(address, size) {
            self.write_config(slot, (offset, size), value as u32, hardware);
        } else if let Some(function) = self.functions.iter_mut().find(|f| f.answers(address, size))
        {
            let mut hardware = hardware.of(function.device);
            function.write_memory((address, size), value, self.vps, &mut hardware);
        }
    }

    /// Whether anything but the bus itself answers at an address.
    #[must_use]
    pub fn answers(&self, address: u64) -> bool {
        map::ECAM.contains(address, 1) || self.functions.iter().any(|f| f.answers(address, 1))
    }
}

#[cfg(test)]
mod tests {
    use super::super::hardware::tests::Recorder;
    use super::*;
    use crate::pci::description::tests::Fake;

    struct Nothing;
    impl HardwareOf for Nothing {
        type Hardware = Recorder;
        fn of(&mut self, _: DeviceId) -> Recorder {
            Recorder::default()
        }
    }

    fn bus() -> Bus {
        let mut bus = Bus::new(2);
        let description = Fake::network_card().describe().unwrap();
        let device = DeviceId::new(0, 2, 0, 0).unwrap();
        assert_eq!(bus.add(device, &description), Some(1));
        bus
    }

    #[test]
    fn both_ways_lead_to_the_same_registers() {
        let mut bus = bus();
        bus.write_port((0xcf8, 4), 0x8000_0800, &mut Nothing);
        assert_eq!(bus.read_port(0xcf8, 4), 0x8000_0800);
        assert_eq!(bus.read_port(0xcfc, 4), 0x10d3_8086);
        assert_eq!(bus.read_port(0xcfe, 2), 0x10d3);
        assert_eq!(bus.read_memory(0xe000_8000, 4, &mut Nothing), 0x10d3_8086);
        assert_eq!(bus.read_memory(0xe000_0000, 4, &mut Nothing), 0x0001_1de5);
    }

    #[test]
    fn cfg_09_straddling_accesses_touch_nothing() {
        let mut bus = bus();
        bus.write_port((0xcf8, 4), 0x8000_0800, &mut Nothing);
        assert_eq!(bus.read_port(0xcfd, 2), u32::MAX);
        assert_eq!(bus.read_port(0xcff, 4), u32::MAX);
        assert_eq!(bus.read_memory(0xe000_8001, 4, &mut Nothing), 0xffff_ffff);
        bus.write_memory((0xe000_8ffd, 8), u64::MAX, &mut Nothing);
        assert_eq!(bus.read_memory(0xe00f_fffe, 4, &mut Nothing), 0xffff_ffff);
    }

    #[test]
    fn cfg_11_no_function_but_its_own_answers() {
        let mut bus = bus();
        let mut answering = 0;
        for function in 0..65_536u32 {
            bus.write_port((0xcf8, 4), 1 << 31 | function << 8, &mut Nothing);
            answering += u32::from(bus.read_port(0xcfc, 2) as u16 != 0xffff);
        }
        assert_eq!(answering, 2);
    }
}
