//! Requesters and their domains.
//!
//! A device table entry of a requester that runs changes by single stores, each of which leaves an entry that is right: the
//! words on memory requests together, the word on interrupts by itself. After each the unit forgets the entry, the interrupt
//! table and all pages of the domain that was left, in this order: pages may be cached by the old entry until it is forgotten.

use address::RequesterId;
use paging::{Amdvi as HostTable, PageTable};

use super::Amdvi;
use super::command::Command;
use super::device_entry::{Domain, Translation};
use crate::{DomainName, DomainTable, Error, Hardware};

impl<H: Hardware> Amdvi<H> {
    pub(crate) fn attach(
        &mut self,
        requester: RequesterId,
        name: DomainName,
        table: &DomainTable,
    ) -> Result<(), Error> {
        self.require_enabled()?;
        Self::check_name(name)?;
        let table = table.host().ok_or(Error::Geometry)?;
        self.check_table(table)?;
        if !self.is_blocked(requester) {
            return Err(Error::NotBlocked);
        }
        let through = Translation::through(table.root(), table.shape().levels);
        self.write_translation(requester, through, Domain::of(name));
        self.forget(requester, name)
    }

    pub(crate) fn block(&mut self, requester: RequesterId) -> Result<(), Error> {
        self.require_enabled()?;
        let old = self.domain(requester);
        // With the entry goes the suppression of faults: the next one is told.
        self.write_translation(requester, Translation::BLOCKED, Domain::NONE);
        self.forget(requester, DomainName(old.name()))
    }

    /// Stops logging the faults of a requester until it is attached or blocked anew.
    pub(crate) fn silence(&mut self, requester: RequesterId) -> Result<(), Error> {
        self.require_enabled()?;
        let (translation, domain) = (self.translation(requester), self.domain(requester));
        if domain.suppress_all() {
            return Ok(());
        }
        self.write_translation(requester, translation, domain.with_suppress_all(true));
        self.forget(requester, DomainName(domain.name()))
    }

    /// Whether nothing is allowed to a requester.
    pub(super) fn is_blocked(&self, requester: RequesterId) -> bool {
        self.translation(requester).is_blocked()
    }

    fn forget(&mut self, requester: RequesterId, name: DomainName) -> Result<(), Error> {
        self.submit(&Self::forgetting(requester, name))
    }

    /// What makes the unit forget all that an entry may have led it to, whichever of its words has changed.
    pub(super) const fn forgetting(requester: RequesterId, name: DomainName) -> [Command; 3] {
        [
            Command::device_entry(requester),
            Command::domain(name),
            Command::interrupt_table(requester),
        ]
    }

    fn write_translation(&self, requester: RequesterId, translation: Translation, domain: Domain) {
        let (frame, word) = self.entry(requester);
        self.hardware
            .write_wide(frame, word, translation.into_bits(), domain.into_bits());
    }

    fn translation(&self, requester: RequesterId) -> Translation {
        let (frame, word) = self.entry(requester);
        Translation::from_bits(self.hardware.read(frame, word))
    }

    pub(super) fn domain(&self, requester: RequesterId) -> Domain {
        let (frame, word) = self.entry(requester);
        Domain::from_bits(self.hardware.read(frame, word + 1))
    }

    /// Whether this unit walks the table as it was meant: a table made for less is fine, one made for more is not.
    fn check_table(&self, table: &PageTable<HostTable>) -> Result<(), Error> {
        let (shape, unit) = (table.shape(), self.geometry());
        let suits = unit.levels.contains(shape.levels)
            && shape.input_bits <= unit.input_bits
            && shape.output_bits <= unit.output_bits
            && shape.largest <= unit.largest;
        if suits { Ok(()) } else { Err(Error::Geometry) }
    }
}
