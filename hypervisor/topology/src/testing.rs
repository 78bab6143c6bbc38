//! Machines for the tests of this crate.

extern crate std;

use std::collections::BTreeMap;
use std::vec::Vec;

use address::DeviceId;

use crate::ConfigSpace;

/// One function's registers, the bits that a write may change, and the last capability of each list.
#[derive(Clone)]
pub(crate) struct Space {
    bytes: Vec<u8>,
    writable: Vec<u8>,
    last: Option<u16>,
    last_extended: Option<u16>,
}

impl Space {
    pub(crate) fn set8(&mut self, at: u16, value: u8) {
        self.bytes[usize::from(at)] = value;
    }

    pub(crate) fn set16(&mut self, at: u16, value: u16) {
        self.bytes[usize::from(at)..][..2].copy_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn set32(&mut self, at: u16, value: u32) {
        self.bytes[usize::from(at)..][..4].copy_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn get16(&self, at: u16) -> u16 {
        u16::from_le_bytes([self.bytes[usize::from(at)], self.bytes[usize::from(at) + 1]])
    }

    pub(crate) fn get32(&self, at: u16) -> u32 {
        self.get16(at) as u32 | (self.get16(at + 2) as u32) << 16
    }

    pub(crate) fn allow(&mut self, at: u16, mask: u32) {
        self.writable[usize::from(at)..][..4].copy_from_slice(&mask.to_le_bytes());
    }

    /// Appends to the conventional list.
    pub(crate) fn capability(&mut self, at: u16, id: u8, body: &[u8]) {
        self.set8(at, id);
        self.bytes[usize::from(at) + 2..][..body.len()].copy_from_slice(body);
        self.set8(self.last.map_or(0x34, |last| last + 1), at as u8);
        self.set16(6, 1 << 4);
        self.last = Some(at);
    }

    /// Appends to the extended list; the first stands at 100h.
    pub(crate) fn extended(&mut self, at: u16, id: u16, body: &[u8]) {
        self.set32(at, u32::from(id) | 1 << 16);
        self.bytes[usize::from(at) + 4..][..body.len()].copy_from_slice(body);
        if let Some(last) = self.last_extended {
            let header = self.get32(last);
            self.set32(last, header | u32::from(at) << 20);
        }
        self.last_extended = Some(at);
    }

    /// A memory BAR of 32 bits.
    pub(crate) fn bar(&mut self, index: u16, address: u32, size: u32) {
        self.set32(0x10 + index * 4, address);
        self.allow(0x10 + index * 4, !(size - 1));
    }

    /// A prefetchable memory BAR of 64 bits.
    pub(crate) fn wide_bar(&mut self, index: u16, address: u64, size: u64) {
        self.set32(0x10 + index * 4, address as u32 | 0xc);
        self.set32(0x14 + index * 4, (address >> 32) as u32);
        self.allow(0x10 + index * 4, !(size - 1) as u32 & !0xf);
        self.allow(0x14 + index * 4, (!(size - 1) >> 32) as u32);
    }

    /// A PCI Express capability at 70h.
    pub(crate) fn pcie(&mut self, port: u8, flr: bool) {
        let [d0, d1, d2, d3] = (u32::from(flr) << 28).to_le_bytes();
        self.capability(0x70, 0x10, &[port << 4 | 2, 0, d0, d1, d2, d3]);
    }

    /// Access control services at 100h, every control writable.
    pub(crate) fn acs(&mut self, capable: u16) {
        let [low, high] = capable.to_le_bytes();
        self.extended(0x100, 0x0d, &[low, high, 0, 0]);
        self.allow(0x104, u32::from(capable) << 16);
    }
}

fn space(vendor: u16, device: u16, header: u8, class: u32) -> Space {
    let mut space = Space {
        bytes: std::vec![0; 4096],
        writable: std::vec![0; 4096],
        last: None,
        last_extended: None,
    };
    space.set16(0, vendor);
    space.set16(2, device);
    space.set32(8, class << 8);
    space.set8(0xe, header);
    space.allow(4, 0x407);
    space
}

/// A single-function network controller without BARs and capabilities.
pub(crate) fn device(vendor: u16, device: u16) -> Space {
    space(vendor, device, 0, 0x02_0000)
}

/// A bridge with these buses below.
pub(crate) fn bridge(secondary: u8, subordinate: u8) -> Space {
    let mut space = space(0x1b36, 0x000c, 1, 0x06_0400);
    space.set8(0x19, secondary);
    space.set8(0x1a, subordinate);
    space
}

/// A bridge that is a PCI Express port of this type.
pub(crate) fn port(port: u8, secondary: u8, subordinate: u8) -> Space {
    let mut space = bridge(secondary, subordinate);
    space.pcie(port, false);
    space
}

/// Functions by their id.
#[derive(Clone, Default)]
pub(crate) struct Machine {
    pub(crate) spaces: BTreeMap<DeviceId, Space>,
    pub(crate) accesses: usize,
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn with(mut self, id: DeviceId, space: Space) -> Self {
        self.spaces.insert(id, space);
        self
    }

    pub(crate) fn space(&mut self, id: DeviceId) -> &mut Space {
        self.spaces.get_mut(&id).unwrap()
    }

    fn read(&mut self, id: DeviceId, at: u16) -> u8 {
        self.accesses += 1;
        self.spaces
            .get(&id)
            .map_or(0xff, |space| space.bytes[usize::from(at)])
    }

    fn write(&mut self, id: DeviceId, at: u16, value: u8) {
        self.accesses += 1;
        if let Some(space) = self.spaces.get_mut(&id) {
            let mask = space.writable[usize::from(at)];
            let byte = &mut space.bytes[usize::from(at)];
            *byte = *byte & !mask | value & mask;
        }
    }
}

impl ConfigSpace for Machine {
    fn read8(&mut self, device: DeviceId, offset: u16) -> u8 {
        self.read(device, offset)
    }

    fn read16(&mut self, device: DeviceId, offset: u16) -> u16 {
        u16::from_le_bytes([0, 1].map(|byte| self.read(device, offset + byte)))
    }

    fn read32(&mut self, device: DeviceId, offset: u16) -> u32 {
        u32::from_le_bytes([0, 1, 2, 3].map(|byte| self.read(device, offset + byte)))
    }

    fn write8(&mut self, device: DeviceId, offset: u16, value: u8) {
        self.write(device, offset, value);
    }

    fn write16(&mut self, device: DeviceId, offset: u16, value: u16) {
        for (byte, value) in (0..).zip(value.to_le_bytes()) {
            self.write(device, offset + byte, value);
        }
    }

    fn write32(&mut self, device: DeviceId, offset: u16, value: u32) {
        for (byte, value) in (0..).zip(value.to_le_bytes()) {
            self.write(device, offset + byte, value);
        }
    }
}
