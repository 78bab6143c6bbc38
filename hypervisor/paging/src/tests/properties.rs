//! Random sequences of operations, with a pool that may run dry at any moment (DMA-12, TLB-03, TLB-05, TLB-06, TLB-14, CPU-26).

extern crate std;
use std::vec::Vec;

use address::{PageSize, Spa};
use proptest::prelude::*;

use super::fixture::{Flushes, Memory, Pool, Runs, scan};
use crate::{
    Access, Ept, FlushRange, Format, FrameSource, MapError, Npt, PageTable, Progress, Rights,
    Shape, UnmapError, Vtd,
};

#[derive(Clone, Debug)]
enum Operation {
    /// Scattered pages.
    Pages(u64, Vec<u64>),
    /// A contiguous range.
    Range(u64, u64, u64),
    /// One page of a size, addresses as they come.
    Single(u64, u64, PageSize),
    Unmap(u64, u64),
}

/// Input page numbers near the edges of tables.
fn page() -> impl Strategy<Value = u64> {
    let edge = prop_oneof![
        Just(0u64),
        Just(512),
        Just(1024),
        Just(1 << 18),
        Just(2 << 18)
    ];
    (edge, 0u64..20).prop_flat_map(|(edge, off)| {
        prop_oneof![Just(edge), Just(edge + off), Just(edge.saturating_sub(off))]
    })
}

fn length() -> impl Strategy<Value = u64> {
    prop_oneof![
        3 => 1u64..20,
        3 => 500u64..1100,
        2 => Just(512u64),
        1 => Just(1u64 << 18),
        1 => Just((1u64 << 18) + 513),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    let size = prop_oneof![
        Just(PageSize::Size4K),
        Just(PageSize::Size2M),
        Just(PageSize::Size1G)
    ];
    prop_oneof![
        (page(), prop::collection::vec(0u64..(1 << 26), 1..700))
            .prop_map(|(at, pages)| Operation::Pages(at, pages)),
        (page(), length(), any::<bool>()).prop_map(|(at, count, aligned)| {
            // A large range that cannot use large pages would only be slow.
            let count = if aligned { count } else { count.min(1100) };
            Operation::Range(at, if aligned { at } else { at + 7 }, count)
        }),
        (page(), page(), size).prop_map(|(at, to, size)| Operation::Single(at, to, size)),
        (page(), length()).prop_map(|(at, count)| Operation::Unmap(at, count)),
        (page(), length()).prop_map(|(at, count)| Operation::Unmap(at, count)),
    ]
}

struct World<'a, F: Format> {
    memory: &'a Memory,
    pool: Pool<'a>,
    table: PageTable<F>,
    reference: Runs,
}

const BOTH: Access = Access::ram(Rights::READ.union(Rights::WRITE));

