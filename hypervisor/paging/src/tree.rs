//! What is walked: the tree of tables below one root. It knows its format by values only, so that the walk is compiled once.

use address::{PAGE_SHIFT, PAGE_SIZE, Spa};

use crate::{ENTRIES, FrameSource, Layout, NewError, Shape, TableMemory};

/// A tree of tables, of whatever format.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) layout: Layout,
    pub(crate) root: Spa,
    pub(crate) shape: Shape,
    pub(crate) tables: u64,
}

impl Tree {
    /// An empty root.
    pub(crate) fn new<M: TableMemory, P: FrameSource>(
        layout: Layout,
        shape: Shape,
        memory: &M,
        pool: &mut P,
    ) -> Result<Self, NewError> {
        let root = pool.take().ok_or(NewError::OutOfFrames)?;
        memory.zero(root);
        let tree = Self {
            layout,
            root,
            shape,
            tables: 1,
        };
        tree.clean(memory, root, 0, ENTRIES);
        Ok(tree)
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

    /// Cleans entries where the walker does not snoop.
    #[inline]
    pub(crate) fn clean<M: TableMemory>(&self, memory: &M, table: Spa, first: usize, count: usize) {
        if !self.shape.coherent {
            memory.clean(table, first, count);
        }
    }

    /// Writes one entry and cleans it.
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
