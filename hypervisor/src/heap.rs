//! The boot heap. It serves the boot only: once the first VP runs, nothing that a guest can reach allocates from it.

use linked_list_allocator::LockedHeap;

use crate::facts::Facts;
use crate::memory::virtual_of;

#[global_allocator]
static HEAP: LockedHeap = LockedHeap::empty();

/// Gives the allocator the loader's heap range, without the boot stack at its upper end.
pub fn start(facts: &Facts) {
    let heap = facts.handoff.boot_heap;
    let bytes = heap.len.saturating_sub(facts.handoff.boot_stack_bytes);
    // SAFETY: the loader kept the range for this and says that it is RAM; it is mapped in the direct map, and the boot
    // stack is left out.
    unsafe { HEAP.lock().init(virtual_of(heap.start), bytes as usize) };
}

/// Bytes that are free.
pub fn free() -> usize {
    HEAP.lock().free()
}
