//! The second-level table of a partition, in the dialect of the processor that runs it: an enum of two arms, so that
//! whoever owns one need not know which.

use address::{PageSize, Spa};

use crate::{
    Access, Ept, Flusher, FrameSource, MapError, NewError, Next, Npt, PageTable, Removed, Shape,
    TableMemory, Teardown, Translation, UnmapError, Unmapped,
};

/// Which processor dialect walks the table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SlatKind {
    /// Nested page tables.
    Nested,
    /// Extended page tables.
    Extended,
}

/// GPA to SPA for the processors of one partition.
#[derive(Debug)]
pub enum Slat {
    /// Nested page tables.
    Nested(PageTable<Npt>),
    /// Extended page tables.
    Extended(PageTable<Ept>),
}

macro_rules! either {
    ($self:expr, $table:ident => $body:expr) => {
        match $self {
            Self::Nested($table) => $body,
            Self::Extended($table) => $body,
        }
    };
}

impl Slat {
    /// An empty table.
    ///
    /// # Errors
    /// As [`PageTable::new`].
    pub fn new(
        kind: SlatKind,
        shape: Shape,
        memory: &impl TableMemory,
        pool: &mut impl FrameSource,
    ) -> Result<Self, NewError> {
        Ok(match kind {
            SlatKind::Nested => Self::Nested(PageTable::new(Npt, shape, memory, pool)?),
            SlatKind::Extended => Self::Extended(PageTable::new(Ept, shape, memory, pool)?),
        })
    }

    /// Frame of the root table.
    #[must_use]
    pub const fn root(&self) -> Spa {
        either!(self, table => table.root())
    }

    /// Width of the addresses that the table translates, in bits.
    #[must_use]
    pub const fn input_bits(&self) -> u8 {
        either!(self, table => table.shape().input_bits)
    }

    /// As [`PageTable::map_pages`].
    #[must_use = "fewer pages than given may be mapped"]
    pub fn map_pages(
        &mut self,
        memory: &impl TableMemory,
        pool: &mut impl FrameSource,
        start: u64,
        pages: &[u64],
        access: Access,
    ) -> (usize, Result<(), MapError>) {
        either!(self, table => table.map_pages(memory, pool, start, pages, access))
    }

    /// As [`PageTable::map_range`].
    #[must_use = "fewer pages than asked for may be mapped"]
    pub fn map_range(
        &mut self,
        memory: &impl TableMemory,
        pool: &mut impl FrameSource,
        start: u64,
        target: Spa,
        pages: u64,
        access: Access,
    ) -> (u64, Result<(), MapError>) {
        either!(self, table => table.map_range(memory, pool, start, target, pages, access))
    }

    /// As [`PageTable::map`].
    #[must_use = "fewer pages than asked for may be mapped"]
    pub fn map(
        &mut self,
        memory: &impl TableMemory,
        pool: &mut impl FrameSource,
        start: u64,
        target: Spa,
        size: PageSize,
        access: Access,
    ) -> (u64, Result<(), MapError>) {
        either!(self, table => table.map(memory, pool, start, target, size, access))
    }

    /// As [`PageTable::unmap`].
    pub fn unmap(
        &mut self,
        memory: &impl TableMemory,
        pool: &mut impl FrameSource,
        start: u64,
        pages: u64,
    ) -> (Unmapped, Result<(), UnmapError>) {
        either!(self, table => table.unmap(memory, pool, start, pages))
    }

    /// As [`PageTable::unmap_with`].
    pub fn unmap_with(
        &mut self,
        memory: &impl TableMemory,
        pool: &mut impl FrameSource,
        start: u64,
        pages: u64,
        removed: impl FnMut(Removed),
    ) -> (Unmapped, Result<(), UnmapError>) {
        either!(self, table => table.unmap_with(memory, pool, start, pages, removed))
    }

    /// As [`PageTable::query`].
    #[must_use]
    #[inline]
    pub fn query(&self, memory: &impl TableMemory, address: u64) -> Option<Translation> {
        either!(self, table => table.query(memory, address))
    }

    /// As [`PageTable::next_mapped`].
    #[must_use]
    pub fn next_mapped(&self, memory: &impl TableMemory, from: u64, steps: usize) -> Next {
        either!(self, table => table.next_mapped(memory, from, steps))
    }

    /// As [`PageTable::into_teardown`].
    ///
    /// # Errors
    /// The table, and the flusher's reason.
    pub fn into_teardown<T: Flusher>(self, flusher: &mut T) -> Result<Teardown, (Self, T::Error)> {
        match self {
            Self::Nested(table) => table
                .into_teardown(flusher)
                .map_err(|(table, error)| (Self::Nested(table), error)),
            Self::Extended(table) => table
                .into_teardown(flusher)
                .map_err(|(table, error)| (Self::Extended(table), error)),
        }
    }
}
