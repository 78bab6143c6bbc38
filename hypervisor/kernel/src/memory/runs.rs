//! Runs of RAM, as the firmware tells them.

/// A run of RAM.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Run {
    pub(super) first: u64,
    pub(super) count: u64,
    pub(super) offset: usize,
}

impl Run {
    #[inline]
    pub(super) fn index(&self, page: u64) -> Option<usize> {
        let inside = page.wrapping_sub(self.first);
        (inside < self.count).then(|| self.offset + inside as usize)
    }
}

/// Pages FEE0_0000h to FEEF_FFFFh, where writes are interrupts: no memory, whatever a memory map says (invariant 1).
const WINDOW: (u64, u64) = (0xfee00, 0xfef00);

/// The parts of a run before and after the interrupt window.
pub(super) fn without_window(first: u64, count: u64) -> [(u64, u64); 2] {
    let end = first.saturating_add(count);
    let below = first.min(WINDOW.0)..end.min(WINDOW.0);
    let above = first.max(WINDOW.1)..end.max(WINDOW.1);
    [
        (below.start, below.end - below.start),
        (above.start, above.end - above.start),
    ]
}
