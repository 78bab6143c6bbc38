//! AMD I/O Virtualization Technology (IOMMU) Specification, "I/O Virtualization Reporting Structure (IVRS)".

mod device_entry;
mod structure;

pub use device_entry::{Devices, Entry, SpecialKind};
pub use structure::{Ivhd, Ivmd, Kind, Structure};

use crate::bytes::{RecordHeader, Records};
use crate::{Error, Signature, Table};

/// The table's signature.
pub const SIGNATURE: Signature = Signature(*b"IVRS");
const FIXED: usize = 48;
/// Descriptions of units that are read. A machine has a few, three for each unit at most.
const MOST_UNITS: usize = 192;

/// A checked IVRS.
#[derive(Clone, Copy, Debug)]
pub struct Ivrs<'a> {
    table: Table<'a>,
}

impl<'a> Ivrs<'a> {
    /// Checks the table's header; structures are checked as they are walked.
    ///
    /// # Errors
    /// Those of [`Table::parse`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        Table::parse(bytes, SIGNATURE, FIXED).map(|table| Self { table })
    }

    /// All blocks in their order, every description of a unit among them. The first malformed one is the last item.
    pub fn structures(&self) -> impl Iterator<Item = Result<Structure<'a>, Error>> + use<'a> {
        let (mut broken, mut units) = (false, 0);
        Records::new(SIGNATURE, RecordHeader::Flagged, self.table.from(FIXED))
            .map(move |record| {
                let structure = structure::read(&record?)?;
                units += usize::from(matches!(structure, Structure::Ivhd(_)));
                if units > MOST_UNITS {
                    return Err(Error::TooMany {
                        table: SIGNATURE,
                        most: MOST_UNITS,
                    });
                }
                Ok(structure)
            })
            .take_while(move |item| !core::mem::replace(&mut broken, item.is_err()))
    }

    /// The units, each as the richest block that names it describes it: type 40h before 11h before 10h.
    pub fn units(&self) -> impl Iterator<Item = Result<Ivhd<'a>, Error>> + use<'a> {
        let table = *self;
        self.structures().filter_map(move |item| match item {
            Ok(Structure::Ivhd(unit)) => (!table.has_richer(&unit)).then_some(Ok(unit)),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        })
    }

    fn descriptions(&self) -> impl Iterator<Item = Ivhd<'a>> + use<'a> {
        self.structures().filter_map(|item| match item {
            Ok(Structure::Ivhd(unit)) => Some(unit),
            _ => None,
        })
    }

    fn has_richer(&self, unit: &Ivhd<'_>) -> bool {
        self.descriptions()
            .any(|other| other.is_of(unit) && other.kind > unit.kind)
    }

    /// Walks everything once, device entries included. The range of reserved memory is not judged: it concerns its own devices
    /// alone.
    ///
    /// # Errors
    /// The first that any block or entry has, or [`Error::Duplicate`] where descriptions of one unit name different registers:
    /// after it, no statement of this table about who is covered by what may be believed to be complete.
    pub fn check(&self) -> Result<(), Error> {
        for item in self.structures() {
            let Structure::Ivhd(unit) = item? else {
                continue;
            };
            if let Some(other) = self
                .descriptions()
                .find(|other| other.is_of(&unit) && other.base != unit.base)
            {
                return Err(Error::Duplicate {
                    table: SIGNATURE,
                    what: other.base.as_u64(),
                });
            }
            for entry in unit.devices {
                entry?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
