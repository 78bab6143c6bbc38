//! A heap that poses as memory, a pool that can run dry, and a look at a table from outside the walker.

extern crate std;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

use address::Spa;

use crate::{Access, FlushRange, Flusher, Format, FrameSource, PageTable, TableMemory};

/// What a frame holds before it is zeroed: an entry that would map something in every format.
const STALE: u64 = 0x000f_aaaa_aaaa_a007;

/// Where the pool's frames lie.
const POOL: u64 = 0x10_0000;

/// Memory in which only frames that the pool has handed out exist.
#[derive(Default)]
pub struct Memory {
    frames: RefCell<BTreeMap<u64, Vec<u64>>>,
    /// Words written since they were last cleaned.
    dirty: RefCell<BTreeSet<(u64, usize)>>,
    pub writes: Cell<usize>,
}

impl Memory {
    pub fn dirty(&self) -> usize {
        self.dirty.borrow().len()
    }
}

impl TableMemory for Memory {
    fn read(&self, table: Spa, index: usize) -> u64 {
        self.frames.borrow()[&table.page()][index]
    }

    fn write(&self, table: Spa, index: usize, value: u64) {
        self.frames.borrow_mut().get_mut(&table.page()).unwrap()[index] = value;
        self.dirty.borrow_mut().insert((table.page(), index));
        self.writes.set(self.writes.get() + 1);
    }

    fn zero(&self, table: Spa) {
        for index in 0..512 {
            self.write(table, index, 0);
        }
    }

    fn clean(&self, table: Spa, first: usize, count: usize) {
        for index in first..first + count {
            assert!(index < 512);
            self.dirty.borrow_mut().remove(&(table.page(), index));
        }
    }
}

/// A pool over that memory.
pub struct Pool<'a> {
    memory: &'a Memory,
    free: Vec<u64>,
    /// Frames handed out.
    pub out: BTreeSet<u64>,
    /// How many more frames there are before `take` says no; `None` for no bound.
    pub left: Option<usize>,
}

impl<'a> Pool<'a> {
    pub fn new(memory: &'a Memory) -> Self {
        Self {
            memory,
            free: (0..4096).rev().map(|n| (POOL >> 12) + n).collect(),
            out: BTreeSet::new(),
            left: None,
        }
    }
}

impl FrameSource for Pool<'_> {
    fn take(&mut self) -> Option<Spa> {
        match &mut self.left {
            Some(0) => return None,
            Some(left) => *left -= 1,
            None => (),
        }
        let frame = self.free.pop()?;
        self.out.insert(frame);
        let mut frames = self.memory.frames.borrow_mut();
        frames.insert(frame, std::vec![STALE; 512]);
        Spa::from_page(frame)
    }

    fn put(&mut self, frame: Spa) {
        assert!(self.out.remove(&frame.page()), "given back once");
        if let Some(left) = &mut self.left {
            *left += 1;
        }
        self.memory.frames.borrow_mut().remove(&frame.page());
        let mut dirty = self.memory.dirty.borrow_mut();
        dirty.retain(|(page, _)| *page != frame.page());
        self.free.push(frame.page());
    }
}

/// A flusher that remembers what it was asked, and may refuse.
#[derive(Default)]
pub struct Flushes {
    pub seen: Vec<FlushRange>,
    pub broken: bool,
}

impl Flusher for Flushes {
    type Error = ();

    fn flush(&mut self, range: FlushRange) -> Result<(), ()> {
        if self.broken {
            return Err(());
        }
        self.seen.push(range);
        Ok(())
    }
}

/// One 4 KiB page as hardware would see it.
pub type Page = (u64, Access);

/// What is mapped, as runs: first input page to (count, first target page, access).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Runs(BTreeMap<u64, (u64, u64, Access)>);

impl Runs {
    /// The page behind an input page.
    pub fn get(&self, page: u64) -> Option<Page> {
        let (&first, &(count, target, access)) = self.0.range(..=page).next_back()?;
        (page - first < count).then(|| (target + page - first, access))
    }

    /// Pages of the range before the first one that is mapped.
    pub fn free(&self, page: u64, count: u64) -> u64 {
        if count != 0 && self.get(page).is_some() {
            return 0;
        }
        let next = self.0.range(page..page + count).next();
        next.map_or(count, |(&first, _)| first - page)
    }

    /// Mapped pages of the range.
    pub fn mapped(&self, page: u64, count: u64) -> u64 {
        let mut cut = self.clone();
        cut.remove(page, count);
        self.total() - cut.total()
    }

    pub fn total(&self) -> u64 {
        self.0.values().map(|run| run.0).sum()
    }

    /// Adds a run to a free range, merged with what continues it.
    pub fn insert(&mut self, page: u64, count: u64, target: u64, access: Access) {
        if count == 0 {
            return;
        }
        assert_eq!(self.free(page, count), count);
        self.0.insert(page, (count, target, access));
        self.merge(page);
        if let Some((&next, _)) = self.0.range(page + 1..).next() {
            self.merge(next);
        }
    }

    fn merge(&mut self, page: u64) {
        let (count, target, access) = self.0[&page];
        let before = self.0.range(..page).next_back();
        if let Some((&first, &(length, start, same))) = before
            && first + length == page
            && start + length == target
            && same == access
        {
            self.0.remove(&page);
            self.0.insert(first, (length + count, start, access));
        }
    }

    /// Takes a range out.
    pub fn remove(&mut self, page: u64, count: u64) {
        if count == 0 {
            return;
        }
        let end = page + count;
        let near: Vec<u64> = self.0.range(..end).map(|(&first, _)| first).collect();
        for first in near {
            let (length, target, access) = self.0[&first];
            if first + length <= page {
                continue;
            }
            self.0.remove(&first);
            if first < page {
                self.0.insert(first, (page - first, target, access));
            }
            if first + length > end {
                let cut = end - first;
                self.0.insert(end, (length - cut, target + cut, access));
            }
        }
    }
}

/// Reads a whole table as hardware would, and checks what must hold of every entry on the way. Returns what is mapped and how
/// many tables there are.
pub fn scan<F: Format>(memory: &Memory, table: &PageTable<F>) -> (Runs, u64) {
    let mut runs = Runs::default();
    let mut tables = 0;
    let levels = table.shape().levels;
    scan_table::<F>(memory, table.root(), levels, 0, &mut runs, &mut tables);
    (runs, tables)
}

fn scan_table<F: Format>(
    memory: &Memory,
    table: Spa,
    level: u8,
    first: u64,
    runs: &mut Runs,
    tables: &mut u64,
) {
    *tables += 1;
    let pages = 1u64 << (9 * (u32::from(level) - 1));
    for index in 0..512 {
        let entry = memory.read(table, index);
        let page = first + index as u64 * pages;
        if entry == 0 {
            continue;
        }
        assert_ne!(entry & 3, 0, "what maps nothing is all zero (CPU-26)");
        if level == 1 || entry & 0x80 != 0 {
            let target = (entry & 0x000f_ffff_ffff_f000) >> 12;
            assert_eq!(target & (pages - 1), 0, "a large page is aligned");
            runs.insert(page, pages, target, F::access(entry));
        } else {
            let next = Spa::new(entry & 0x000f_ffff_ffff_f000);
            scan_table::<F>(memory, next, level - 1, page, runs, tables);
        }
    }
}
