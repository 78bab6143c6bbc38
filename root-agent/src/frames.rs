//! The free RAM of the root partition: who may have which bytes.

use alloc::vec::Vec;

use crate::facts::Span;

/// Bytes of a page.
pub const PAGE: u64 = 4096;
/// Bytes of a large page.
pub const LARGE: u64 = 2 << 20;
/// Memory below this address is left alone: firmware habits live there.
const LOWEST: u64 = 1 << 20;

/// Free memory, as sorted ranges that do not touch.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Frames {
    free: Vec<Span>,
}

impl Frames {
    /// The whole pages of these ranges, above the first MiB.
    #[must_use]
    pub fn new(ranges: &[Span]) -> Self {
        let mut frames = Self::default();
        for range in ranges {
            let start = range.start.max(LOWEST).next_multiple_of(PAGE);
            let end = range.end() & !(PAGE - 1);
            if start < end {
                frames.give(Span {
                    start,
                    length: end - start,
                });
            }
        }
        frames
    }

    /// Bytes that are free.
    #[must_use]
    pub fn available(&self) -> u64 {
        self.free.iter().map(|span| span.length).sum()
    }

    /// Takes `length` bytes in one piece, aligned to `align` (a power of two).
    pub fn take(&mut self, length: u64, align: u64) -> Option<Span> {
        let fit = |span: &Span| {
            let start = span.start.checked_next_multiple_of(align)?;
            span.contains(start, length).then_some(start)
        };
        let (index, start) = self
            .free
            .iter()
            .enumerate()
            .rev()
            .find_map(|(index, span)| Some((index, fit(span)?)))?;
        let whole = self.free.remove(index);
        let taken = Span { start, length };
        for rest in [
            Span {
                start: taken.end(),
                length: whole.end() - taken.end(),
            },
            Span {
                start: whole.start,
                length: start - whole.start,
            },
        ] {
            if rest.length > 0 {
                self.free.insert(index, rest);
            }
        }
        Some(taken)
    }

    /// Takes `length` bytes in large pages, in as few pieces as there may be. All or nothing.
    pub fn take_large(&mut self, length: u64) -> Option<Vec<Span>> {
        let before = self.free.clone();
        let mut pieces = Vec::new();
        let mut missing = length;
        while missing > 0 {
            let size = self.largest_piece().min(missing);
            match self.take(size, LARGE).filter(|_| size > 0) {
                Some(span) => pieces.push(span),
                None => {
                    self.free = before;
                    return None;
                }
            }
            missing -= size;
        }
        Some(pieces)
    }

    /// Takes `count` pages of 4 KiB: their page numbers. All or nothing.
    pub fn take_pages(&mut self, count: usize) -> Option<Vec<u64>> {
        let mut pages = Vec::new();
        for _ in 0..count {
            match self.take(PAGE, PAGE) {
                Some(span) => pages.push(span.start / PAGE),
                None => {
                    self.give_pages(&pages);
                    return None;
                }
            }
        }
        Some(pages)
    }

    /// Gives pages back.
    pub fn give_pages(&mut self, pages: &[u64]) {
        for page in pages {
            self.give(Span {
                start: page * PAGE,
                length: PAGE,
            });
        }
    }

    /// Gives memory back. A range that overlaps free memory is not taken: it was given back before.
    pub fn give(&mut self, span: Span) {
        if span.length == 0 || self.free.iter().any(|free| free.overlaps(span)) {
            return;
        }
        let at = self.free.partition_point(|free| free.start < span.start);
        self.free.insert(at, span);
        self.join(at);
        if let Some(before) = at.checked_sub(1) {
            self.join(before);
        }
    }

    /// Joins the range with its right neighbour where they touch.
    fn join(&mut self, at: usize) {
        let Some(&right) = self.free.get(at + 1) else {
            return;
        };
        if let Some(left) = self.free.get_mut(at)
            && left.end() == right.start
        {
            left.length += right.length;
            self.free.remove(at + 1);
        }
    }

    fn largest_piece(&self) -> u64 {
        let large = |span: &Span| {
            let start = span.start.next_multiple_of(LARGE);
            span.end().saturating_sub(start) & !(LARGE - 1)
        };
        self.free.iter().map(large).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames() -> Frames {
        let span = |start, length| Span { start, length };
        Frames::new(&[
            span(0, 0x9_f000),
            span(0x10_0800, 0x70_0000),
            span(0x1000_0000, 0x100_0000),
        ])
    }

    #[test]
    fn all_that_is_taken_and_given_back_is_free_again() {
        let mut all = frames();
        let before = all.clone();
        let pieces = all.take_large(20 << 20).unwrap();
        assert!(pieces.iter().all(|span| span.start % LARGE == 0));
        assert_eq!(pieces.iter().map(|span| span.length).sum::<u64>(), 20 << 20);
        let pages = all.take_pages(7).unwrap();
        pieces.into_iter().for_each(|span| all.give(span));
        all.give_pages(&pages);
        assert_eq!(all, before);
    }

    #[test]
    fn what_is_not_there_is_refused_and_nothing_is_lost() {
        let mut all = frames();
        let before = all.clone();
        assert_eq!(all.take_large(64 << 20), None);
        assert_eq!(all.take_pages(100_000), None);
        assert_eq!(all, before);
    }

    #[test]
    fn what_is_free_is_not_freed_twice() {
        let mut all = frames();
        let before = all.available();
        all.give(Span {
            start: 0x1000_0000,
            length: PAGE,
        });
        assert_eq!(all.available(), before);
    }
}
