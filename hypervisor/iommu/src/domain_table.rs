//! The I/O page table of one device domain.

use address::{Iova, Spa};
use paging::{
    Access, FlushRange, Flusher, FrameSource, MapError, NewError, Next, PageTable, Removed, Shape,
    TableMemory, Teardown, Translation, UnmapError, Unmapped,
};

use crate::{Dialect, Geometry};

/// Device writes here are interrupts, never memory: first page number and count.
const INTERRUPT_WINDOW: (u64, u64) = (0xfee00, 0x100);
/// FD_0000_0000h to FF_FFFF_FFFFh: the link's own, where a device table speaks.
const LINK_WINDOW: (u64, u64) = (0xfd0_0000, 0x30_0000);

/// The I/O page table of one device domain, in the dialect of the machine's units.
#[derive(Debug)]
pub struct DomainTable(Arm);

#[derive(Debug)]
enum Arm {
    SecondStage(PageTable<paging::Vtd>),
    Host(PageTable<paging::Amdvi>),
}

impl DomainTable {
    /// An empty table that translates `bits` bits of device address, or as many as `geometry` allows.
    ///
    /// # Errors
    /// As [`PageTable::new`].
    pub fn new<M: TableMemory, P: FrameSource>(
        dialect: Dialect,
        geometry: Geometry,
        bits: u8,
        memory: &M,
        pool: &mut P,
    ) -> Result<Self, NewError> {
        let levels = geometry.levels.covering(bits).ok_or(NewError::Shape)?;
        let shape = Shape {
            levels,
            input_bits: geometry.input_bits.min(12 + 9 * levels),
            output_bits: geometry.output_bits,
            largest: geometry.largest,
            coherent: geometry.coherent,
        };
        match dialect {
            Dialect::RootTable => {
                let format = paging::Vtd {
                    snoop: geometry.snoop,
                };
                PageTable::new(format, shape, memory, pool)
                    .map(Arm::SecondStage)
                    .map(Self)
            }
            Dialect::DeviceTable => PageTable::new(paging::Amdvi, shape, memory, pool)
                .map(Arm::Host)
                .map(Self),
        }
    }

    /// Geometry of the table, fixed for its life.
    #[must_use]
    pub const fn shape(&self) -> Shape {
        match &self.0 {
            Arm::SecondStage(table) => table.shape(),
            Arm::Host(table) => table.shape(),
        }
    }

    /// Frames that the table is made of, retired ones excluded.
    #[must_use]
    pub const fn table_frames(&self) -> u64 {
        match &self.0 {
            Arm::SecondStage(table) => table.table_frames(),
            Arm::Host(table) => table.table_frames(),
        }
    }

    /// Maps consecutive 4 KiB device pages from `start` to the physical pages whose numbers are given.
    ///
    /// Returns how many were mapped, and why it stopped where that is fewer. The interrupt window FEE0_0000h to FEEF_FFFFh, and
    /// what else is never memory to the unit, is refused with [`MapError::OutOfRange`]. Where [`Geometry::caches_absent`], a flush is owed.
    #[must_use = "fewer pages than given may be mapped"]
    pub fn map_pages<M: TableMemory, P: FrameSource>(
        &mut self,
        memory: &M,
        pool: &mut P,
        start: Iova,
        pages: &[u64],
        access: Access,
    ) -> (usize, Result<(), MapError>) {
        if self.is_special(start.page(), pages.len() as u64) {
            return (0, Err(MapError::OutOfRange));
        }
        match &mut self.0 {
            Arm::SecondStage(table) => table.map_pages(memory, pool, start.as_u64(), pages, access),
            Arm::Host(table) => table.map_pages(memory, pool, start.as_u64(), pages, access),
        }
    }

    /// Maps `pages` consecutive 4 KiB device pages from `start` to consecutive physical pages from `target`, with the largest
    /// pages possible.
    ///
    /// Returns how many were mapped, and why it stopped where that is fewer. Neither range may touch the interrupt window.
    #[must_use = "fewer pages than asked for may be mapped"]
    pub fn map_range<M: TableMemory, P: FrameSource>(
        &mut self,
        memory: &M,
        pool: &mut P,
        start: Iova,
        target: Spa,
        pages: u64,
        access: Access,
    ) -> (u64, Result<(), MapError>) {
        if self.is_special(start.page(), pages) {
            return (0, Err(MapError::OutOfRange));
        }
        if touches(INTERRUPT_WINDOW, target.page(), pages) {
            return (0, Err(MapError::Target));
        }
        match &mut self.0 {
            Arm::SecondStage(table) => {
                table.map_range(memory, pool, start.as_u64(), target, pages, access)
            }
            Arm::Host(table) => {
                table.map_range(memory, pool, start.as_u64(), target, pages, access)
            }
        }
    }

