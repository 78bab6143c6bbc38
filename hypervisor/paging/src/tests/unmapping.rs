//! Debts, splits and what a failed flush keeps.

extern crate std;

use address::{PageSize, Spa};

use super::fixture::{Flushes, Memory, Pool, scan};
use crate::{
    Access, FlushRange, MemoryType, Npt, PageTable, Progress, RETIRED_PER_CALL, Rights, Shape,
    UnmapError,
};

const ALL: Access = Access::ram(Rights::all());

fn table<'a>(memory: &'a Memory) -> (PageTable<Npt>, Pool<'a>) {
    let mut pool = Pool::new(memory);
    let table = PageTable::new(Npt, Shape::processor(48), memory, &mut pool).unwrap();
    (table, pool)
}

#[test]
fn tlb_06_a_split_without_frames_changes_nothing() {
    for frames in 0..2 {
        let memory = Memory::default();
        let (mut table, mut pool) = table(&memory);
        let size = PageSize::Size1G;
        let done = table.map(&memory, &mut pool, 0, Spa::new(0), size, ALL);
        assert_eq!(done, (1 << 18, Ok(())));
        let before = scan(&memory, &table);
        let writes = memory.writes.get();
        pool.left = Some(frames);
        let (token, result) = table.unmap(&memory, &mut pool, 0x5000, 1);
        assert_eq!(result, Err(UnmapError::OutOfFrames));
        assert_eq!((token.pages(), token.removed()), (0, 0));
        assert_eq!(scan(&memory, &table), before);
        assert_eq!(memory.writes.get(), writes);
        assert_eq!(pool.left, Some(frames), "what it took it gave back");
        pool.left = Some(2);
        let (token, result) = table.unmap(&memory, &mut pool, 0x5000, 1);
        assert_eq!((token.pages(), token.removed(), result), (1, 1, Ok(())));
        assert_eq!(table.query(&memory, 0x5000), None);
        let kept = table.query(&memory, 0x6000).unwrap();
        assert_eq!((kept.spa, kept.access), (Spa::new(0x6000), ALL));
    }
}

#[test]
fn a_split_keeps_rights_and_caching() {
    let memory = Memory::default();
    let (mut table, mut pool) = table(&memory);
    let target = Spa::new(0xc000_0000);
    let size = PageSize::Size2M;
    let done = table.map(&memory, &mut pool, 0, target, size, Access::registers());
    assert_eq!(done, (512, Ok(())));
    let (token, result) = table.unmap(&memory, &mut pool, 0x1000, 1);
    assert_eq!((token.pages(), result), (1, Ok(())));
    let kept = table.query(&memory, 0x1f_f000).unwrap();
    assert_eq!(kept.spa, Spa::new(0xc01f_f000));
    assert_eq!(kept.access.memory, MemoryType::Uncached);
    assert_eq!(kept.access.rights, Rights::READ | Rights::WRITE);
}

#[test]
fn tlb_14_tables_come_back_only_against_proof() {
    let memory = Memory::default();
    let (mut table, mut pool) = table(&memory);
    let pages: std::vec::Vec<u64> = (0..512).map(|n| n * 3).collect();
    let done = table.map_pages(&memory, &mut pool, 0, &pages, ALL);
    assert_eq!(done, (512, Ok(())));
    assert_eq!(pool.out.len(), 4);
    let (token, _) = table.unmap(&memory, &mut pool, 0, 512);
    assert_eq!((table.table_frames(), pool.out.len()), (3, 4));
    let mut broken = Flushes {
        broken: true,
        ..Flushes::default()
    };
    let Err((token, ())) = token.flush(&mut broken) else {
        panic!("a flush that failed is no proof");
    };
    assert_eq!(pool.out.len(), 4, "TLB-04: nothing is freed without proof");
    let mut flushes = Flushes::default();
    let proof = token.flush(&mut flushes).unwrap();
    assert_eq!(
        flushes.seen,
        [FlushRange::Pages {
            first: 0,
            count: 512,
            tables: true
        }]
    );
    assert_eq!((proof.removed(), proof.release(&mut pool)), (512, 1));
    assert_eq!(pool.out.len(), 3);
}