impl<F: Format> World<'_, F> {
    /// Does one operation with at most `frames` frames left, and compares.
    fn run(&mut self, operation: &Operation, frames: usize) {
        self.pool.left = Some(frames);
        match operation {
            Operation::Pages(at, pages) => self.pages(*at, pages),
            Operation::Range(at, to, count) => self.range(*at, *to, *count),
            Operation::Single(at, to, size) => self.single(*at, *to, *size),
            Operation::Unmap(at, count) => self.unmap(*at, *count),
        }
        let (runs, tables) = scan(self.memory, &self.table);
        assert_eq!(runs, self.reference);
        assert_eq!(tables, self.table.table_frames());
        assert_eq!(tables, self.pool.out.len() as u64, "no frame is lost");
        assert_eq!(self.memory.dirty(), 0, "every write was cleaned");
    }

    fn judge(&self, free: u64, asked: u64, done: u64, result: Result<(), MapError>) {
        match result {
            Ok(()) => assert_eq!((free, done), (asked, asked)),
            Err(MapError::AlreadyMapped) => assert_eq!(done, free),
            Err(MapError::OutOfFrames) => assert!(done <= free && done < asked),
            Err(other) => panic!("{other}"),
        }
    }

    fn pages(&mut self, at: u64, pages: &[u64]) {
        let free = self.reference.free(at, pages.len() as u64);
        let (done, result) =
            self.table
                .map_pages(self.memory, &mut self.pool, at << 12, pages, BOTH);
        self.judge(free, pages.len() as u64, done as u64, result);
        for (page, &target) in (at..).zip(pages).take(done) {
            self.reference.insert(page, 1, target, BOTH);
        }
    }

    fn range(&mut self, at: u64, to: u64, count: u64) {
        let free = self.reference.free(at, count);
        let target = Spa::from_page(to).unwrap();
        let (done, result) =
            self.table
                .map_range(self.memory, &mut self.pool, at << 12, target, count, BOTH);
        self.judge(free, count, done, result);
        self.reference.insert(at, done, to, BOTH);
    }

    fn single(&mut self, at: u64, to: u64, size: PageSize) {
        let free = self.reference.free(at, size.frames());
        let target = Spa::from_page(to).unwrap();
        let (done, result) =
            self.table
                .map(self.memory, &mut self.pool, at << 12, target, size, BOTH);
        let mask = size.frames() - 1;
        if at & mask != 0 {
            assert_eq!((done, result), (0, Err(MapError::Misaligned)));
        } else if to & mask != 0 {
            assert_eq!((done, result), (0, Err(MapError::Target)));
        } else {
            self.judge(free, size.frames(), done, result);
            self.reference.insert(at, done, to, BOTH);
        }
    }

    fn unmap(&mut self, at: u64, count: u64) {
        let mut removed = Vec::new();
        let (token, result) =
            self.table
                .unmap_with(self.memory, &mut self.pool, at << 12, count, |gone| {
                    removed.push(gone);
                });
        match result {
            Ok(()) => assert_eq!(token.pages(), count),
            Err(UnmapError::OutOfFrames) => assert!(token.pages() < count),
            Err(other) => panic!("{other}"),
        }
        assert_eq!(token.removed(), self.reference.mapped(at, token.pages()));
        // What the visitor is told is what was there.
        let mut told = 0;
        for gone in &removed {
            told += gone.size.frames();
            let page = gone.address >> 12;
            assert_eq!(self.reference.get(page), Some((gone.spa.page(), BOTH)));
            assert!(page >= at && page + gone.size.frames() <= at + token.pages());
        }
        assert_eq!(told, token.removed());
        self.reference.remove(at, token.pages());
        self.settle(token, at);
    }

    /// TLB-05, TLB-14: the debt covers all that went, and no frame comes back before it is paid.
    fn settle(&mut self, token: crate::Unmapped, at: u64) {
        let retired = self.pool.out.len() as u64 - self.table.table_frames();
        let (pages, removed) = (token.pages(), token.removed());
        let mut flushes = Flushes::default();
        let out = self.pool.out.clone();
        let proof = token.flush(&mut flushes).unwrap();
        assert_eq!(self.pool.out, out);
        assert_eq!(proof.release(&mut self.pool) as u64, retired);
        if removed == 0 && retired == 0 {
            assert!(flushes.seen.is_empty());
        } else {
            let [
                FlushRange::Pages {
                    first,
                    count,
                    tables,
                },
            ] = flushes.seen[..]
            else {
                panic!("one flush of pages");
            };
            assert!(first <= at && first + count >= at + pages);
            let widened = (first, count) != (at, pages);
            assert!(tables || (retired == 0 && !widened));
        }
    }
}

fn sequence<F: Format>(format: F, shape: Shape, operations: &[(Operation, usize)]) {
    let memory = Memory::default();
    let mut pool = Pool::new(&memory);
    let table = PageTable::new(format, shape, &memory, &mut pool).unwrap();
    let mut world = World {
        memory: &memory,
        pool,
        table,
        reference: Runs::default(),
    };
    for (operation, frames) in operations {
        world.run(operation, *frames);
    }
    let mut pool = world.pool;
    let Ok(mut teardown) = world.table.into_teardown(&mut Flushes::default()) else {
        panic!("the flush is confirmed");
    };
    let mut slices = 0;
    while teardown.step(&memory, &mut pool, 100) == Progress::More {
        slices += 1;
        assert_eq!(teardown.table_frames(), pool.out.len() as u64);
        assert!(slices < 10_000);
    }
    assert!(pool.out.is_empty(), "every frame came back");
    pool.left = None;
    assert!(pool.take().is_some());
}

/// Mostly enough frames; often too few for the operation.
fn operations() -> impl Strategy<Value = Vec<(Operation, usize)>> {
    let frames = prop_oneof![2 => Just(3000usize), 1 => 0usize..6];
    prop::collection::vec((operation(), frames), 1..24)
}

fn shape(levels: u8, largest: PageSize) -> Shape {
    Shape {
        levels,
        input_bits: 12 + 9 * levels,
        output_bits: 40,
        largest,
        coherent: false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nested_tables_agree_with_the_reference(operations in operations()) {
        sequence(Npt, shape(4, PageSize::Size1G), &operations);
    }

    #[test]
    fn extended_tables_agree_with_the_reference(operations in operations()) {
        // Access reads back without the right to execute.
        sequence(Ept, shape(4, PageSize::Size1G), &operations);
    }

    #[test]
    fn device_tables_of_three_levels_agree_with_the_reference(operations in operations()) {
        sequence(Vtd { snoop: true }, shape(3, PageSize::Size2M), &operations);
    }

    #[test]
    fn device_tables_of_five_levels_agree_with_the_reference(operations in operations()) {
        sequence(Vtd { snoop: false }, shape(5, PageSize::Size1G), &operations);
    }
}
