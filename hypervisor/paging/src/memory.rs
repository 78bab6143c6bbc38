//! The seams: where tables lie, and where their frames come from.

use address::Spa;

/// Entries in a table: 4 KiB of 64-bit words.
pub const ENTRIES: usize = 512;

/// Table memory as the walker sees it. The machine implements it over the direct map, tests over a heap.
///
/// A frame that was handed out by a [`FrameSource`] as a table is read and written through this trait only.
pub trait TableMemory {
    /// Reads entry `index` (0 to 511) of the table in frame `table`.
    fn read(&self, table: Spa, index: usize) -> u64;

    /// Writes entry `index` (0 to 511) of the table in frame `table`: one 64-bit store with release order, because a
    /// hardware walker may read the entry at any time.
    fn write(&self, table: Spa, index: usize, value: u64);

    /// Makes all entries of a table zero. Only called while no hardware can see the table.
    fn zero(&self, table: Spa);

    /// Writes the cache lines of `count` entries from `first` back to memory, for walkers that do not snoop caches, and
    /// orders that before later stores.
    fn clean(&self, table: Spa, first: usize, count: usize);
}

impl<T: TableMemory> TableMemory for &T {
    #[inline]
    fn read(&self, table: Spa, index: usize) -> u64 {
        (**self).read(table, index)
    }

    #[inline]
    fn write(&self, table: Spa, index: usize, value: u64) {
        (**self).write(table, index, value);
    }

    #[inline]
    fn zero(&self, table: Spa) {
        (**self).zero(table);
    }

    #[inline]
    fn clean(&self, table: Spa, first: usize, count: usize) {
        (**self).clean(table, first, count);
    }
}

/// A pool of 4 KiB frames for tables: a partition's deposits, or the boot memory.
///
/// Frames may hold anything when taken: the walker zeroes them before they become visible.
pub trait FrameSource {
    /// Takes a frame; `None` where the pool is empty.
    fn take(&mut self) -> Option<Spa>;

    /// Gives a frame back that no hardware can reach any more.
    fn put(&mut self, frame: Spa);
}

impl<T: FrameSource> FrameSource for &mut T {
    #[inline]
    fn take(&mut self) -> Option<Spa> {
        (**self).take()
    }

    #[inline]
    fn put(&mut self, frame: Spa) {
        (**self).put(frame);
    }
}
