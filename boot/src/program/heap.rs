//! The loader's own heap: pages that stay valid after boot services have ended, unlike firmware's pools.

use linked_list_allocator::LockedHeap;
use uefi::boot::{self, AllocateType, MemoryType};

use super::stop::Stop;

const HEAP_PAGES: usize = 2048;

#[global_allocator]
static HEAP: LockedHeap = LockedHeap::empty();

/// Gives the allocator its memory. Nothing may allocate before.
pub fn start() -> Result<(), Stop> {
    let pages = boot::allocate_pages(AllocateType::AnyPages, MemoryType::LOADER_DATA, HEAP_PAGES);
    let start = pages.map_err(|error| Stop::Memory("the loader's heap", error.status()))?;
    // SAFETY: the pages were just allocated for this, and are never freed.
    unsafe { HEAP.lock().init(start.as_ptr(), HEAP_PAGES * 4096) };
    Ok(())
}
