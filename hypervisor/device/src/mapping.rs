//! What a domain maps: mapping, unmapping, the flush that is owed for it, and its proof (invariants 1, 2, 7).

use address::{Iova, PageSize, PartitionId, Spa};
use iommu::{DomainTable, owed_for_mapping};
use paging::{Access, FlushRange, Flusher, FrameSource, Removed, Rights, Unmapped};

use crate::domain::{Domain, Domains, Table};
use crate::units::UnitSet;
use crate::{Devices, DomainName, Error, Platform, UnitFailed};

/// What an address of a domain translates to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Mapping {
    /// Physical address of exactly the byte that was asked about.
    pub spa: Spa,
    /// Size of the page that maps it.
    pub size: PageSize,
    /// What devices may do there.
    pub rights: Rights,
}

/// Pages that were taken out of a domain, and the flush that is owed for them.
///
/// Dropping it leaks the table frames that it holds; it can never free them early, nor does anything else count as proof.
#[derive(Debug)]
#[must_use = "devices may still reach the pages until they are flushed"]
pub struct Owed {
    slot: u16,
    debt: Debt,
}

#[derive(Debug)]
enum Debt {
    /// One range, with the tables that it emptied.
    Range(Unmapped),
    /// Pages all over the domain: so many looked at, so many removed.
    Scattered { pages: u64, removed: u64 },
}

impl Owed {
    /// 4 KiB pages of the range that are done: none of them is mapped any more.
    #[must_use]
    pub fn pages(&self) -> u64 {
        match &self.debt {
            Debt::Range(unmapped) => unmapped.pages(),
            Debt::Scattered { pages, .. } => *pages,
        }
    }

    /// How many of those were mapped before.
    #[must_use]
    pub fn removed(&self) -> u64 {
        match &self.debt {
            Debt::Range(unmapped) => unmapped.removed(),
            Debt::Scattered { removed, .. } => *removed,
        }
    }
}

/// Proof that no device can reach the pages any more, and that no write to them is under way.
#[derive(Debug)]
#[must_use = "table frames are lost unless they are released"]
pub struct Flushed {
    pages: u64,
    removed: u64,
    range: Option<paging::Flushed>,
}

impl Flushed {
    /// 4 KiB pages that are unmapped and forgotten.
    #[must_use]
    pub const fn pages(&self) -> u64 {
        self.pages
    }

    /// How many of those were mapped before.
    #[must_use]
    pub const fn removed(&self) -> u64 {
        self.removed
    }

    /// Gives table frames that became empty back to the owner's pool; returns how many.
    pub fn release(self, pool: &mut impl FrameSource) -> usize {
        self.range.map_or(0, |range| range.release(pool))
    }
}

impl<P: Platform> Devices<P> {
    /// Maps consecutive pages of a partition's identity domain, from `start`, to the physical pages whose numbers are given.
    ///
    /// Returns how many are mapped, and why it stopped where that is fewer. Rights that give a device nothing map nothing,
    /// and count as done. That the frames are RAM of the partition, and none lies in the interrupt window, is the caller's to
    /// know (invariant 1): its table of frames says so, and this is the sweep over a list that costs least.
    ///
    /// # Errors
    /// [`Error::NoHardware`], [`Error::NoSuchDomain`], [`Error::BadRange`], [`Error::BadFrame`],
    /// [`Error::AlreadyMapped`], [`Error::InsufficientMemory`]; [`Error::UnitFailed`] where hardware that caches absent
    /// pages did not confirm that it forgot (the pages counted are in the table).
    #[must_use = "fewer pages than given may be mapped"]
    pub fn map_identity(
        &mut self,
        partition: PartitionId,
        start: Iova,
        pages: &[u64],
        rights: Rights,
        pool: &mut impl FrameSource,
    ) -> (usize, Result<(), Error>) {
        self.map_frames(DomainName::identity(partition), start, pages, rights, pool)
    }

    /// Maps `pages` consecutive pages of a partition's identity domain, from `start`, to consecutive physical pages from
    /// `target`, with the largest pages possible; otherwise as [`Self::map_identity`].
    #[must_use = "fewer pages than asked for may be mapped"]
    pub fn map_identity_range(
        &mut self,
        partition: PartitionId,
        start: Iova,
        target: Spa,
        pages: u64,
        rights: Rights,
        pool: &mut impl FrameSource,
    ) -> (u64, Result<(), Error>) {
        self.map_range(
            DomainName::identity(partition),
            start,
            target,
            pages,
            rights,
            pool,
        )
    }

