//! Requesters and their domains.

use address::{RequesterId, Spa};
use paging::{PageTable, Vtd as SecondStage};

use super::Vtd;
use super::context_entry::{self, ContextHigh, ContextLow};
use super::descriptor::Descriptor;
use super::root_entry::{self, RootEntry};
use crate::{DomainName, DomainTable, Error, Hardware};

impl<H: Hardware> Vtd<H> {
    pub(crate) fn attach(
        &mut self,
        requester: RequesterId,
        name: DomainName,
        table: &DomainTable,
    ) -> Result<(), Error> {
        self.require_enabled()?;
        self.check_name(name)?;
        let table = table.second_stage().ok_or(Error::Geometry)?;
        self.check_table(table)?;
        let contexts = self.contexts_of(requester)?;
        let word = context_entry::word(requester);
        if ContextLow::from_bits(self.hardware.read(contexts, word)).present() {
            return Err(Error::NotBlocked);
        }
        let (low, high) = context_entry::attached(table.root(), table.shape().levels, name);
        // The half with the present bit comes last.
        self.publish(contexts, word + 1, high.into_bits());
        self.publish(contexts, word, low.into_bits());
        // What was not present may be cached, under name 0.
        self.submit(&[Descriptor::context(0, requester)])?;
        self.submit(&[Descriptor::domain(name, self.drain())])
    }

    pub(crate) fn block(&mut self, requester: RequesterId) -> Result<(), Error> {
        self.require_enabled()?;
        let contexts = self.contexts_of(requester)?;
        let word = context_entry::word(requester);
        let low = ContextLow::from_bits(self.hardware.read(contexts, word));
        let high = ContextHigh::from_bits(self.hardware.read(contexts, word + 1));
        // The half with the present bit goes first. With it goes the suppression of faults: the next one is told.
        self.publish(contexts, word, 0);
        self.publish(contexts, word + 1, 0);
        if !low.present() {
            return self.submit(&[Descriptor::context(0, requester)]);
        }
        // The old entry may be used until it is forgotten, and translations may be cached with it until then: first the entry,
        // then the translations.
        self.submit(&[Descriptor::context(high.domain(), requester)])?;
        self.submit(&[Descriptor::domain(DomainName(high.domain()), self.drain())])
    }

    /// Stops recording the faults of a requester until it is attached or blocked anew.
    pub(crate) fn silence(&mut self, requester: RequesterId) -> Result<(), Error> {
        self.require_enabled()?;
        let Ok(contexts) = self.contexts_of(requester) else {
            return Ok(());
        };
        let word = context_entry::word(requester);
        let low = ContextLow::from_bits(self.hardware.read(contexts, word));
        if low.fault_disable() {
            return Ok(());
        }
        self.publish(contexts, word, low.with_fault_disable(true).into_bits());
        // What is not present may be cached under name 0, which is what its upper half says.
        let high = ContextHigh::from_bits(self.hardware.read(contexts, word + 1));
        self.submit(&[Descriptor::context(high.domain(), requester)])
    }

    /// Whether nothing is allowed to a requester.
    pub(super) fn is_blocked(&self, requester: RequesterId) -> bool {
        self.contexts_of(requester).is_ok_and(|contexts| {
            let low = self.hardware.read(contexts, context_entry::word(requester));
            !ContextLow::from_bits(low).present()
        })
    }

    /// Context table of a bus; `None` where it has none.
    pub(super) fn context_table(&self, bus: u8) -> Option<Spa> {
        RootEntry::from_bits(self.hardware.read(self.root, root_entry::word(bus))).table()
    }

    fn contexts_of(&self, requester: RequesterId) -> Result<Spa, Error> {
        let bus = (requester.0 >> 8) as u8;
        self.context_table(bus).ok_or(Error::UnknownBus)
    }

    /// Whether this unit walks the table as it was meant: a table made for less is fine, one made for more is not.
    fn check_table(&self, table: &PageTable<SecondStage>) -> Result<(), Error> {
        let (shape, unit) = (table.shape(), self.geometry());
        let suits = unit.levels.contains(shape.levels)
            && shape.input_bits <= unit.input_bits
            && shape.output_bits <= unit.output_bits
            && shape.largest <= unit.largest
            && (unit.coherent || !shape.coherent)
            && (unit.snoop || !table.format().snoop);
        if suits { Ok(()) } else { Err(Error::Geometry) }
    }
}
