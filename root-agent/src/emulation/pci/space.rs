//! Virtual configuration space: bytes, and for each the bits that the guest may write. What is not listed cannot be
//! written, what is not copied from the device does not exist.

use crate::pci::config::{command, register};
use crate::pci::description::Description;

/// Virtual configuration space of a function. Above 256 bytes it is empty: there are no extended capabilities.
pub struct Space {
    bytes: [u8; 256],
    writable: [u8; 256],
}

/// Capability header: id and pointer to the next.
const LINK: usize = 1;

impl Space {
    /// A function without BARs, capabilities and interrupts.
    #[must_use]
    pub fn new(ids: u32, class: u32) -> Self {
        let mut space = Self {
            bytes: [0; 256],
            writable: [0; 256],
        };
        space.set(usize::from(register::IDS), &ids.to_le_bytes());
        space.set(8, &class.to_le_bytes());
        space
    }

    /// The virtual twin of a real function: identity, and the capabilities that a guest may see.
    #[must_use]
    pub fn of(description: &Description) -> Self {
        let word = |at: usize| {
            let bytes = description.bytes.get(at..at + 4);
            let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, u32::from_le_bytes)
        };
        let mut space = Self::new(word(0), word(8));
        space.set(0x2c, &word(0x2c).to_le_bytes());
        let commands = command::MEMORY | command::BUS_MASTER | command::NO_INTX;
        space.allow(usize::from(register::COMMAND), &commands.to_le_bytes());
        // Cache line size and interrupt line: scratch bytes of the operating system.
        space.allow(0x0c, &[0xff]);
        space.allow(0x3c, &[0xff]);
        space.add_capabilities(description);
        space
    }

    fn add_capabilities(&mut self, description: &Description) {
        let mut last = usize::from(register::CAPABILITIES);
        if let Some(at) = description.power {
            // State D0, no events: power states stay the root's.
            let at = usize::from(at);
            self.copy(description, at, 4);
            self.clear_bits(at + 3, 0xf8);
            self.link(&mut last, at);
        }
        if let Some(msi) = description.msi {
            let at = usize::from(msi.offset);
            self.set(at, &[capability_id(description, at)]);
            self.set(at + 2, &[if msi.wide { 0x80 } else { 0 }, 0]);
            self.allow(at + 2, &[0x01]);
            self.allow(at + 4, &[0xfc, 0xff, 0xff, 0xff]);
            let data = if msi.wide { at + 12 } else { at + 8 };
            if msi.wide {
                self.allow(at + 8, &[0xff; 4]);
            }
            self.allow(data, &[0xff; 2]);
            self.link(&mut last, at);
        }
        if let Some(msix) = description.msix {
            let at = usize::from(msix.offset);
            self.copy(description, at, 12);
            self.clear_bits(at + 3, 0xc0);
            self.allow(at + 3, &[0xc0]);
            self.link(&mut last, at);
        }
        if let Some(at) = description.express {
            let at = usize::from(at);
            // Up to the link status; what lies behind belongs to slots, roots and later versions.
            self.copy(description, at, 20);
            // Version 1, an endpoint as it was; the guest gets no function-level reset.
            self.clear_bits(at + 7, 0x10);
            // Error reporting, relaxed ordering, payload sizes: remembered, never passed on.
            self.allow(at + 8, &[0xff, 0x7f]);
            self.link(&mut last, at);
        }
        if last != usize::from(register::CAPABILITIES) {
            self.set(usize::from(register::STATUS), &[1 << 4]);
        }
    }

    fn link(&mut self, last: &mut usize, at: usize) {
        let pointer = if *last == usize::from(register::CAPABILITIES) {
            *last
        } else {
            *last + LINK
        };
        self.set(pointer, &[at as u8]);
        self.set(at + LINK, &[0]);
        *last = at;
    }

    fn copy(&mut self, description: &Description, at: usize, length: usize) {
        if let Some(bytes) = description.bytes.get(at..at + length) {
            self.set(at, bytes);
        }
    }

    /// Writes bytes whatever the guest may do.
    pub fn set(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.bytes.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }

    /// Lets the guest write these bits.
    pub fn allow(&mut self, at: usize, bits: &[u8]) {
        if let Some(place) = self.writable.get_mut(at..at + bits.len()) {
            place.copy_from_slice(bits);
        }
    }

    fn clear_bits(&mut self, at: usize, bits: u8) {
        if let Some(byte) = self.bytes.get_mut(at) {
            *byte &= !bits;
        }
    }

    /// Reads `size` bytes; zero where nothing is.
    #[must_use]
    pub fn read(&self, offset: u16, size: u8) -> u32 {
        let start = usize::from(offset);
        let bytes = self.bytes.get(start..start + usize::from(size));
        let bytes = bytes.unwrap_or(&[]).iter().rev();
        bytes.fold(0, |value, &byte| value << 8 | u32::from(byte))
    }

    /// Writes the bits that the guest may write.
    pub fn write(&mut self, offset: u16, size: u8, value: u32) {
        let places = self.bytes.iter_mut().zip(&self.writable);
        let places = places.skip(usize::from(offset)).take(usize::from(size));
        for ((byte, &writable), new) in places.zip(value.to_le_bytes()) {
            *byte = *byte & !writable | new & writable;
        }
    }
}

fn capability_id(description: &Description, at: usize) -> u8 {
    description.bytes.get(at).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::description::tests::Fake;
    use alloc::vec::Vec;

    fn space() -> Space {
        Space::of(&Fake::network_card().describe().unwrap())
    }

    #[test]
    fn cfg_07_only_listed_capabilities_are_seen() {
        let space = space();
        let mut seen = Vec::new();
        let mut at = space.read(0x34, 1);
        while at != 0 {
            seen.push(space.read(at as u16, 1));
            at = space.read(at as u16 + 1, 1);
        }
        assert_eq!(seen, [0x01, 0x05, 0x11, 0x10], "the vendor's is hidden");
        assert_eq!(space.read(0x100, 4), 0, "no extended capabilities");
        assert_eq!(space.read(0xe4, 4) & 1 << 28, 0, "no reset");
    }

    #[test]
    fn cfg_07_only_listed_bits_can_be_written() {
        let mut space = space();
        let before = space.bytes;
        (0..256).for_each(|at| space.write(at, 1, 0xff));
        let changed: Vec<(usize, u8)> = (0..256)
            .map(|at| (at, space.bytes[at] ^ before[at]))
            .filter(|change| change.1 != 0)
            .collect();
        assert_eq!(
            changed.iter().map(|change| change.0).collect::<Vec<_>>(),
            [
                0x04, 0x05, 0x0c, 0x3c, 0xa3, 0xd2, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xdb,
                0xdc, 0xdd, 0xe8, 0xe9
            ]
        );
        assert_eq!(space.read(4, 2), 0x0406 & 0xffff);
        assert_eq!(space.read(0xe9, 1), 0x7f, "reset cannot be started");
        assert_eq!(space.read(0xd2, 1), 0x81, "one message");
    }
}
