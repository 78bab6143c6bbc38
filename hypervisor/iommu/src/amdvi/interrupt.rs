//! Interrupt entries: a table per source, which is one frame of it, made when the source gets its first interrupt.

use address::{RequesterId, Spa, Vector};
use paging::{ENTRIES, FrameSource};

use super::command::Command;
use super::device_entry::Interrupts;
use super::irte::{self, Narrow, WideHigh, WideLow};
use super::{Amdvi, message};
use crate::interrupt::FIRST_VECTOR;
use crate::{DomainName, Error, Hardware, Message, Polarity, Source, Target, Trigger};

/// Entries of a table: what the message can name, or what fits a frame.
const NARROW_ENTRIES: u16 = 512;
const WIDE_ENTRIES: u16 = 256;
/// Requesters whose caches are invalidated at one go.
const AT_ONCE: usize = 32;

impl<H: Hardware> Amdvi<H> {
    pub(crate) fn choose_interrupt(&self, source: Source) -> Option<u16> {
        let Some(table) = self.table_of(source) else {
            return Some(0);
        };
        (0..self.entries()).find(|&index| self.read_entry(table, index) == (0, 0))
    }

    pub(crate) fn set_interrupt<P: FrameSource>(
        &mut self,
        index: u16,
        source: Source,
        target: Target,
        pool: &mut P,
    ) -> Result<(), Error> {
        self.check_index(index, source)?;
        let reached = if self.remaps_interrupts() {
            WideLow::reaches(target.apic)
        } else {
            Narrow::reaches(target.apic)
        };
        if target.vector.0 < FIRST_VECTOR || !reached {
            return Err(Error::Target);
        }
        let table = self.table_for(source, pool)?;
        // The entry is whole before the table is reachable, or within its length. One store makes or moves it: no interrupt is
        // lost, and none goes to the old processor with the new vector.
        self.write_target(table, index, target);
        self.publish_table(source, table, length_for(index))
    }

    pub(crate) fn prepare_interrupts<P: FrameSource>(
        &mut self,
        source: Source,
        pool: &mut P,
    ) -> Result<(), Error> {
        self.require_enabled()?;
        let table = self.table_for(source, pool)?;
        self.publish_table(source, table, 0)
    }

    pub(crate) fn clear_interrupt(&mut self, index: u16, source: Source) -> Result<(), Error> {
        self.check_index(index, source)?;
        let table = self.table_of(source).ok_or(Error::Index)?;
        self.write_entry(table, index, (0, 0));
        self.forget_interrupts(source)
    }

    pub(crate) fn mask_interrupt(
        &mut self,
        index: u16,
        source: Source,
        masked: bool,
    ) -> Result<(), Error> {
        self.check_index(index, source)?;
        let table = self.table_of(source).ok_or(Error::Index)?;
        let (low, high) = self.read_entry(table, index);
        let low = if self.remaps_interrupts() {
            used(WideHigh::from_bits(high).vector())?;
            WideLow::from_bits(low).masked(masked).into_bits()
        } else {
            let entry = Narrow::from_bits(low as u32);
            used(entry.vector())?;
            u64::from(entry.masked(masked).into_bits())
        };
        self.write_entry(table, index, (low, high));
        self.forget_interrupts(source)
    }

