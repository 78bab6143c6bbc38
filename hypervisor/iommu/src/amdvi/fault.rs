//! Logged events.

use address::{ApicId, Vector};
use bitfield_struct::bitfield;

use super::control::Control;
use super::event::{self, Event, EventLow};
use super::status::Status;
use super::{Amdvi, registers};
use crate::interrupt::FIRST_VECTOR;
use crate::{Error, Fault, FaultKind, Hardware};

/// Bytes of the log and of an entry.
const LOG_BYTES: usize = 4096;
const ENTRY_BYTES: usize = 16;
/// How often an entry is looked at whose bytes have not arrived although the tail has.
const LOOKS: usize = 1000;

/// XT IOMMU General Interrupt Control Register.
#[bitfield(u64)]
struct OwnInterrupt {
    __: u8,
    #[bits(24)]
    destination_23_0: u32,
    vector: u8,
    __: u16,
    destination_31_24: u8,
}

impl<H: Hardware> Amdvi<H> {
    pub(crate) fn take_fault(&mut self) -> Result<Option<Fault>, Error> {
        self.require_enabled()?;
        let status = self.status()?;
        // No verb is under way: commands that do not run now mean that the unit is not what it was.
        if !status.commands_run() {
            return Err(self.fail());
        }
        let event = self.take_event()?;
        if event.is_none() && (status.event_overflow() || !status.event_log_runs()) {
            // Only once all that was logged is taken: a restart begins with an empty log.
            self.fault_overflows += u64::from(status.event_overflow());
            self.restart_log()?;
        }
        let Some(event) = event else {
            return Ok(None);
        };
        let Event::Fault(fault) = event else {
            return Err(self.fail());
        };
        if !matches!(fault.kind, FaultKind::Interrupt(_)) && self.is_blocked(fault.requester) {
            // Where this fails the unit is failed, which the next call says; the fault is no less true.
            let _failed = self.silence(fault.requester);
        }
        Ok(Some(fault))
    }

    pub(crate) fn set_fault_interrupt(
        &mut self,
        apic: ApicId,
        vector: Vector,
    ) -> Result<(), Error> {
        self.require_enabled()?;
        if vector.0 < FIRST_VECTOR {
            return Err(Error::Target);
        }
        // Without x2APIC interrupts of its own, the unit's interrupt is an MSI of its PCI function: the log is polled.
        if !self.feature.x2apic() {
            return Err(Error::NoInterrupts);
        }
        let target = OwnInterrupt::new()
            .with_destination_23_0(apic.0 & 0xff_ffff)
            .with_vector(vector.0)
            .with_destination_31_24((apic.0 >> 24) as u8);
        self.hardware
            .write64(registers::EVENT_INTERRUPT, target.into_bits());
        let control = self.control()?;
        let control = control.with_x2apic_own(true).with_event_interrupt(true);
        self.hardware
            .write64(registers::CONTROL, control.into_bits());
        Ok(())
    }

    fn control(&mut self) -> Result<Control, Error> {
        let control = self.hardware.read64(registers::CONTROL);
        if control == u64::MAX {
            return Err(self.fail());
        }
        Ok(Control::from_bits(control))
    }

    /// Takes the oldest entry, if there is one, and frees its room.
    fn take_event(&mut self) -> Result<Option<Event>, Error> {
        let clear = Status::new().with_event_interrupt(true);
        self.hardware.write32(registers::STATUS, clear.into_bits());
        let tail = self.hardware.read64(registers::EVENT_TAIL);
        if tail >= LOG_BYTES as u64 {
            return Err(self.fail());
        }
        if tail as usize & !(ENTRY_BYTES - 1) == self.event_head {
            return Ok(None);
        }
        let word = self.event_head / 8;
        let hardware = &self.hardware;
        // The tail may be seen before the entry.
        let low = (0..LOOKS)
            .map(|_| EventLow::from_bits(hardware.read(self.events, word)))
            .find(|low| low.code() != 0);
        let address = hardware.read(self.events, word + 1);
        for word in [word, word + 1] {
            hardware.write(self.events, word, 0);
        }
        self.event_head = (self.event_head + ENTRY_BYTES) % LOG_BYTES;
        hardware.write64(registers::EVENT_HEAD, self.event_head as u64);
        Ok(low.map(|low| event::decode(low, address)))
    }

    /// Logging that has stopped, for want of room, goes on with an empty log.
    fn restart_log(&mut self) -> Result<(), Error> {
        let control = self.control()?;
        self.command(control.with_event_log(false), |status| {
            !status.event_log_runs()
        })?;
        let overflow = Status::new().with_event_overflow(true);
        self.hardware
            .write32(registers::STATUS, overflow.into_bits());
        for offset in [registers::EVENT_HEAD, registers::EVENT_TAIL] {
            self.hardware.write64(offset, 0);
        }
        self.event_head = 0;
        self.command(control.with_event_log(true), |status| {
            status.event_log_runs()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_value_of_the_units_own_interrupt() {
        let target = OwnInterrupt::new()
            .with_destination_23_0(0x02_0304)
            .with_vector(0x41)
            .with_destination_31_24(1);
        assert_eq!(target.into_bits(), 0x0100_0041_0203_0400);
    }
}
