//! The table itself: its root, its shape, and the frames it is made of.

use address::{PAGE_SHIFT, PAGE_SIZE, Spa};

use crate::{ENTRIES, Format, FrameSource, NewError, Shape, TableMemory};

/// A translation table of format `F`.
///
/// It owns its table frames, not what they map. All methods of one table need the same memory, and the pool that its frames
/// came from.
#[derive(Debug)]
pub struct PageTable<F: Format> {
    pub(crate) format: F,
    pub(crate) root: Spa,
    pub(crate) shape: Shape,
    pub(crate) tables: u64,
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
        let root = pool.take().ok_or(NewError::OutOfFrames)?;
        memory.zero(root);
        let table = Self {
            format,
            root,
            shape,
            tables: 1,
        };
        table.clean(memory, root, 0, ENTRIES);
        Ok(table)
    }

    /// Frame of the root table: what hardware is pointed at.
    #[must_use]
    pub const fn root(&self) -> Spa {
        self.root
    }

    /// The geometry, which never changes.
    #[must_use]
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// The format value that it was made with.
    #[must_use]
    pub const fn format(&self) -> F {
        self.format
    }

    /// Frames that the table is made of, the root included, retired ones excluded.
    #[must_use]
    pub const fn table_frames(&self) -> u64 {
        self.tables
    }

    /// Whether the input pages `[start, start + pages)` lie within the input width, and `start` is a page's first byte.
    pub(crate) const fn check_input(&self, start: u64, pages: u64) -> InputCheck {
        if start & (PAGE_SIZE - 1) != 0 {
            return InputCheck::Misaligned;
        }
        let limit = 1u64 << (self.shape.input_bits as u32 - PAGE_SHIFT);
        let first = start >> PAGE_SHIFT;
        if first > limit || pages > limit - first {
            return InputCheck::OutOfRange;
        }
        InputCheck::Good
    }

    /// Number of physical pages that an entry can name.
    #[inline]
    pub(crate) const fn target_limit(&self) -> u64 {
        1 << (self.shape.output_bits as u32 - PAGE_SHIFT)
    }

    /// The table that a table entry points to.
    #[inline]
    pub(crate) const fn next(entry: u64) -> Spa {
        Spa::new(entry & F::ADDRESS)
    }

    /// Cleans entries where the walker does not snoop.
    #[inline]
    pub(crate) fn clean<M: TableMemory>(&self, memory: &M, table: Spa, first: usize, count: usize) {
        if !self.shape.coherent {
            memory.clean(table, first, count);
        }
    }

    /// Writes one entry and cleans it.
    #[inline]
    pub(crate) fn publish<M: TableMemory>(&self, memory: &M, table: Spa, index: usize, value: u64) {
        memory.write(table, index, value);
        self.clean(memory, table, index, 1);
    }
}

/// What is wrong with an input range.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum InputCheck {
    /// Nothing.
    Good,
    /// Does not start at a page.
    Misaligned,
    /// Leaves the input width.
    OutOfRange,
}
