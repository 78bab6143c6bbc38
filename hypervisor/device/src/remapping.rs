//! The hardware half of device interrupts: who remaps what, what the wire is programmed with, and the lists that they
//! are in.

use address::{ApicId, DeviceId, PartitionId, Vector};
use iommu::{Polarity, Posting};
use paging::FrameSource;

use crate::interrupt::{Hardware, Interrupt, MAX_PINS};
use crate::{Devices, Error, InterruptId, Platform, Source, Wire};

impl<P: Platform> Devices<P> {
    /// Who remaps a device's messages, once it is clear that the owner may have one more.
    pub(crate) fn message_source(
        &mut self,
        owner: PartitionId,
        device: DeviceId,
    ) -> Result<Option<Hardware>, Error> {
        self.check_attached(owner, device)?;
        let it = self.device(device)?;
        let hardware = Hardware {
            unit: it.unit.ok_or(Error::NoHardware)?,
            source: it.source,
            index: 0,
        };
        let quota = self.capacities.interrupts_per_partition;
        let used = self.domains.account(owner).map_or(0, |it| it.interrupts);
        if used >= quota {
            return Err(Error::Quota(u32::from(quota)));
        }
        Ok(Some(hardware))
    }

    /// Who remaps a pin.
    pub(crate) fn pin_source(
        &self,
        owner: PartitionId,
        io_apic: u8,
        pin: u8,
    ) -> Result<Option<Hardware>, Error> {
        if owner != PartitionId::ROOT {
            return Err(Error::NotOwner {
                owner: PartitionId::ROOT,
            });
        }
        if let Some(number) = self.interrupts.pins.find((io_apic, pin)) {
            return Err(Error::PinInUse(InterruptId(u32::from(number))));
        }
        if self.interrupts.pins.is_full() {
            return Err(Error::Quota(u32::from(MAX_PINS)));
        }
        if !self.interrupts.remapping {
            return Ok(None);
        }
        let found = self.interrupts.io_apics.iter().find(|it| it.id == io_apic);
        let found = found.ok_or(Error::NoSuchPin { io_apic, pin })?;
        Ok(Some(Hardware {
            unit: found.unit,
            source: found.source,
            index: 0,
        }))
    }

    /// The entry that a new interrupt gets.
    pub(crate) fn choose_entry(&mut self, wanted: Hardware, id: u16) -> Result<Hardware, Error> {
        let unit = self.units.get(wanted.unit)?;
        let index = unit.choose_interrupt(wanted.source, id);
        let index = index.ok_or(Error::OutOfInterrupts)?;
        Ok(Hardware { index, ..wanted })
    }

    /// Gives the memory of a device's interrupt entries back once it has none any more.
    pub(crate) fn release_entries(
        &mut self,
        device: u16,
        pool: &mut impl FrameSource,
    ) -> Result<(), Error> {
        let it = self.devices.get(usize::from(device));
        let Some((unit, source)) = it.and_then(|it| Some((it.unit?, it.source))) else {
            return Ok(());
        };
        // A unit that has failed may still read them: they are never given back.
        let Ok(working) = self.units.get(unit) else {
            return Ok(());
        };
        let released = working.release_interrupts(source, pool);
        let released = released.map_err(|error| Error::from_unit(unit, error));
        released.or_else(|error| self.failed_by(error))
    }

    pub(crate) fn write_entry(
        &mut self,
        interrupt: &Interrupt,
        pool: &mut impl FrameSource,
    ) -> Result<(), Error> {
        let Some(hardware) = interrupt.hardware else {
            return Ok(());
        };
        let target = iommu::Target {
            apic: interrupt.target.apic,
            vector: interrupt.vector,
            trigger: interrupt.source.trigger(),
        };
        let posting = self.posting(interrupt);
        let unit = self.units.get(hardware.unit)?;
        let (index, source) = (hardware.index, hardware.source);
        let written = match posting {
            Some(to) => unit.post_interrupt(index, source, to),
            None => unit.set_interrupt(index, source, target, pool),
        };
        if written == Err(iommu::Error::UnitFailed) {
            self.keep_in_use(interrupt);
        }
        written.map_err(|error| Error::from_unit(hardware.unit, error))
    }

    /// How an interrupt is posted: a message, where the unit can and the target may. A pin is not: its vector has to reach the LP.
    pub(crate) fn posting(&mut self, interrupt: &Interrupt) -> Option<Posting> {
        let unit = self.units.get(interrupt.hardware?.unit).ok()?;
        let posts = matches!(interrupt.source, Source::Message(_)) && unit.posts_interrupts();
        let descriptor = interrupt.target.post.filter(|_| posts)?;
        Some(Posting {
            descriptor,
            vector: interrupt.target.vector,
        })
    }

