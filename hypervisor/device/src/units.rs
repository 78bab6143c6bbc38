//! The units, and a domain's way to all of them that ever walked its table.

use alloc::boxed::Box;

use iommu::{DomainName, FlushRange, Flusher, Unit};

use crate::{Error, Platform, UnitFailed};

/// Which units: one bit for each of the first 64.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct UnitSet(u64);

/// Units that are used at most. Devices behind further ones are not assignable.
pub(crate) const MAX_UNITS: usize = 64;

impl UnitSet {
    pub(crate) fn add(&mut self, unit: u16) {
        self.0 |= 1u64.checked_shl(u32::from(unit)).unwrap_or(0);
    }

    pub(crate) fn contains(self, unit: u16) -> bool {
        self.0 & 1u64.checked_shl(u32::from(unit)).unwrap_or(0) != 0
    }

    fn iter(mut self) -> impl Iterator<Item = u16> {
        core::iter::from_fn(move || {
            let unit = self.0.trailing_zeros();
            // Of the empty set: no bit, and none to clear.
            self.0 &= self.0.checked_sub(1)?;
            Some(unit as u16)
        })
    }
}

/// One unit as the firmware's table numbers it.
pub(crate) struct UnitSlot<P: Platform> {
    /// PCI segment.
    pub(crate) segment: u16,
    /// The unit; `None` where it does not work or does not fit.
    pub(crate) unit: Option<Unit<P::Hardware>>,
    /// It stopped answering, and [`Devices`](crate::Devices) has drawn the consequences.
    pub(crate) failed: bool,
    /// Flushes of domains that it has confirmed.
    pub(crate) flushes: u64,
}

/// All units, by the index that the topology gives them.
pub(crate) struct Units<P: Platform>(pub(crate) Box<[UnitSlot<P>]>);

impl<P: Platform> Units<P> {
    /// A unit that works, or its failure.
    pub(crate) fn get(&mut self, unit: u16) -> Result<&mut Unit<P::Hardware>, Error> {
        let slot = self.0.get_mut(usize::from(unit));
        let working = slot.filter(|slot| !slot.failed);
        working
            .and_then(|slot| slot.unit.as_mut())
            .ok_or(Error::UnitFailed { unit })
    }

    /// Makes every unit in the set forget a range of a domain.
    pub(crate) fn flush(
        &mut self,
        set: UnitSet,
        name: DomainName,
        range: FlushRange,
    ) -> Result<(), UnitFailed> {
        for unit in set.iter() {
            let flushed = self
                .get(unit)
                .and_then(|it| {
                    it.flush_domain(name, range)
                        .map_err(|error| Error::from_unit(unit, error))
                })
                .is_ok();
            // Whatever the reason: what is not confirmed is not flushed.
            if !flushed {
                return Err(UnitFailed { unit });
            }
            if let Some(slot) = self.0.get_mut(usize::from(unit)) {
                slot.flushes += 1;
            }
        }
        Ok(())
    }

    /// The flusher of one domain.
    pub(crate) fn flusher(&mut self, set: UnitSet, name: DomainName) -> DomainFlusher<'_, P> {
        DomainFlusher {
            units: self,
            set,
            name,
        }
    }
}

/// Flushes one domain on every unit that may cache something of it.
pub(crate) struct DomainFlusher<'a, P: Platform> {
    units: &'a mut Units<P>,
    set: UnitSet,
    name: DomainName,
}

impl<P: Platform> Flusher for DomainFlusher<'_, P> {
    type Error = UnitFailed;

    fn flush(&mut self, range: FlushRange) -> Result<(), UnitFailed> {
        self.units.flush(self.set, self.name, range)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    #[test]
    fn a_set_holds_what_was_added() {
        let mut set = UnitSet::default();
        set.add(0);
        set.add(63);
        set.add(64);
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 63]);
        assert!(set.contains(63) && !set.contains(64));
    }
}
