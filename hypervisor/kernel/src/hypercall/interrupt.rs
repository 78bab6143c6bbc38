//! Device interrupts.

use abi::Status;
use abi::device::DeviceName;
use abi::interrupt::{
    Entry, MapInterrupt, MappedInterrupt, Retarget, UnmapInterrupt, interrupt_type, source,
    target_flags,
};
use abi::partition::privilege;
use address::{PartitionId, Vector};
use device::{InterruptEntry, InterruptId, Polarity, Source, Target, VpRef, Wire};

use super::vp::slot_in;
use super::{Outcome, Request};
use crate::Kernel;
use crate::partition::Partition;
use crate::seams::Machine;
use crate::status::IntoStatus;

/// Bits of an IOAPIC redirection entry that a caller may ask for: polarity, and the pin number in the vector's place.
const PIN_ACTIVE_LOW: u64 = 1 << 13;
/// Format of a VP set: sparse, 64 VPs a bank.
const SPARSE: u64 = 0;

impl<M: Machine> Kernel<M> {
    pub(super) fn map_device_interrupt(
        &self,
        request: &mut Request<'_>,
    ) -> Result<Outcome, Status> {
        let input: MapInterrupt = request.parameters()?;
        request.caller.needs(privilege::CPU_MANAGEMENT)?;
        let simple = input.flags == 0
            && input.reserved == 0
            && input.reserved2 == 0
            && input.interrupt_type == interrupt_type::FIXED
            && input.vector_count == 1
            && input.trigger <= 1;
        if !simple {
            return Err(Status::INVALID_PARAMETER);
        }
        let owner = request.caller.resolve(input.partition);
        let cell = self
            .partitions
            .get(owner)
            .ok_or(Status::INVALID_PARTITION_ID)?;
        let banks = request.list::<u64>()?;
        let source = wanted_source(&input)?;
        // Locked from the look for the VP on: until the interrupt is there, the VP cannot go.
        let mut body = super::domain::initialized(cell)?;
        let target = self.interrupt_target(&body, &input.target, input.bank_mask, banks)?;
        let pool = &mut body.pool.source(self.machine.tables());
        let entry = self
            .devices
            .lock()
            .map_interrupt(owner, source, target, pool)
            .map_err(IntoStatus::status)?;
        self.program_pin(source, &entry);
        request.answer(
            0,
            &MappedInterrupt {
                entry: describe(&entry),
                ..MappedInterrupt::default()
            },
        );
        Ok(Outcome::Done)
    }

    pub(super) fn unmap_device_interrupt(
        &self,
        request: &mut Request<'_>,
    ) -> Result<Outcome, Status> {
        let input: UnmapInterrupt = request.parameters()?;
        request.caller.needs(privilege::CPU_MANAGEMENT)?;
        if input.flags != 0 || input.reserved != 0 {
            return Err(Status::INVALID_PARAMETER);
        }
        let owner = request.caller.resolve(input.partition);
        let (id, source) = self.find_interrupt(owner, input.device, &input.entry)?;
        if let Source::Pin { io_apic, pin, .. } = source {
            self.machine.mask_pin(io_apic, pin);
        }
        self.devices
            .lock()
            .unmap_interrupt(owner, id)
            .map_err(IntoStatus::status)?;
        Ok(Outcome::Done)
    }

    pub(super) fn retarget_device_interrupt(
        &self,
        request: &mut Request<'_>,
    ) -> Result<Outcome, Status> {
        let input: Retarget = request.parameters()?;
        let owner = request.caller.resolve(input.partition);
        // A child may move its own interrupts among its own VPs.
        if owner != request.caller.partition {
            request.caller.needs(privilege::CPU_MANAGEMENT)?;
        }
        if input.reserved != 0 {
            return Err(Status::INVALID_PARAMETER);
        }
        let cell = self
            .partitions
            .get(owner)
            .ok_or(Status::INVALID_PARTITION_ID)?;
        let (mask, banks) = match request.list::<u64>()? {
            [] => (0, &[][..]),
            [mask, banks @ ..] => (*mask, banks),
        };
        let body = cell.body.lock();
        let target = self.interrupt_target(&body, &input.target, mask, banks)?;
        let (id, source) = self.find_interrupt(owner, input.device, &input.entry)?;
        let entry = self
            .devices
            .lock()
            .retarget_interrupt(owner, id, target)
            .map_err(IntoStatus::status)?;
        self.program_pin(source, &entry);
        Ok(Outcome::Done)
    }

