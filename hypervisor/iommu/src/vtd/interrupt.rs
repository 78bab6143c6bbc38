//! Interrupt entries.

use address::{Spa, Vector};

use super::descriptor::Descriptor;
use super::irte::{IrteHigh, IrteLow};
use super::{Vtd, message};
use crate::interrupt::FIRST_VECTOR;
use crate::{Error, Hardware, Message, Polarity, Source, Target, Trigger};

impl<H: Hardware> Vtd<H> {
    pub(crate) fn set_interrupt(
        &mut self,
        index: u16,
        source: Source,
        target: Target,
    ) -> Result<(), Error> {
        let (table, word) = self.interrupt_entry(index)?;
        if target.vector.0 < FIRST_VECTOR {
            return Err(Error::Target);
        }
        if matches!(source, Source::Buses { first, last } if last < first) {
            return Err(Error::Target);
        }
        let old = IrteLow::from_bits(self.hardware.read(table, word));
        let high = IrteHigh::from(source).into_bits();
        let same = self.hardware.read(table, word + 1) == high;
        if !same {
            if old.present() {
                // No moment in which the old target has the new source.
                self.publish(table, word, 0);
                self.submit(&[Descriptor::interrupt(index)])?;
            }
            self.publish(table, word + 1, high);
        }
        // With the source in place one store makes or moves the entry: no interrupt is lost. A masked one stays masked.
        let masked = same && !old.present() && old.vector() >= FIRST_VECTOR;
        let low = IrteLow::to(target);
        let low = if masked { low.masked(true) } else { low };
        self.publish(table, word, low.into_bits());
        self.submit(&[Descriptor::interrupt(index)])
    }

    pub(crate) fn clear_interrupt(&mut self, index: u16) -> Result<(), Error> {
        let (table, word) = self.interrupt_entry(index)?;
        self.publish(table, word, 0);
        self.publish(table, word + 1, 0);
        self.submit(&[Descriptor::interrupt(index)])
    }

    pub(crate) fn mask_interrupt(&mut self, index: u16, masked: bool) -> Result<(), Error> {
        let (table, word) = self.interrupt_entry(index)?;
        let low = IrteLow::from_bits(self.hardware.read(table, word));
        if low.vector() < FIRST_VECTOR {
            return Err(Error::Index);
        }
        self.publish(table, word, low.masked(masked).into_bits());
        self.submit(&[Descriptor::interrupt(index)])
    }

    pub(crate) const fn message(index: u16) -> Message {
        message::message(index)
    }

    pub(crate) const fn pin_entry(
        index: u16,
        vector: Vector,
        trigger: Trigger,
        polarity: Polarity,
    ) -> u64 {
        message::pin(index, vector, trigger, polarity).into_bits()
    }

    /// Frame and word of an entry's lower half.
    fn interrupt_entry(&self, index: u16) -> Result<(Spa, usize), Error> {
        self.require_enabled()?;
        let table = self.interrupts.ok_or(Error::NoInterrupts)?;
        let frame = index / 256;
        if frame >= table.frames {
            return Err(Error::Index);
        }
        let frame = Spa::from_page(table.base.page() + u64::from(frame)).ok_or(Error::Index)?;
        Ok((frame, usize::from(index % 256) * 2))
    }
}
