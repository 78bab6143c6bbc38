//! What lies where in physical memory: ranges, boot modules, reading of what nobody owns. Frames to own come from
//! [`crate::pool`].

use abi::root_info::range_kind;
use arrayvec::ArrayVec;
use linked_list_allocator::LockedHeap;
use spin::Once;

use crate::pool;

/// Bytes of a page frame.
pub const PAGE: u64 = 4096;

/// Ranges that the runtime can remember.
pub const MAX_RANGES: usize = 128;

/// A range of physical memory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Range {
    /// First byte.
    pub start: u64,
    /// First byte after it.
    pub end: u64,
    /// [`abi::root_info::range_kind`].
    pub kind: u64,
}

/// A file that was loaded beside this program.
#[derive(Clone, Copy, Debug)]
pub struct Module {
    /// File name or command line of the module.
    pub name: &'static str,
    /// Content.
    pub bytes: &'static [u8],
    /// Physical address of the content.
    pub address: u64,
}

/// The address is outside what may be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Outside;

static RANGES: Once<ArrayVec<Range, MAX_RANGES>> = Once::new();
static MODULES: Once<ArrayVec<Module, 32>> = Once::new();

#[cfg_attr(not(test), global_allocator)]
static HEAP: LockedHeap = LockedHeap::empty();

/// All ranges, as they were at the start.
#[must_use]
pub fn ranges() -> &'static [Range] {
    RANGES.get().map_or(&[], |ranges| ranges.as_slice())
}

/// The boot modules.
#[must_use]
pub fn modules() -> &'static [Module] {
    MODULES.get().map_or(&[], |modules| modules.as_slice())
}

/// Copies bytes from physical memory that belongs to nobody in this program: ACPI tables, firmware's memory,
/// modules. Nothing is copied where a part of it is RAM of this program's pool or heap (such memory is read through
/// its [`pool::Frames`]).
pub fn read(address: u64, bytes: &mut [u8]) -> Result<(), Outside> {
    let end = address.checked_add(bytes.len() as u64).ok_or(Outside)?;
    let owned = |range: &'static Range| range.kind == range_kind::FREE;
    if overlapping(address, end).any(owned) || !is_mapped(end) {
        return Err(Outside);
    }
    // SAFETY: the range is mapped, and no Rust object that changes lies in it (the image is `LOADED`; a torn read of
    // it yields bytes, nothing worse).
    unsafe { pool::copy(address as *const u8, bytes.as_mut_ptr(), bytes.len()) };
    Ok(())
}

/// Whether any byte of `start..end` is RAM that this program uses or may use.
pub(crate) fn overlaps_ram(start: u64, end: u64) -> bool {
    overlapping(start, end).any(|range| matches!(range.kind, range_kind::FREE | range_kind::LOADED))
}

fn overlapping(start: u64, end: u64) -> impl Iterator<Item = &'static Range> {
    ranges()
        .iter()
        .filter(move |range| range.start < end && start < range.end)
}

/// The identity map covers the first 4 GiB at least, and every range of the map.
fn is_mapped(end: u64) -> bool {
    end <= 1 << 32 || ranges().iter().any(|range| end <= range.end)
}

/// Remembers the map and the modules, and sets up heap and pool.
///
/// # Safety
/// Called once, before any allocation. The `FREE` ranges are RAM, identity-mapped, and used by nothing else; the
/// modules lie outside them and do not change.
pub(crate) unsafe fn initialise(
    ranges: ArrayVec<Range, MAX_RANGES>,
    modules: ArrayVec<Module, 32>,
    heap: u64,
) {
    let ranges = RANGES.call_once(|| ranges);
    MODULES.call_once(|| modules);
    let free = || ranges.iter().filter(|r| r.kind == range_kind::FREE);
    let Some(home) = free().find(|r| r.end - r.start >= heap) else {
        return;
    };
    // SAFETY: the bytes are free by the caller's promise, and the pool does not get them.
    unsafe { HEAP.lock().init(home.start as *mut u8, heap as usize) };
    for range in free() {
        let start = if range == home {
            range.start + heap
        } else {
            range.start
        };
        pool::give(start, range.end);
    }
}

/// Bytes of the heap: used and free.
#[must_use]
pub fn heap_use() -> (usize, usize) {
    crate::cpu::without_interrupts(|| {
        let heap = HEAP.lock();
        (heap.used(), heap.free())
    })
}
