//! The invalidation queue: making the unit forget, and knowing that it did.

use address::Spa;
use arrayvec::ArrayVec;
use paging::FlushRange;

use super::descriptor::Descriptor;
use super::fault_status::FaultStatus;
use super::{Vtd, registers};
use crate::cover::cover;
use crate::wait::wait;
use crate::{DomainName, Error, Hardware};

/// Descriptors in the queue: one frame of them.
const SLOTS: u16 = 256;

/// The queue. It is empty whenever no verb is under way, because each verb waits for its own descriptors.
#[derive(Debug)]
pub(crate) struct Queue {
    base: Spa,
    /// Frame of the word that wait descriptors write to.
    status: Spa,
    tail: u16,
    /// What the last wait descriptor wrote.
    sequence: u32,
}

impl Default for Queue {
    fn default() -> Self {
        Self::new(Spa::new(0), Spa::new(0))
    }
}

impl Queue {
    pub(crate) const fn new(base: Spa, status: Spa) -> Self {
        Self {
            base,
            status,
            tail: 0,
            sequence: 0,
        }
    }

    /// Value of the queue address register: one frame (size 0), 128-bit descriptors.
    pub(crate) const fn address(&self) -> u64 {
        self.base.as_u64()
    }
}

impl<H: Hardware> Vtd<H> {
    pub(crate) fn flush_domain(
        &mut self,
        name: DomainName,
        range: FlushRange,
    ) -> Result<(), Error> {
        self.require_enabled()?;
        self.check_name(name)?;
        let FlushRange::Pages {
            first,
            count,
            tables,
        } = range
        else {
            return self.submit(&[Descriptor::domain(name, self.drain())]);
        };
        if count == 0 && !tables {
            return Ok(());
        }
        let blocks = cover(first, count);
        let selective = self.capability.page_selective()
            && !blocks.is_empty()
            && blocks
                .iter()
                .all(|block| block.mask <= self.capability.address_mask());
        if !selective {
            return self.submit(&[Descriptor::domain(name, self.drain())]);
        }
        // A unit that caches what is not present may have cached a missing table, too.
        let leaves_only = !tables && !self.capability.caching_mode();
        let descriptors: ArrayVec<Descriptor, 2> = blocks
            .iter()
            .map(|block| {
                Descriptor::pages(name, block.first, block.mask, leaves_only, self.drain())
            })
            .collect();
        self.submit(&descriptors)
    }

    pub(super) fn check_name(&self, name: DomainName) -> Result<(), Error> {
        if name.0 == 0 || name.0 > self.domain_names() {
            return Err(Error::DomainName);
        }
        Ok(())
    }

    /// Hands descriptors (a few) to the unit, and waits until it confirms that they are done. All stores to tables made before
    /// count before the first of them does.
    pub(super) fn submit(&mut self, descriptors: &[Descriptor]) -> Result<(), Error> {
        self.flush_write_buffers()?;
        for &descriptor in descriptors {
            self.push(descriptor);
        }
        self.queue.sequence = self.queue.sequence.wrapping_add(1);
        let (status, sequence) = (self.queue.status, self.queue.sequence);
        self.push(Descriptor::wait(status, sequence));
        let hardware = &self.hardware;
        hardware.write64(registers::QUEUE_TAIL, u64::from(self.queue.tail) << 4);
        let answer = wait(hardware, || {
            if hardware.read(status, 0) as u32 == sequence {
                return Some(true);
            }
            // All ones, of a unit that is gone, reads as broken as well.
            let faults = FaultStatus::from_bits(hardware.read32(registers::FAULT_STATUS));
            faults.queue_is_broken().then_some(false)
        });
        match answer {
            Ok(true) => Ok(()),
            _ => Err(self.fail()),
        }
    }

    fn push(&mut self, descriptor: Descriptor) {
        let word = usize::from(self.queue.tail) * 2;
        self.hardware.write(self.queue.base, word, descriptor.low);
        self.hardware
            .write(self.queue.base, word + 1, descriptor.high);
        self.clean(self.queue.base, word, 2);
        self.queue.tail = (self.queue.tail + 1) % SLOTS;
    }
}
