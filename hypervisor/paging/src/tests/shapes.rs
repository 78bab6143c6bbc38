//! What is refused before anything changes.

extern crate std;

use address::{PageSize, Spa};

use super::fixture::{Memory, Pool};
use crate::{Access, MapError, NewError, Npt, PageTable, Rights, Shape, UnmapError, Vtd};

const PLAIN: Vtd = Vtd { snoop: false };
const BOTH: Access = Access::ram(Rights::READ.union(Rights::WRITE));

fn narrow(input_bits: u8) -> Shape {
    Shape {
        levels: 3,
        input_bits,
        output_bits: 36,
        largest: PageSize::Size1G,
        coherent: true,
    }
}

#[test]
fn dma_16_shapes_that_the_format_lacks_are_refused() {
    let memory = Memory::default();
    let mut pool = Pool::new(&memory);
    let good = narrow(39);
    let bad = [
        Shape { levels: 2, ..good },
        Shape { levels: 6, ..good },
        Shape {
            input_bits: 40,
            ..good
        },
        Shape {
            input_bits: 12,
            ..good
        },
        Shape {
            output_bits: 53,
            ..good
        },
    ];
    for shape in bad {
        let result = PageTable::new(PLAIN, shape, &memory, &mut pool);
        assert_eq!(result.err(), Some(NewError::Shape));
    }
    assert!(PageTable::new(Npt, good, &memory, &mut pool).is_err());
    assert!(pool.out.is_empty());
    assert!(PageTable::new(PLAIN, good, &memory, &mut pool).is_ok());
    pool.left = Some(0);
    let empty = PageTable::new(PLAIN, good, &memory, &mut pool);
    assert_eq!(empty.err(), Some(NewError::OutOfFrames));
}

#[test]
fn dma_12_ranges_that_leave_the_width_or_wrap_are_refused_whole() {
    let memory = Memory::default();
    let mut pool = Pool::new(&memory);
    let mut table = PageTable::new(PLAIN, narrow(38), &memory, &mut pool).unwrap();
    let end = 1u64 << 38;
    let zero = Spa::new(0);
    for (start, pages) in [
        (end, 1),
        (end - 4096, 2),
        (0, u64::MAX),
        (4096, u64::MAX),
        (!0xfff, 1),
        (!0xfff, 2),
    ] {
        let refused = table.map_range(&memory, &mut pool, start, zero, pages, BOTH);
        assert_eq!(refused, (0, Err(MapError::OutOfRange)));
        let (token, result) = table.unmap(&memory, &mut pool, start, pages);
        assert_eq!((token.pages(), result), (0, Err(UnmapError::OutOfRange)));
    }
    let pages = [1, 2];
    let refused = table.map_pages(&memory, &mut pool, end - 4096, &pages, BOTH);
    assert_eq!(refused, (0, Err(MapError::OutOfRange)));
    assert_eq!(table.query(&memory, end), None);
    assert_eq!(table.query(&memory, u64::MAX), None);
    let last = table.map_pages(&memory, &mut pool, end - 4096, &[7], BOTH);
    assert_eq!(last, (1, Ok(())));
    let found = table.query(&memory, end - 1).unwrap();
    assert_eq!(
        (found.spa, found.size),
        (Spa::new(0x7fff), PageSize::Size4K)
    );
}

#[test]
fn targets_past_the_physical_width_are_refused_and_counted() {
    let memory = Memory::default();
    let mut pool = Pool::new(&memory);
    let mut table = PageTable::new(PLAIN, narrow(39), &memory, &mut pool).unwrap();
    let limit = 1u64 << 24;
    let far = table.map_pages(&memory, &mut pool, 0, &[limit], BOTH);
    assert_eq!(far, (0, Err(MapError::Target)));
    assert_eq!(table.table_frames(), 1, "no table was made for a refusal");
    let third = table.map_pages(&memory, &mut pool, 0, &[1, limit - 1, u64::MAX, 2], BOTH);
    assert_eq!(third, (2, Err(MapError::Target)));
    let to = Spa::from_page(limit - 1).unwrap();
    let beyond = table.map_range(&memory, &mut pool, 1 << 30, to, 2, BOTH);
    assert_eq!(beyond, (0, Err(MapError::Target)));
    let odd = table.map_range(&memory, &mut pool, 1 << 30, Spa::new(1), 1, BOTH);
    assert_eq!(odd, (0, Err(MapError::Target)));
}

#[test]
fn rights_that_the_format_lacks_change_nothing() {
    let memory = Memory::default();
    let mut pool = Pool::new(&memory);
    let mut table = PageTable::new(Npt, Shape::processor(48), &memory, &mut pool).unwrap();
    for rights in [Rights::empty(), Rights::WRITE] {
        let refused = table.map_pages(&memory, &mut pool, 0, &[1], Access::ram(rights));
        assert_eq!(refused, (0, Err(MapError::Rights)));
        let zero = Spa::new(0);
        let refused = table.map_range(&memory, &mut pool, 0, zero, 512, Access::ram(rights));
        assert_eq!(refused, (0, Err(MapError::Rights)));
    }
    assert_eq!(table.table_frames(), 1);
}

#[test]
fn misaligned_inputs_are_refused() {
    let memory = Memory::default();
    let mut pool = Pool::new(&memory);
    let mut table = PageTable::new(PLAIN, narrow(39), &memory, &mut pool).unwrap();
    let refused = table.map_pages(&memory, &mut pool, 1, &[1], BOTH);
    assert_eq!(refused, (0, Err(MapError::Misaligned)));
    let (token, result) = table.unmap(&memory, &mut pool, 0x800, 1);
    assert_eq!((token.pages(), result), (0, Err(UnmapError::Misaligned)));
}

#[test]
fn large_pages_are_used_only_where_hardware_has_them() {
    for (largest, tables) in [
        (PageSize::Size1G, 1),
        (PageSize::Size2M, 2),
        (PageSize::Size4K, 2 + 512),
    ] {
        let memory = Memory::default();
        let mut pool = Pool::new(&memory);
        let shape = Shape {
            largest,
            ..narrow(39)
        };
        let mut table = PageTable::new(PLAIN, shape, &memory, &mut pool).unwrap();
        let target = Spa::new(1 << 30);
        let size = PageSize::Size1G;
        let done = table.map(&memory, &mut pool, 0, target, size, BOTH);
        assert_eq!(done, (1 << 18, Ok(())));
        assert_eq!(table.table_frames(), tables);
        let found = table.query(&memory, 0x1234_5678).unwrap();
        assert_eq!(found.spa, Spa::new(0x5234_5678));
        assert_eq!((found.size, found.access), (largest, BOTH));
    }
}
