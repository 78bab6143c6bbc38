//! Frames for a few tables, taken together or not at all.

use address::Spa;
use arrayvec::ArrayVec;

use crate::FrameSource;

/// Tables below the root that one change may need at most.
const MOST: usize = 4;

/// Frames taken for a change that is not visible yet, topmost table first.
pub(crate) type Spare = ArrayVec<Spa, MOST>;

/// Takes `count` frames (at most 4), or gives back those that it got and takes none.
pub(crate) fn take<P: FrameSource>(pool: &mut P, count: u8) -> Option<Spare> {
    let mut spare = Spare::new();
    for _ in 0..count {
        let taken = pool.take();
        if taken.is_none_or(|frame| spare.try_push(frame).is_err()) {
            for frame in spare {
                pool.put(frame);
            }
            return None;
        }
    }
    Some(spare)
}
