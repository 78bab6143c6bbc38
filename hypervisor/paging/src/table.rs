//! A table in a format: what its owner holds.

use address::{PageSize, Spa};

use crate::tree::Tree;
use crate::{
    Access, FlushRange, Flusher, Format, FrameSource, MapError, NewError, Next, Removed, Shape,
    TableMemory, Teardown, Translation, UnmapError, Unmapped,
};

/// A translation table of format `F`.
///
/// It owns its table frames, not what they map. All methods of one table need the same memory, and the pool that its frames
/// came from. The format makes entries and reads them; the walk is the tree's, the same for every format.
#[derive(Debug)]
pub struct PageTable<F: Format> {
    format: F,
    tree: Tree,
}

impl<F: Format> PageTable<F> {
    /// An empty table: it translates nothing.
    ///
    /// # Errors
    /// [`NewError::Shape`] where the format has no such table, [`NewError::OutOfFrames`] where the pool is empty.
    pub fn new<M: TableMemory, P: FrameSource>(
        format: F,
        shape: Shape,
        memory: &M,
        pool: &mut P,
    ) -> Result<Self, NewError> {
        if !shape.fits::<F>() {
            return Err(NewError::Shape);
        }
        let tree = Tree::new(F::LAYOUT, shape, memory, pool)?;
        Ok(Self { format, tree })
    }

    /// Frame of the root table: what hardware is pointed at.
    #[must_use]
    pub const fn root(&self) -> Spa {
        self.tree.root
    }

    /// The geometry, which never changes.
    #[must_use]
    pub const fn shape(&self) -> Shape {
        self.tree.shape
    }

    /// The format value that it was made with.
    #[must_use]
    pub const fn format(&self) -> F {
        self.format
    }

    /// Frames that the table is made of, the root included, retired ones excluded.
    #[must_use]
    pub const fn table_frames(&self) -> u64 {
        self.tree.tables
    }

    /// Maps consecutive 4 KiB input pages from `start` to the physical pages whose numbers are given, in that order.
    ///
    /// Returns how many were mapped, and why it stopped where that is fewer than given. A range that does not fit is refused as
    /// a whole.
    #[must_use = "fewer pages than given may be mapped"]
    pub fn map_pages<M: TableMemory, P: FrameSource>(
        &mut self,
        memory: &M,
        pool: &mut P,
        start: u64,
        pages: &[u64],
        access: Access,
    ) -> (usize, Result<(), MapError>) {
        let leaf = self.format.leaf(access);
        self.tree.map_pages(memory, pool, start, pages, leaf)
    }

    /// Maps `pages` consecutive 4 KiB input pages from `start` to consecutive physical pages from `target`, with the largest
    /// pages that alignment, hardware and the tables that are there already allow.
    ///
    /// Returns how many 4 KiB pages were mapped, and why it stopped where that is fewer than asked for.
    #[must_use = "fewer pages than asked for may be mapped"]
    pub fn map_range<M: TableMemory, P: FrameSource>(
        &mut self,
        memory: &M,
        pool: &mut P,
        start: u64,
        target: Spa,
        pages: u64,
        access: Access,
    ) -> (u64, Result<(), MapError>) {
        let leaf = self.format.leaf(access);
        self.tree
            .map_range(memory, pool, start, target, pages, leaf)
    }

    /// Maps one page of `size`, both addresses aligned to it. Where hardware has no page of this size, or a table is there
    /// already, smaller pages stand in for it.
    ///
    /// Returns how many 4 KiB pages were mapped: all of `size`, or fewer and why.
    #[must_use = "fewer pages than asked for may be mapped"]
    pub fn map<M: TableMemory, P: FrameSource>(
        &mut self,
        memory: &M,
        pool: &mut P,
        start: u64,
        target: Spa,
        size: PageSize,
        access: Access,
    ) -> (u64, Result<(), MapError>) {
        let leaf = self.format.leaf(access);
        self.tree.map(memory, pool, start, target, size, leaf)
    }

    /// Takes `pages` 4 KiB input pages from `start` out of the table. Pages of the range that are not mapped are skipped. A
    /// large page of which only a part goes is split.
    ///
    /// The token says how many pages of the range are done and owes the flush for them, error or not: after an error the pages
    /// that it counts are gone and all others translate as before.
    pub fn unmap<M: TableMemory, P: FrameSource>(
        &mut self,
        memory: &M,
        pool: &mut P,
        start: u64,
        pages: u64,
    ) -> (Unmapped, Result<(), UnmapError>) {
        self.tree.unmap(memory, pool, start, pages)
    }

    /// As [`Self::unmap`], and tells `removed` each mapping that was taken out, in order. What it is told is still in reach of
    /// caches until the token is flushed.
    #[inline]
    pub fn unmap_with<M: TableMemory, P: FrameSource>(
        &mut self,
        memory: &M,
        pool: &mut P,
        start: u64,
        pages: u64,
        removed: impl FnMut(Removed),
    ) -> (Unmapped, Result<(), UnmapError>) {
        self.tree.unmap_with(memory, pool, start, pages, removed)
    }

    /// Translates one input address (any byte of a page); `None` where nothing is mapped or the address leaves the input
    /// width.
    #[must_use]
    #[inline]
    pub fn query<M: TableMemory>(&self, memory: &M, address: u64) -> Option<Translation> {
        let found = self.tree.find(memory, address)?;
        Some(found.translation::<F>())
    }

    /// Searches for the first mapped address from `from` on, in at most `steps` walks.
    #[must_use]
    pub fn next_mapped<M: TableMemory>(&self, memory: &M, from: u64, steps: usize) -> Next {
        match self.tree.next_mapped(memory, from, steps) {
            Some((address, Some(found))) => Next::Page(address, found.translation::<F>()),
            Some((address, None)) => Next::More(address),
            None => Next::End,
        }
    }

    /// Ends the table's life. The caller has taken it from every processor and unit that could start a walk at its root; the
    /// flusher makes them forget all that they cached of it.
    ///
    /// # Errors
    /// The table, and the flusher's reason: its frames must stay out of use.
    pub fn into_teardown<T: Flusher>(self, flusher: &mut T) -> Result<Teardown, (Self, T::Error)> {
        match flusher.flush(FlushRange::All) {
            Ok(()) => Ok(Teardown::new(self.tree)),
            Err(error) => Err((self, error)),
        }
    }
}
