//! Ranges of pages as blocks of powers of two, which is what invalidation commands name.

use address::PAGE_SHIFT;
use arrayvec::ArrayVec;

/// 2^`mask` pages from `first`, which is aligned to that.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Block {
    /// Number of the first page.
    pub(crate) first: u64,
    /// Logarithm of the number of pages, 0 to 52.
    pub(crate) mask: u8,
}

impl Block {
    /// The smallest block that holds both pages.
    const fn around(first: u64, last: u64) -> Self {
        let mask = 64 - (first ^ last).leading_zeros();
        let first = match first.checked_shr(mask) {
            Some(high) => high << mask,
            None => 0,
        };
        Self {
            first,
            mask: mask as u8,
        }
    }
}

/// At most two blocks that hold all of the range, and less than twice as much; none where the range is empty or leaves the
/// address space.
pub(crate) fn cover(first: u64, count: u64) -> ArrayVec<Block, 2> {
    let mut blocks = ArrayVec::new();
    let end = first.checked_add(count);
    let last = match end.and_then(|end| end.checked_sub(1)) {
        Some(last) if count != 0 && last < 1 << (64 - PAGE_SHIFT) => last,
        _ => return blocks,
    };
    let one = Block::around(first, last);
    if one.mask == 0 || 1u64 << one.mask < count.saturating_mul(2) {
        blocks.push(one);
        return blocks;
    }
    // The highest boundary inside the range: both sides touch it.
    let half = one.mask - 1;
    let boundary = last >> half << half;
    blocks.push(Block::around(first, boundary - 1));
    blocks.push(Block::around(boundary, last));
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(first: u64, count: u64) {
        let blocks = cover(first, count);
        let mut total = 0;
        for block in &blocks {
            assert_eq!(block.first & ((1 << block.mask) - 1), 0, "aligned");
            total += 1u64 << block.mask;
        }
        for page in [first, first + count / 2, first + count - 1] {
            assert!(
                blocks.iter().any(|b| page >> b.mask << b.mask == b.first),
                "page {page} of {first}+{count} is covered"
            );
        }
        assert!(total < 2 * count || count == 1, "{first}+{count}: {total}");
    }

    #[test]
    fn tlb_05_blocks_cover_the_range_and_less_than_twice_as_much() {
        for first in 0..130 {
            for count in 1..140 {
                check(first, count);
                check((1 << 30) - first, count);
            }
        }
        for power in 0..40 {
            for count in [(1u64 << power) + 1, 1 << power, (1u64 << power).max(2) - 1] {
                check(0x1234_5677, count);
                check(0, count);
                check((1 << 40) - 1, count);
            }
        }
    }

    #[test]
    fn what_cannot_be_covered_is_not() {
        assert!(cover(5, 0).is_empty());
        assert!(cover(u64::MAX, 2).is_empty());
        assert!(cover((1 << 52) - 1, 2).is_empty());
        assert_eq!(cover((1 << 52) - 1, 1).len(), 1);
    }
}
