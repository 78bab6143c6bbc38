//! Taking a whole table apart, in slices.

use address::Spa;

use crate::format::{entry_shift, index, table_shift};
use crate::{FlushRange, Flusher, Format, FrameSource, PageTable, TableMemory};

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
pub struct Teardown<F: Format> {
    table: PageTable<F>,
    /// Input addresses below it are done.
    reached: u64,
}

impl<F: Format> PageTable<F> {
    /// Ends the table's life. The caller has taken it from every processor and unit that could start a walk at its root; the
    /// flusher makes them forget all that they cached of it.
    ///
    /// # Errors
    /// The table, and the flusher's reason: its frames must stay out of use.
    pub fn into_teardown<T: Flusher>(
        self,
        flusher: &mut T,
    ) -> Result<Teardown<F>, (Self, T::Error)> {
        match flusher.flush(FlushRange::All) {
            Ok(()) => Ok(Teardown {
                table: self,
                reached: 0,
            }),
            Err(error) => Err((self, error)),
        }
    }
}

impl<F: Format> Teardown<F> {
    /// Frames still to be given back.
    #[must_use]
    pub const fn table_frames(&self) -> u64 {
        self.table.tables
    }

    /// Looks at up to `budget` entries or leaf tables, each some tens of instructions, and gives back what it has finished.
    pub fn step<M: TableMemory, P: FrameSource>(
        &mut self,
        memory: &M,
        pool: &mut P,
        budget: usize,
    ) -> Progress {
        for _ in 0..budget {
            if self.table.tables == 0 {
                return Progress::Done;
            }
            self.advance(memory, pool);
        }
        if self.table.tables == 0 {
            Progress::Done
        } else {
            Progress::More
        }
    }

    /// Passes one leaf table, or one entry that is none, and every table that ends with it.
    fn advance<M: TableMemory, P: FrameSource>(&mut self, memory: &M, pool: &mut P) {
        let mut path = [self.table.root; 5];
        let mut level = self.table.shape.levels;
        while level > 1 {
            let table = path[usize::from(level) - 1];
            let entry = memory.read(table, index(self.reached, level));
            if entry == 0 || F::is_page(entry, level) {
                break;
            }
            level -= 1;
            path[usize::from(level) - 1] = Spa::new(entry & F::ADDRESS);
        }
        self.reached += if level == 1 {
            1 << table_shift(1)
        } else {
            1 << entry_shift(level)
        };
        for own in level..=self.table.shape.levels {
            if self.reached & ((1 << table_shift(own)) - 1) != 0 {
                return;
            }
            pool.put(path[usize::from(own) - 1]);
            self.table.tables -= 1;
        }
    }
}