    /// Takes `pages` 4 KiB device pages from `start` out; as [`PageTable::unmap`].
    pub fn unmap<M: TableMemory, P: FrameSource>(
        &mut self,
        memory: &M,
        pool: &mut P,
        start: Iova,
        pages: u64,
    ) -> (Unmapped, Result<(), UnmapError>) {
        match &mut self.0 {
            Arm::SecondStage(table) => table.unmap(memory, pool, start.as_u64(), pages),
            Arm::Host(table) => table.unmap(memory, pool, start.as_u64(), pages),
        }
    }

    /// As [`Self::unmap`], and tells `removed` each mapping that was taken out.
    #[inline]
    pub fn unmap_with<M: TableMemory, P: FrameSource>(
        &mut self,
        memory: &M,
        pool: &mut P,
        start: Iova,
        pages: u64,
        removed: impl FnMut(Removed),
    ) -> (Unmapped, Result<(), UnmapError>) {
        match &mut self.0 {
            Arm::SecondStage(table) => {
                table.unmap_with(memory, pool, start.as_u64(), pages, removed)
            }
            Arm::Host(table) => table.unmap_with(memory, pool, start.as_u64(), pages, removed),
        }
    }

    /// What one device address translates to; `None` where nothing is mapped.
    #[must_use]
    pub fn query<M: TableMemory>(&self, memory: &M, address: Iova) -> Option<Translation> {
        match &self.0 {
            Arm::SecondStage(table) => table.query(memory, address.as_u64()),
            Arm::Host(table) => table.query(memory, address.as_u64()),
        }
    }

    /// Searches for the first mapped address from `from` on; as [`PageTable::next_mapped`].
    #[must_use]
    pub fn next_mapped<M: TableMemory>(&self, memory: &M, from: Iova, steps: usize) -> Next {
        match &self.0 {
            Arm::SecondStage(table) => table.next_mapped(memory, from.as_u64(), steps),
            Arm::Host(table) => table.next_mapped(memory, from.as_u64(), steps),
        }
    }

    /// Ends the table's life, after every requester was taken from it; the flusher is asked for [`FlushRange::All`].
    ///
    /// # Errors
    /// The table and the flusher's reason: its frames must stay out of use.
    #[allow(clippy::result_large_err, reason = "the table itself comes back")]
    pub fn into_teardown<T: Flusher>(self, flusher: &mut T) -> Result<Teardown, (Self, T::Error)> {
        match self.0 {
            Arm::SecondStage(table) => table
                .into_teardown(flusher)
                .map_err(|(table, error)| (Self(Arm::SecondStage(table)), error)),
            Arm::Host(table) => table
                .into_teardown(flusher)
                .map_err(|(table, error)| (Self(Arm::Host(table)), error)),
        }
    }

    /// The arm of units that walk from a root table.
    pub(crate) const fn second_stage(&self) -> Option<&PageTable<paging::Vtd>> {
        match &self.0 {
            Arm::SecondStage(table) => Some(table),
            Arm::Host(_) => None,
        }
    }

    /// The arm of units with a device table.
    pub(crate) const fn host(&self) -> Option<&PageTable<paging::Amdvi>> {
        match &self.0 {
            Arm::Host(table) => Some(table),
            Arm::SecondStage(_) => None,
        }
    }

    /// Whether device addresses in this range are never memory.
    const fn is_special(&self, first: u64, count: u64) -> bool {
        touches(INTERRUPT_WINDOW, first, count)
            || matches!(self.0, Arm::Host(_)) && touches(LINK_WINDOW, first, count)
    }
}

/// Whether a range of pages touches a window.
const fn touches((window, size): (u64, u64), first: u64, count: u64) -> bool {
    count != 0 && first < window + size && first.saturating_add(count) > window
}

/// What a mapping of these pages owes to units that cache what is not mapped: tables may be new, so pointers count.
#[must_use]
pub const fn owed_for_mapping(start: Iova, pages: u64) -> FlushRange {
    FlushRange::Pages {
        first: start.page(),
        count: pages,
        tables: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interrupt_window_has_exact_edges() {
        let in_interrupt_window = |first, count| touches(INTERRUPT_WINDOW, first, count);
        assert!(!in_interrupt_window(0xfedff, 1));
        assert!(in_interrupt_window(0xfedff, 2));
        assert!(in_interrupt_window(0xfeeff, 1));
        assert!(!in_interrupt_window(0xfef00, 1));
        assert!(!in_interrupt_window(0xfee00, 0));
        assert!(in_interrupt_window(0, u64::MAX));
        assert!(touches(LINK_WINDOW, 0xfff_ffff, 1) && !touches(LINK_WINDOW, 0x1000_0000, 1));
        assert!(touches(LINK_WINDOW, 0xfcf_ffff, 2) && !touches(LINK_WINDOW, 0xfcf_ffff, 1));
    }
}
