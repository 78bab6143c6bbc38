//! A partition's deposits: frames that the hypervisor may use for its tables.
//!
//! Free frames are chained through their own first word, so that a pool of any size needs no memory but itself.

use address::Spa;
use paging::{FrameSource, TableMemory};

/// The end of a chain. Frame 0 is never in a pool: it is not usable RAM on any PC.
const END: u64 = 0;

/// Free frames of one partition.
#[derive(Debug, Default)]
pub struct Pool {
    head: u64,
    free: u64,
    in_use: u64,
}

impl Pool {
    /// A pool without frames.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            head: END,
            free: 0,
            in_use: 0,
        }
    }

    /// Free frames.
    #[must_use]
    pub const fn free(&self) -> u64 {
        self.free
    }

    /// Frames that were taken and not put back.
    #[must_use]
    pub const fn in_use(&self) -> u64 {
        self.in_use
    }

    /// Adds a frame that was never in the pool.
    pub fn add(&mut self, memory: &impl TableMemory, frame: Spa) {
        memory.write(frame, 0, self.head);
        self.head = frame.as_u64();
        self.free += 1;
    }

    /// Adds `pages` consecutive frames from `first` on, none of which was ever in the pool.
    #[inline(never)]
    pub fn add_run(&mut self, memory: &impl TableMemory, first: Spa, pages: u64) {
        for frame in (first.page()..first.page() + pages).filter_map(Spa::from_page) {
            self.add(memory, frame);
        }
    }

    /// Takes a free frame out of the pool for good.
    pub fn remove(&mut self, memory: &impl TableMemory) -> Option<Spa> {
        if self.head == END {
            return None;
        }
        let frame = Spa::new(self.head);
        self.head = memory.read(frame, 0);
        self.free -= 1;
        Some(frame)
    }

    /// The pool as a source of table frames.
    pub fn source<'a, T: TableMemory>(&'a mut self, memory: &'a T) -> PoolSource<'a, T> {
        PoolSource { pool: self, memory }
    }
}

/// A [`Pool`] together with the memory that its frames lie in.
#[derive(Debug)]
pub struct PoolSource<'a, T> {
    pool: &'a mut Pool,
    memory: &'a T,
}

impl<T: TableMemory> FrameSource for PoolSource<'_, T> {
    fn take(&mut self) -> Option<Spa> {
        let frame = self.pool.remove(self.memory)?;
        self.pool.in_use += 1;
        Some(frame)
    }

    fn put(&mut self, frame: Spa) {
        self.pool.add(self.memory, frame);
        self.pool.in_use -= 1;
    }
}
