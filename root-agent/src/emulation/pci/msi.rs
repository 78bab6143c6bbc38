//! Virtual MSI: one message. The real capability gets the pair that the hypervisor gave.

use abi::interrupt::Entry;

use super::hardware::{Hardware, message_address, message_data};
use super::message::Target;
use super::space::Space;
use crate::pci::description::MsiDescription;

/// State of a function's MSI.
pub struct Msi {
    description: MsiDescription,
    granted: Option<(Entry, Target)>,
}

impl Msi {
    /// MSI that is off.
    #[must_use]
    pub fn new(description: MsiDescription) -> Self {
        Self {
            description,
            granted: None,
        }
    }

    /// Makes hardware follow the virtual registers.
    pub fn settle(&mut self, space: &Space, vps: u32, hardware: &mut impl Hardware) {
        let wanted = self.wanted(space, vps);
        match (self.granted, wanted) {
            (None, Some(target)) => self.enable(target, hardware),
            (Some(_), None) => self.disable(hardware),
            (Some((entry, old)), Some(new))
                if old != new && hardware.retarget_interrupt(entry, new) =>
            {
                self.granted = Some((entry, new));
            }
            _ => {}
        }
    }

    /// The interrupt that it has been given.
    #[must_use]
    pub fn entry(&self) -> Option<Entry> {
        self.granted.map(|(entry, _)| entry)
    }

    fn wanted(&self, space: &Space, vps: u32) -> Option<Target> {
        let at = u16::from(self.description.offset);
        let enabled = space.read(at + 2, 1) & 1 != 0;
        let low = u64::from(space.read(at + 4, 4));
        let (high, data) = if self.description.wide {
            (u64::from(space.read(at + 8, 4)), space.read(at + 12, 2))
        } else {
            (0, space.read(at + 8, 2))
        };
        enabled
            .then(|| Target::decode(high << 32 | low, data, vps))
            .flatten()
    }

    fn enable(&mut self, target: Target, hardware: &mut impl Hardware) {
        let Some(entry) = hardware.map_interrupt(target) else {
            return;
        };
        let at = u16::from(self.description.offset);
        hardware.write_config(at + 4, 4, message_address(entry));
        let data = if self.description.wide {
            hardware.write_config(at + 8, 4, 0);
            at + 12
        } else {
            at + 8
        };
        hardware.write_config(data, 2, message_data(entry) & 0xffff);
        self.control(hardware, true);
        self.granted = Some((entry, target));
    }

    /// Turns it off, on hardware first.
    pub fn disable(&mut self, hardware: &mut impl Hardware) {
        if let Some((entry, _)) = self.granted.take() {
            self.control(hardware, false);
            hardware.unmap_interrupt(entry);
        }
    }

    /// One message, on or off.
    fn control(&self, hardware: &mut impl Hardware, on: bool) {
        let at = u16::from(self.description.offset) + 2;
        let before = hardware.read_config(at, 2) & !0x71;
        hardware.write_config(at, 2, before | u32::from(on));
    }
}
