//! Intel VT-d specification 4.1, section 8.1 "DMA Remapping Reporting Structure".

mod device_scope;
mod structure;

pub use device_scope::{DeviceScope, PathStep, ScopeKind, Scopes};
pub use structure::{Andd, Atsr, Drhd, Rmrr, Structure};

use crate::bytes::{RecordHeader, Records, u8_at};
use crate::{Error, Signature, Table};

/// The table's signature.
pub const SIGNATURE: Signature = Signature(*b"DMAR");
const FIXED: usize = 48;

/// A checked DMAR.
#[derive(Clone, Copy, Debug)]
pub struct Dmar<'a> {
    table: Table<'a>,
}

impl<'a> Dmar<'a> {
    /// Checks the table's header; structures are checked as they are walked.
    ///
    /// # Errors
    /// Those of [`Table::parse`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        Table::parse(bytes, SIGNATURE, FIXED).map(|table| Self { table })
    }

    /// Widest DMA address in bits, 1 to 256.
    #[must_use]
    pub fn host_address_width(&self) -> u16 {
        u16::from(u8_at(self.table.bytes(), 36).unwrap_or(0)).saturating_add(1)
    }

    /// Flag 0: the platform supports interrupt remapping.
    #[must_use]
    pub fn interrupt_remapping(&self) -> bool {
        self.flags() & 1 != 0
    }

    /// Flag 1: firmware asks that x2APIC mode not be used.
    #[must_use]
    pub fn x2apic_opt_out(&self) -> bool {
        self.flags() & 2 != 0
    }

    /// Flag 2: firmware asks that DMA protection be kept on.
    #[must_use]
    pub fn dma_protection_opt_in(&self) -> bool {
        self.flags() & 4 != 0
    }

    fn flags(&self) -> u8 {
        u8_at(self.table.bytes(), 37).unwrap_or(0)
    }

    /// All remapping structures in their order. The first malformed one is the last item.
    pub fn structures(&self) -> impl Iterator<Item = Result<Structure<'a>, Error>> + use<'a> {
        let mut broken = false;
        Records::new(SIGNATURE, RecordHeader::Words, self.table.from(FIXED))
            .map(|record| structure::read(&record?))
            .take_while(move |item| !core::mem::replace(&mut broken, item.is_err()))
    }

    /// The remapping units.
    pub fn units(&self) -> impl Iterator<Item = Result<Drhd<'a>, Error>> + use<'a> {
        self.structures().filter_map(|item| match item {
            Ok(Structure::Drhd(unit)) => Some(Ok(unit)),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        })
    }

    /// Walks everything once, scopes included. An RMRR's range is not judged: it concerns its own devices alone.
    ///
    /// # Errors
    /// The first that any structure or scope has: after it, no statement of this table about who is covered by what
    /// may be believed to be complete.
    pub fn check(&self) -> Result<(), Error> {
        for item in self.structures() {
            for scope in item?.scopes().into_iter().flatten() {
                scope?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