    /// Gives a source's table back once all its entries are clear.
    pub(crate) fn release_interrupts<P: FrameSource>(
        &mut self,
        source: Source,
        pool: &mut P,
    ) -> Result<(), Error> {
        self.require_enabled()?;
        let Some(table) = self.table_of(source) else {
            return Ok(());
        };
        if (0..ENTRIES).any(|word| self.hardware.read(table, word) != 0) {
            return Ok(());
        }
        for requester in requesters(source) {
            self.write_interrupts(requester, Interrupts::BLOCKED);
        }
        self.forget_entries(source)?;
        pool.put(table);
        Ok(())
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

    /// Entries that a table can have.
    fn entries(&self) -> u16 {
        if self.remaps_interrupts() {
            WIDE_ENTRIES
        } else {
            NARROW_ENTRIES
        }
    }

    fn check_index(&self, index: u16, source: Source) -> Result<(), Error> {
        self.require_enabled()?;
        if matches!(source, Source::Buses { first, last } if last < first) {
            return Err(Error::Target);
        }
        if index >= self.entries() {
            return Err(Error::Index);
        }
        Ok(())
    }

    fn interrupts(&self, requester: RequesterId) -> Interrupts {
        let (frame, word) = self.entry(requester);
        Interrupts::from_bits(self.hardware.read(frame, word + 2))
    }

    fn write_interrupts(&self, requester: RequesterId, interrupts: Interrupts) {
        let (frame, word) = self.entry(requester);
        self.hardware.write(frame, word + 2, interrupts.into_bits());
    }

    /// The table of a source: all its requesters have the same.
    fn table_of(&self, source: Source) -> Option<Spa> {
        let first = requesters(source).next()?;
        self.interrupts(first).table_base()
    }

    /// The table of a source, or an empty one that nothing points to yet.
    fn table_for<P: FrameSource>(&self, source: Source, pool: &mut P) -> Result<Spa, Error> {
        if let Some(table) = self.table_of(source) {
            return Ok(table);
        }
        let table = pool.take().ok_or(Error::OutOfFrames)?;
        self.hardware.zero(table);
        Ok(table)
    }

    /// Points every requester of a source at the table, with 2^`length` entries or as many as it has already.
    fn publish_table(&mut self, source: Source, table: Spa, length: u8) -> Result<(), Error> {
        let Some(first) = requesters(source).next() else {
            return Err(Error::Target);
        };
        let now = self.interrupts(first);
        if now.table_base().is_some() && now.length() >= length {
            return self.forget_interrupts(source);
        }
        let wanted = Interrupts::through(table, length);
        for requester in requesters(source) {
            self.write_interrupts(requester, wanted);
        }
        self.forget_entries(source)
    }

    /// The unit forgets the interrupt tables of a source.
    fn forget_interrupts(&mut self, source: Source) -> Result<(), Error> {
        self.forget_each(source, |_, requester| [Command::interrupt_table(requester)])
    }

    /// The unit forgets the device table entries of a source, and what they led to.
    fn forget_entries(&mut self, source: Source) -> Result<(), Error> {
        self.forget_each(source, |unit, requester| {
            let name = DomainName(unit.domain(requester).name());
            Self::forgetting(requester, name)
        })
    }

    fn forget_each<const N: usize>(
        &mut self,
        source: Source,
        commands: impl Fn(&Self, RequesterId) -> [Command; N],
    ) -> Result<(), Error> {
        let mut all = requesters(source).peekable();
        while all.peek().is_some() {
            let some = all.by_ref().take(AT_ONCE);
            let some: arrayvec::ArrayVec<Command, { 3 * AT_ONCE }> = some
                .flat_map(|requester| commands(self, requester))
                .collect();
            self.submit(&some)?;
        }
        Ok(())
    }

    /// Gives an entry its target. One that is masked stays masked.
    fn write_target(&self, table: Spa, index: u16, target: Target) {
        let (old, _) = self.read_entry(table, index);
        if self.remaps_interrupts() {
            let (low, high) = irte::wide(target);
            let masked = WideLow::from_bits(old).suppress_faults();
            let low = if masked { low.masked(true) } else { low };
            self.write_entry(table, index, (low.into_bits(), high.into_bits()));
        } else {
            let masked = Narrow::from_bits(old as u32).suppress_faults();
            let entry = Narrow::to(target);
            let entry = if masked { entry.masked(true) } else { entry }.into_bits();
            self.write_entry(table, index, (u64::from(entry), 0));
        }
    }

    /// Both halves of an entry; the upper half of a narrow one is 0.
    fn read_entry(&self, table: Spa, index: u16) -> (u64, u64) {
        let index = usize::from(index);
        if self.remaps_interrupts() {
            let low = self.hardware.read(table, index * 2);
            return (low, self.hardware.read(table, index * 2 + 1));
        }
        let pair = self.hardware.read(table, index / 2);
        (pair >> (index % 2 * 32) & 0xffff_ffff, 0)
    }

    fn write_entry(&self, table: Spa, index: u16, (low, high): (u64, u64)) {
        let index = usize::from(index);
        if self.remaps_interrupts() {
            self.hardware.write_wide(table, index * 2, low, high);
            return;
        }
        // The neighbour in the same word stays what it is.
        let shift = index % 2 * 32;
        let pair = self.hardware.read(table, index / 2) & !(0xffff_ffff << shift);
        self.hardware.write(table, index / 2, pair | low << shift);
    }
}

/// Whether an entry was ever set.
const fn used(vector: u8) -> Result<(), Error> {
    if vector < FIRST_VECTOR {
        return Err(Error::Index);
    }
    Ok(())
}

/// Every id under which the source's messages may come.
fn requesters(source: Source) -> impl Iterator<Item = RequesterId> {
    let (first, last) = match source {
        Source::Exact(requester) => (requester.0, requester.0),
        Source::Buses { first, last } => (u16::from(first) << 8, u16::from(last) << 8 | 0xff),
    };
    (first..=last).map(RequesterId)
}

/// Logarithm of the least table that has the index.
const fn length_for(index: u16) -> u8 {
    (u16::BITS - index.leading_zeros()) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn int_05_a_table_is_as_long_as_its_highest_index_needs() {
        for (index, length) in [(0, 0), (1, 1), (2, 2), (3, 2), (4, 3), (255, 8), (511, 9)] {
            assert_eq!(length_for(index), length, "{index}");
            assert!(1 << length > index && (length == 0 || 1 << (length - 1) <= index));
        }
    }
}