    /// One VP and a vector, out of a mask or a set that names exactly one.
    fn interrupt_target(
        &self,
        body: &Partition,
        target: &abi::interrupt::Target,
        bank_mask: u64,
        banks: &[u64],
    ) -> Result<Target, Status> {
        let vector = u8::try_from(target.vector).map_err(|_| Status::INVALID_PARAMETER)?;
        let vp = match target.flags {
            0 if bank_mask == 0 && banks.is_empty() => only_bit(target.mask)?,
            target_flags::PROCESSOR_SET if target.mask == SPARSE => {
                let bank = only_bit(bank_mask)?;
                let &[bits] = banks else {
                    return Err(Status::INVALID_PARAMETER);
                };
                bank * 64 + only_bit(bits)?
            }
            _ => return Err(Status::INVALID_PARAMETER),
        };
        let slot = slot_in(body, vp)?;
        let lp = self.vp_cell(slot).lp();
        let apic = self
            .lps
            .get(usize::from(lp.0))
            .ok_or(Status::INVALID_LP_INDEX)?
            .apic_id;
        Ok(Target {
            lp,
            apic,
            vp: VpRef(u32::from(slot.0)),
            vector: Vector(vector),
            post: self.post_to(slot),
        })
    }

    /// The interrupt of a partition's device that an entry, as MapDeviceInterrupt returned it, belongs to.
    fn find_interrupt(
        &self,
        owner: PartitionId,
        device: u64,
        entry: &Entry,
    ) -> Result<(InterruptId, Source), Status> {
        let name = DeviceName::decode(device).ok_or(Status::INVALID_DEVICE_ID)?;
        let mut devices = self.devices.lock();
        let mut from = 0;
        while let Some((info, next)) = devices.interrupt_from(from) {
            from = next;
            let same = match (info.source, name) {
                (Source::Message(id), DeviceName::Pci(wanted)) => {
                    id == wanted
                        && entry.source == source::MSI
                        && devices.wire_of(info.id).map(|w| describe_wire(&w)) == Some(*entry)
                }
                (Source::Pin { io_apic, pin, .. }, DeviceName::IoApic(wanted)) => {
                    io_apic == wanted
                        && entry.source == source::IOAPIC
                        && u64::from(pin) == entry.value & 0xff
                }
                _ => false,
            };
            if same && info.owner != owner {
                return Err(Status::ACCESS_DENIED);
            }
            if same {
                return Ok((info.id, info.source));
            }
        }
        Err(Status::NOT_FOUND)
    }

    /// The IOAPIC is the hypervisor's: it writes the redirection entry itself.
    fn program_pin(&self, source: Source, entry: &InterruptEntry) {
        if let (Source::Pin { io_apic, pin, .. }, Wire::Pin(value)) = (source, entry.wire) {
            self.machine.program_pin(io_apic, pin, value);
        }
    }
}

/// What is to raise the interrupt. For a pin, the logical entry says which: the pin in bits 7:0, polarity in bit 13.
fn wanted_source(input: &MapInterrupt) -> Result<Source, Status> {
    match DeviceName::decode(input.device) {
        Some(DeviceName::Pci(device)) if input.trigger == 0 => Ok(Source::Message(device)),
        Some(DeviceName::IoApic(io_apic)) => {
            if input.partition != PartitionId::ROOT.0 && input.partition != PartitionId::SELF.0 {
                return Err(Status::ACCESS_DENIED);
            }
            if input.trigger != 0 {
                // A level would have to be masked until the VP ends the interrupt: no device of the root needs it yet.
                return Err(Status::FEATURE_UNAVAILABLE);
            }
            let low = input.logical.value & PIN_ACTIVE_LOW != 0;
            Ok(Source::Pin {
                io_apic,
                pin: input.logical.value as u8,
                level: false,
                polarity: if low { Polarity::Low } else { Polarity::High },
            })
        }
        _ => Err(Status::INVALID_DEVICE_ID),
    }
}

fn describe(entry: &InterruptEntry) -> Entry {
    describe_wire(&entry.wire)
}

fn describe_wire(wire: &Wire) -> Entry {
    match *wire {
        Wire::Message { address, data } => Entry {
            source: source::MSI,
            reserved: 0,
            value: u64::from(data) << 32 | u64::from(address),
        },
        Wire::Pin(value) => Entry {
            source: source::IOAPIC,
            reserved: 0,
            value,
        },
    }
}

/// Number of the one bit that is set.
fn only_bit(bits: u64) -> Result<u32, Status> {
    if bits.is_power_of_two() {
        Ok(bits.trailing_zeros())
    } else {
        Err(Status::INVALID_PARAMETER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn int_09_a_target_is_exactly_one_vp() {
        assert_eq!(only_bit(1 << 5), Ok(5));
        assert_eq!(only_bit(0), Err(Status::INVALID_PARAMETER));
        assert_eq!(only_bit(3), Err(Status::INVALID_PARAMETER));
        assert_eq!(only_bit(u64::MAX), Err(Status::INVALID_PARAMETER));
    }
}