    /// Takes `pages` 4 KiB pages of a partition's identity domain out, from `start`; pages that are not mapped are skipped.
    /// The token tells how far it came, and owes the flush, error or not.
    ///
    /// # Errors
    /// The outer one: [`Error::NoHardware`], [`Error::NoSuchDomain`], nothing owed. The inner one: [`Error::BadRange`],
    /// [`Error::InsufficientMemory`] where a large page would have to be split.
    pub fn unmap_identity(
        &mut self,
        partition: PartitionId,
        start: Iova,
        pages: u64,
        pool: &mut impl FrameSource,
    ) -> Result<(Owed, Result<(), Error>), Error> {
        self.unmap(DomainName::identity(partition), start, pages, pool)
    }

    /// As [`Self::map_identity`], of any domain, and refuses frames in the interrupt window by itself.
    #[must_use = "fewer pages than given may be mapped"]
    pub fn map(
        &mut self,
        domain: DomainName,
        start: Iova,
        pages: &[u64],
        rights: Rights,
        pool: &mut impl FrameSource,
    ) -> (usize, Result<(), Error>) {
        // Nobody's RAM is there, and the interrupt window must not be reachable by translation either.
        if let Some(at) = pages.iter().position(|&page| in_interrupt_window(page)) {
            return (0, Err(Error::BadFrame(page_after(start, at as u64))));
        }
        self.map_frames(domain, start, pages, rights, pool)
    }

    fn map_frames(
        &mut self,
        domain: DomainName,
        start: Iova,
        pages: &[u64],
        rights: Rights,
        pool: &mut impl FrameSource,
    ) -> (usize, Result<(), Error>) {
        if !reaches(rights) {
            return (pages.len(), self.domain_slot(domain).map(|_| ()));
        }
        let (slot, it, tables) = match self.live(domain) {
            Ok(found) => found,
            Err(error) => return (0, Err(error)),
        };
        let (done, result) =
            it.0.map_pages(tables, pool, start, pages, Access::ram(rights));
        *it.1 += done as u64;
        let result = result.map_err(|error| Error::from_map(page_after(start, done as u64), error));
        (done, self.mapped(slot, start, done as u64, result))
    }

    /// As [`Self::map_identity_range`], of any domain.
    #[must_use = "fewer pages than asked for may be mapped"]
    pub fn map_range(
        &mut self,
        domain: DomainName,
        start: Iova,
        target: Spa,
        pages: u64,
        rights: Rights,
        pool: &mut impl FrameSource,
    ) -> (u64, Result<(), Error>) {
        if !reaches(rights) {
            return (pages, self.domain_slot(domain).map(|_| ()));
        }
        let (slot, it, tables) = match self.live(domain) {
            Ok(found) => found,
            Err(error) => return (0, Err(error)),
        };
        let (done, result) =
            it.0.map_range(tables, pool, start, target, pages, Access::ram(rights));
        *it.1 += done;
        let result = result.map_err(|error| Error::from_map(page_after(start, done), error));
        (done, self.mapped(slot, start, done, result))
    }

    /// As [`Self::unmap_identity`], of any domain.
    ///
    /// # Errors
    /// As [`Self::unmap_identity`].
    pub fn unmap(
        &mut self,
        domain: DomainName,
        start: Iova,
        pages: u64,
        pool: &mut impl FrameSource,
    ) -> Result<(Owed, Result<(), Error>), Error> {
        self.unmap_with(domain, start, pages, pool, |_| ())
    }

    /// As [`Self::unmap`], and tells `removed` each mapping that was taken out, in order. Devices may still reach what it is
    /// told until the token is flushed.
    ///
    /// # Errors
    /// As [`Self::unmap_identity`].
    #[inline]
    pub fn unmap_with(
        &mut self,
        domain: DomainName,
        start: Iova,
        pages: u64,
        pool: &mut impl FrameSource,
        removed: impl FnMut(Removed),
    ) -> Result<(Owed, Result<(), Error>), Error> {
        let (slot, it, tables) = self.live(domain)?;
        let (unmapped, result) = it.0.unmap_with(tables, pool, start, pages, removed);
        *it.1 = it.1.saturating_sub(unmapped.removed());
        let at = page_after(start, unmapped.pages());
        let result = result.map_err(|error| Error::from_unmap(at, error));
        let debt = Debt::Range(unmapped);
        Ok((Owed { slot, debt }, result))
    }

    /// Takes pages with these numbers, wherever they are, out of a partition's identity domain; those that are not mapped
    /// are skipped. One flush pays for all.
    ///
    /// # Errors
    /// As [`Self::unmap_identity`].
    pub fn unmap_identity_scattered(
        &mut self,
        partition: PartitionId,
        pages: &[u64],
        pool: &mut impl FrameSource,
    ) -> Result<(Owed, Result<(), Error>), Error> {
        let (slot, it, tables) = self.live(DomainName::identity(partition))?;
        let (mut done, mut removed) = (0, 0);
        let mut result = Ok(());
        for &page in pages {
            let Some(at) = Iova::from_page(page) else {
                result = Err(Error::BadRange(Iova::new(u64::MAX)));
                break;
            };
            // One page never empties a table's whole span in one call, so the token holds no frames.
            let (unmapped, one) = it.0.unmap(tables, pool, at, 1);
            removed += unmapped.removed();
            if let Err(error) = one {
                result = Err(Error::from_unmap(at, error));
                break;
            }
            done += 1;
        }
        *it.1 = it.1.saturating_sub(removed);
        let debt = Debt::Scattered {
            pages: done,
            removed,
        };
        Ok((Owed { slot, debt }, result))
    }

