//! Stacks with a guard page below, from the boot heap.

use alloc::alloc::{Layout, alloc_zeroed};

use x86_64::VirtAddr;

use crate::memory;

const PAGE: usize = 4096;

/// Allocates a stack of `bytes` (a multiple of 4096); returns the address past its upper end.
pub fn allocate(bytes: usize) -> VirtAddr {
    let Ok(layout) = Layout::from_size_align(bytes + PAGE, PAGE) else {
        panic!("a stack of {bytes} bytes is no stack");
    };
    // SAFETY: the layout is not empty.
    let start = unsafe { alloc_zeroed(layout) };
    assert!(!start.is_null(), "the boot heap has no room for stacks");
    memory::guard(start);
    VirtAddr::new_truncate(start as u64) + (bytes + PAGE) as u64
}