#[test]
fn what_was_not_mapped_owes_nothing() {
    let memory = Memory::default();
    let (mut table, mut pool) = table(&memory);
    let (token, result) = table.unmap(&memory, &mut pool, 0, 1 << 36);
    assert_eq!(
        (token.pages(), token.removed(), result),
        (1 << 36, 0, Ok(()))
    );
    let mut flushes = Flushes::default();
    let proof = token.flush(&mut flushes).unwrap();
    assert_eq!(proof.release(&mut pool), 0);
    assert!(flushes.seen.is_empty());
}

#[test]
fn a_token_has_room_for_few_tables_and_the_rest_serves_again() {
    let memory = Memory::default();
    let (mut table, mut pool) = table(&memory);
    let tables = 20;
    let target = Spa::new(0x1000);
    let done = table.map_range(&memory, &mut pool, 0, target, 512 * tables, ALL);
    assert_eq!(done, (512 * tables, Ok(())));
    let (token, _) = table.unmap(&memory, &mut pool, 0, 512 * tables);
    assert_eq!(token.removed(), 512 * tables);
    let released = token.flush(&mut Flushes::default()).unwrap();
    assert_eq!(released.release(&mut pool), RETIRED_PER_CALL);
    assert_eq!(scan(&memory, &table).0.total(), 0);
    // A large page finds an empty table in its place: small ones stand in.
    let at = (tables - 1) << 21;
    let size = PageSize::Size2M;
    let done = table.map(&memory, &mut pool, at, Spa::new(0), size, ALL);
    assert_eq!(done, (512, Ok(())));
    let found = table.query(&memory, at).unwrap();
    assert_eq!(found.size, PageSize::Size4K);
}

#[test]
fn a_failed_flush_keeps_the_table_whole() {
    let memory = Memory::default();
    let (table, mut pool) = table(&memory);
    let mut flushes = Flushes {
        broken: true,
        ..Flushes::default()
    };
    let Err((table, ())) = table.into_teardown(&mut flushes) else {
        panic!("a flush that failed is no proof");
    };
    assert_eq!(pool.out.len(), 1);
    flushes.broken = false;
    let Ok(mut teardown) = table.into_teardown(&mut flushes) else {
        panic!("the flush is confirmed");
    };
    assert_eq!(flushes.seen, [FlushRange::All]);
    while teardown.step(&memory, &mut pool, 7) == Progress::More {}
    assert!(pool.out.is_empty());
    assert_eq!(teardown.step(&memory, &mut pool, 1), Progress::Done);
}

#[test]
fn tables_of_tables_are_retired_when_all_below_them_are() {
    for (tables, released) in [
        (RETIRED_PER_CALL - 1, RETIRED_PER_CALL),
        (20, RETIRED_PER_CALL),
    ] {
        let memory = Memory::default();
        let (mut table, mut pool) = table(&memory);
        let pages = 512 * tables as u64;
        let done = table.map_range(&memory, &mut pool, 0, Spa::new(0x1000), pages, ALL);
        assert_eq!(done, (pages, Ok(())));
        let (token, _) = table.unmap(&memory, &mut pool, 0, 1 << 18);
        let proof = token.flush(&mut Flushes::default()).unwrap();
        assert_eq!(proof.release(&mut pool), released);
        let (left, frames) = scan(&memory, &table);
        assert_eq!((left.total(), frames), (0, table.table_frames()));
        assert_eq!(frames, pool.out.len() as u64);
    }
}

#[test]
fn tlb_05_a_page_out_of_a_large_one_owes_the_large_one() {
    let memory = Memory::default();
    let (mut table, mut pool) = table(&memory);
    let (size, start) = (PageSize::Size2M, 0x40_0000);
    let done = table.map(&memory, &mut pool, start, Spa::new(0), size, ALL);
    assert_eq!(done, (512, Ok(())));
    let (token, _) = table.unmap(&memory, &mut pool, start + 0x3000, 1);
    let owed = FlushRange::Pages {
        first: 0x400,
        count: 512,
        tables: true,
    };
    assert_eq!((token.range(), token.pages()), (owed, 1));
    // Split already, the next page owes itself alone.
    let (token, _) = table.unmap(&memory, &mut pool, start + 0x4000, 1);
    let owed = FlushRange::Pages {
        first: 0x404,
        count: 1,
        tables: false,
    };
    assert_eq!(token.range(), owed);
}
