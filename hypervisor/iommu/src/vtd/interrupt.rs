//! Interrupt entries.

use address::{Spa, Vector};

use super::descriptor::Descriptor;
use super::irte::{IrteHigh, IrteLow};
use super::posted_irte::{PostedIrteHigh, PostedIrteLow};
use super::{Vtd, message};
use crate::interrupt::{FIRST_GUEST_VECTOR, FIRST_VECTOR};
use crate::{Error, Hardware, Message, Polarity, Posting, Source, Target, Trigger};

impl<H: Hardware> Vtd<H> {
    pub(crate) fn set_interrupt(
        &mut self,
        index: u16,
        source: Source,
        target: Target,
    ) -> Result<(), Error> {
        if target.vector.0 < FIRST_VECTOR {
            return Err(Error::Target);
        }
        let high = IrteHigh::from(source).into_bits();
        self.write_interrupt(index, source, IrteLow::to(target).into_bits(), high)
    }

    pub(crate) fn post_interrupt(
        &mut self,
        index: u16,
        source: Source,
        to: Posting,
    ) -> Result<(), Error> {
        let aligned = to.descriptor.as_u64().is_multiple_of(64);
        if !self.posts_interrupts() || to.vector.0 < FIRST_GUEST_VECTOR || !aligned {
            return Err(Error::Target);
        }
        let high = PostedIrteHigh::from(source, to).into_bits();
        self.write_interrupt(index, source, PostedIrteLow::to(to).into_bits(), high)
    }

    /// Gives an entry its meaning, in either format.
    fn write_interrupt(
        &mut self,
        index: u16,
        source: Source,
        low: u64,
        high: u64,
    ) -> Result<(), Error> {
        let (table, word) = self.interrupt_entry(index)?;
        if matches!(source, Source::Buses { first, last } if last < first) {
            return Err(Error::Target);
        }
        let old = IrteLow::from_bits(self.hardware.read(table, word));
        let admitted = IrteHigh::from_bits(self.hardware.read(table, word + 1));
        // One store makes or moves the entry, or changes its format: no interrupt is lost, and at no moment has the old target
        // the new source. A masked entry stays masked.
        let same = admitted.admits_as(IrteHigh::from_bits(high));
        let masked = same && old.is_masked();
        let low = IrteLow::from_bits(low);
        let low = if masked { low.masked(true) } else { low };
        self.publish_wide(table, word, low.into_bits(), high);
        self.submit(&[Descriptor::interrupt(index)])
    }

    pub(crate) fn clear_interrupt(&mut self, index: u16) -> Result<(), Error> {
        let (table, word) = self.interrupt_entry(index)?;
        self.publish_wide(table, word, 0, 0);
        self.submit(&[Descriptor::interrupt(index)])
    }

    pub(crate) fn mask_interrupt(&mut self, index: u16, masked: bool) -> Result<(), Error> {
        let (table, word) = self.interrupt_entry(index)?;
        let low = IrteLow::from_bits(self.hardware.read(table, word));
        if !low.present() && !low.is_masked() {
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
