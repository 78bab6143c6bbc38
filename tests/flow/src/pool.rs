//! Frames for tables, counted.

use std::collections::HashSet;

use address::Spa;
use paging::FrameSource;

/// A pool that knows which frames are its own, and runs dry on demand.
pub struct Pool {
    free: Vec<Spa>,
    out: HashSet<u64>,
    /// Frames that may still be taken.
    pub left: usize,
}

impl Pool {
    /// `count` frames from page `first` on.
    pub fn new(first: u64, count: u64) -> Self {
        let frame = |page| Spa::from_page(page).expect("a frame below 2^52");
        Self {
            free: (first..first + count).rev().map(frame).collect(),
            out: HashSet::new(),
            left: usize::MAX,
        }
    }

    /// Frames that somebody has.
    pub fn taken(&self) -> usize {
        self.out.len()
    }
}

impl FrameSource for Pool {
    fn take(&mut self) -> Option<Spa> {
        self.left = self.left.checked_sub(1)?;
        let frame = self.free.pop()?;
        assert!(self.out.insert(frame.page()), "a frame is handed out twice");
        Some(frame)
    }

    fn put(&mut self, frame: Spa) {
        assert!(
            self.out.remove(&frame.page()),
            "a frame comes back that was not out"
        );
        self.left = self.left.saturating_add(1);
        self.free.push(frame);
    }
}
