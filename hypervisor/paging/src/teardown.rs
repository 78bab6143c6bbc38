//! Taking a whole table apart, in slices.

use crate::format::{entry_shift, index, table_shift};
use crate::tree::Tree;
use crate::{FrameSource, TableMemory};

/// Whether a slice was the last one.
#[must_use]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Progress {
    /// There is more to do.
    More,
    /// Every frame is back in the pool.
    Done,
}

/// A table that no hardware can reach any more. It translates nothing and gives its frames back slice by slice; its progress is
/// its own, so that a call can be cut off and come again.
#[must_use = "its frames are lost unless it is taken apart to the end"]
#[derive(Debug)]
pub struct Teardown {
    tree: Tree,
    /// Input addresses below it are done.
    reached: u64,
}

impl Teardown {
    /// Of a tree that no hardware can reach any more.
    pub(crate) const fn new(tree: Tree) -> Self {
        Self { tree, reached: 0 }
    }

    /// Frames still to be given back.
    #[must_use]
    pub const fn table_frames(&self) -> u64 {
        self.tree.tables
    }

    /// Looks at up to `budget` entries or leaf tables, each some tens of instructions, and gives back what it has finished.
    pub fn step<M: TableMemory, P: FrameSource>(
        &mut self,
        memory: &M,
        pool: &mut P,
        budget: usize,
    ) -> Progress {
        for _ in 0..budget {
            if self.tree.tables == 0 {
                return Progress::Done;
            }
            self.advance(memory, pool);
        }
        if self.tree.tables == 0 {
            Progress::Done
        } else {
            Progress::More
        }
    }

    /// Passes one leaf table, or one entry that is none, and every table that ends with it.
    fn advance<M: TableMemory, P: FrameSource>(&mut self, memory: &M, pool: &mut P) {
        let mut path = [self.tree.root; 5];
        let mut level = self.tree.shape.levels;
        while level > 1 {
            let table = path[usize::from(level) - 1];
            let entry = memory.read(table, index(self.reached, level));
            if entry == 0 || self.tree.layout.is_page(entry) {
                break;
            }
            level -= 1;
            path[usize::from(level) - 1] = self.tree.layout.target(entry);
        }
        self.reached += if level == 1 {
            1 << table_shift(1)
        } else {
            1 << entry_shift(level)
        };
        for own in level..=self.tree.shape.levels {
            if self.reached & ((1 << table_shift(own)) - 1) != 0 {
                return;
            }
            pool.put(path[usize::from(own) - 1]);
            self.tree.tables -= 1;
        }
    }
}