    /// The unit did not confirm what became of a posted entry: it may post to its VP as long as the machine runs (invariant 2).
    #[cold]
    pub(crate) fn keep_in_use(&mut self, interrupt: &Interrupt) {
        let vp = interrupt.target.vp;
        let full = self.posted_to.len() == self.posted_to.capacity();
        if interrupt.target.post.is_some() && !full && !self.posted_to.contains(&vp) {
            self.posted_to.push(vp);
        }
    }

    /// What the device, or the I/O APIC, of an interrupt is programmed with; `None` where there is no such interrupt.
    pub fn wire_of(&mut self, id: InterruptId) -> Option<Wire> {
        let number = u16::try_from(id.0).ok()?;
        let copy = self.interrupts.slots.get(number).copied()?;
        Some(self.wire(&copy))
    }

    pub(crate) fn wire(&mut self, interrupt: &Interrupt) -> Wire {
        let id = interrupt.hardware.map_or(0, |it| it.index);
        let unit = interrupt
            .hardware
            .and_then(|it| self.units.get(it.unit).ok());
        match (interrupt.source, unit) {
            (Source::Message(_), Some(unit)) => {
                let message = unit.message(id);
                Wire::Message {
                    address: message.address as u32,
                    data: message.data,
                }
            }
            // No message exists without a unit: `message_source` wants one.
            (Source::Message(_), None) => Wire::Message {
                address: 0,
                data: 0,
            },
            (Source::Pin { polarity, .. }, Some(unit)) => {
                let trigger = interrupt.source.trigger();
                Wire::Pin(unit.pin_entry(id, interrupt.vector, trigger, polarity))
            }
            (
                Source::Pin {
                    level, polarity, ..
                },
                None,
            ) => Wire::Pin(plain_pin(
                interrupt.target.apic,
                interrupt.vector,
                level,
                polarity,
            )),
        }
    }

    /// Enters a new interrupt in its device's list and its owner's account, or among the pins.
    pub(crate) fn link(&mut self, id: u16, source: Source, owner: PartitionId) {
        match source {
            Source::Pin { io_apic, pin, .. } => {
                self.interrupts.pins.insert((io_apic, pin), id);
            }
            Source::Message(device) => {
                let Ok(number) = self.device_number(device) else {
                    return;
                };
                if let Some(device) = self.devices.get_mut(usize::from(number)) {
                    let next = device.first_interrupt.replace(id);
                    device.interrupts += 1;
                    if let Some(slot) = self.interrupts.slots.get_mut(id) {
                        slot.next = next;
                    }
                }
                if let Some(account) = self.domains.account(owner) {
                    account.interrupts += 1;
                }
            }
        }
    }

    /// Undoes [`Self::link`].
    pub(crate) fn unlink(&mut self, id: u16) {
        let Some(it) = self.interrupts.slots.get(id) else {
            return;
        };
        let (source, owner, next) = (it.source, it.owner, it.next);
        let device = match source {
            Source::Pin { io_apic, pin, .. } => return self.interrupts.pins.remove((io_apic, pin)),
            Source::Message(device) => device,
        };
        if let Some(account) = self.domains.account(owner) {
            account.interrupts = account.interrupts.saturating_sub(1);
        }
        let Ok(number) = self.device_number(device) else {
            return;
        };
        let Some(device) = self.devices.get_mut(usize::from(number)) else {
            return;
        };
        device.interrupts = device.interrupts.saturating_sub(1);
        if device.first_interrupt == Some(id) {
            device.first_interrupt = next;
            return;
        }
        let mut at = device.first_interrupt;
        while let Some(slot) = at.and_then(|at| self.interrupts.slots.get_mut(at)) {
            if slot.next == Some(id) {
                slot.next = next;
                return;
            }
            at = slot.next;
        }
    }
}

/// A redirection entry where nothing is remapped: fixed delivery to one local APIC (82093AA I/O APIC, "I/O redirection
/// table registers": vector 7:0, active low 13, level 15, destination 63:56).
fn plain_pin(apic: ApicId, vector: Vector, level: bool, polarity: Polarity) -> u64 {
    let low = u64::from(polarity == Polarity::Low) << 13;
    u64::from(apic.0 & 0xff) << 56 | u64::from(level) << 15 | low | u64::from(vector.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_value_of_a_plain_pin() {
        let entry = plain_pin(ApicId(3), Vector(0x31), true, Polarity::Low);
        assert_eq!(entry, 0x0300_0000_0000_a031);
        assert_eq!(
            plain_pin(ApicId(0), Vector(0x40), false, Polarity::High),
            0x40
        );
    }
}
