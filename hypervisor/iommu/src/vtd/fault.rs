//! Recorded faults.

use address::{ApicId, Vector};

use super::fault_record::{self, RecordHigh};
use super::fault_status::FaultStatus;
use super::{Vtd, registers};
use crate::interrupt::FIRST_VECTOR;
use crate::{Error, Fault, FaultKind, Hardware};

impl<H: Hardware> Vtd<H> {
    pub(crate) fn take_fault(&mut self) -> Result<Option<Fault>, Error> {
        self.require_enabled()?;
        let raw = self.hardware.read32(registers::FAULT_STATUS);
        let status = FaultStatus::from_bits(raw);
        // No verb is under way: an error of the queue now means that the unit is not what it was. All ones read as one.
        if raw == u32::MAX || status.queue_is_broken() {
            return Err(self.fail());
        }
        let fault = if status.pending() {
            self.take_record(status.index())
        } else {
            None
        };
        if status.overflow() {
            // Cleared only once there is room again, or it would come back at once.
            self.fault_overflows += 1;
            let clear = FaultStatus::new().with_overflow(true);
            self.hardware
                .write32(registers::FAULT_STATUS, clear.into_bits());
        }
        if let Some(fault) = fault
            && !matches!(fault.kind, FaultKind::Interrupt(_))
            && self.is_blocked(fault.requester)
        {
            // Where this fails the unit is failed, which the next call says; the fault is no less true.
            let _failed = self.silence(fault.requester);
        }
        Ok(fault)
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
        let hardware = &self.hardware;
        hardware.write32(registers::FAULT_CONTROL, registers::FAULT_CONTROL_MASKED);
        hardware.write32(registers::FAULT_DATA, u32::from(vector.0));
        hardware.write32(
            registers::FAULT_ADDRESS,
            0xfee0_0000 | (apic.0 & 0xff) << 12,
        );
        hardware.write32(registers::FAULT_UPPER_ADDRESS, apic.0 & !0xff);
        hardware.write32(registers::FAULT_CONTROL, 0);
        Ok(())
    }

    /// Takes and frees the first record in use, from the one that the unit calls the oldest.
    fn take_record(&mut self, oldest: u8) -> Option<Fault> {
        let records = u16::from(self.capability.fault_records()) + 1;
        for step in 0..records {
            let index = ((u16::from(oldest) + step) % records) as u8;
            let offset = self.record(index);
            let high = RecordHigh::from_bits(self.hardware.read64(offset + 8));
            if high.fault() {
                let low = self.hardware.read64(offset);
                self.free_record(index);
                return Some(fault_record::decode(low, high));
            }
        }
        None
    }

    /// Frees a record: the topmost 32 bits alone hold the bit that does it.
    pub(super) fn free_record(&self, index: u8) {
        let free = RecordHigh::new().with_fault(true).into_bits() >> 32;
        self.hardware.write32(self.record(index) + 12, free as u32);
    }

    /// Offset of a record.
    fn record(&self, index: u8) -> usize {
        16 * (usize::from(self.capability.fault_offset()) + usize::from(index))
    }
}