    /// Pays what an unmapping owes, on every unit that ever walked the domain, writes under way included. One flush,
    /// however many pages.
    ///
    /// # Errors
    /// [`UnitFailed`]: the pages, and the table frames that the token held, stay out of use for ever.
    pub fn flush(&mut self, owed: Owed) -> Result<Flushed, UnitFailed> {
        let (pages, removed) = (owed.pages(), owed.removed());
        let set = self.seen(owed.slot);
        let name = Domains::hardware_name(owed.slot);
        let mut flusher = self.units.flusher(set, name);
        let paid = match owed.debt {
            Debt::Range(unmapped) => match unmapped.flush(&mut flusher) {
                Ok(proof) => Ok(Some(proof)),
                Err((_, failed)) => Err(failed),
            },
            Debt::Scattered { removed: 0, .. } => Ok(None),
            Debt::Scattered { .. } => flusher.flush(FlushRange::All).map(|()| None),
        };
        match paid {
            Ok(range) => Ok(Flushed {
                pages,
                removed,
                range,
            }),
            Err(failed) => {
                self.fail_unit(failed.unit);
                Err(failed)
            }
        }
    }

    /// Makes every unit forget all of a domain, for a caller that asks for it by name.
    ///
    /// # Errors
    /// [`Error::NoHardware`], [`Error::NoSuchDomain`], [`Error::UnitFailed`].
    pub fn flush_domain(&mut self, domain: DomainName) -> Result<(), Error> {
        let slot = self.domain_slot(domain)?;
        self.flush_slot(slot, FlushRange::All)
    }

    /// What a byte of a domain translates to; `None` where nothing is mapped.
    ///
    /// # Errors
    /// [`Error::NoHardware`], [`Error::NoSuchDomain`].
    pub fn query(&self, domain: DomainName, address: Iova) -> Result<Option<Mapping>, Error> {
        let slot = self.domain_slot(domain)?;
        let (_, table) = self
            .domains
            .table(slot)
            .ok_or(Error::NoSuchDomain(domain))?;
        let found = table.query(&self.tables, address);
        Ok(found.map(|it| Mapping {
            spa: it.spa,
            size: it.size,
            rights: it.access.rights,
        }))
    }

    /// Units that may cache something of a domain.
    fn seen(&self, slot: u16) -> UnitSet {
        let domain = self.domains.slots.get(slot);
        domain.map_or_else(UnitSet::default, |it| it.seen)
    }

    /// A live domain's table and page count, beside the memory that the table lies in.
    #[allow(clippy::type_complexity, reason = "three borrows of one object, once")]
    pub(crate) fn live(
        &mut self,
        name: DomainName,
    ) -> Result<(u16, (&mut DomainTable, &mut u64), &P::Tables), Error> {
        let slot = self.domain_slot(name)?;
        match self.domains.slots.get_mut(slot) {
            Some(Domain {
                table: Table::Live(table),
                pages,
                ..
            }) => Ok((slot, (table, pages), &self.tables)),
            _ => Err(Error::NoSuchDomain(name)),
        }
    }

    /// Hardware that caches absent pages must forget them before new ones count.
    fn mapped(
        &mut self,
        slot: u16,
        start: Iova,
        done: u64,
        result: Result<(), Error>,
    ) -> Result<(), Error> {
        let caches_absent = self.domains.common.is_some_and(|(_, it)| it.caches_absent);
        if caches_absent && done != 0 {
            self.flush_slot(slot, owed_for_mapping(start, done))?;
        }
        result
    }

    fn flush_slot(&mut self, slot: u16, range: FlushRange) -> Result<(), Error> {
        let seen = self.seen(slot);
        let flushed = self.units.flush(seen, Domains::hardware_name(slot), range);
        flushed.map_err(|failed| {
            self.fail_unit(failed.unit);
            failed.into()
        })
    }
}

/// Whether a device may do anything with these rights.
const fn reaches(rights: Rights) -> bool {
    rights.intersects(Rights::READ.union(Rights::WRITE))
}

/// Whether a page lies in FEE0_0000h to FEEF_FFFFh.
#[inline]
const fn in_interrupt_window(page: u64) -> bool {
    page & !0xff == 0xf_ee00
}

/// The address `pages` pages after `start`, for error messages.
fn page_after(start: Iova, pages: u64) -> Iova {
    let bytes = pages.saturating_mul(address::PAGE_SIZE);
    start.checked_add(bytes).unwrap_or(start)
}
