//! The direct map: physical address `p` is at `DIRECT_MAP_BASE + p`.
//!
//! The loader's tables already are W^X for the image and keep everything else from execution. What is left to do here:
//! guard pages below stacks, and no identity mapping once all processors have started.

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

use address::{PAGE_SIZE, Spa};
use handoff::DIRECT_MAP_BASE;
use spin::{Mutex, Once};
use x86_64::VirtAddr;
use x86_64::instructions::tlb;
use x86_64::structures::paging::mapper::Mapper as _;
use x86_64::structures::paging::{OffsetPageTable, Page, PageTable, Size4KiB};

use crate::facts::Facts;

/// First physical address that the direct map does not cover.
static LIMIT: Once<u64> = Once::new();
/// CR3 of every LP.
static TABLES: Mutex<Option<Spa>> = Mutex::new(None);

/// Keeps the loader's facts about the map, and puts a guard page below the boot processor's first stack.
pub fn start(facts: &Facts) {
    let bits = u32::from(facts.handoff.physical_bits);
    LIMIT.call_once(|| {
        1_u64
            .checked_shl(bits)
            .unwrap_or(u64::MAX)
            .min(handoff::DIRECT_MAP_END)
    });
    *TABLES.lock() = Some(Spa::new(facts.handoff.page_table));
    let heap = facts.handoff.boot_heap;
    guard(virtual_of(
        heap.end().saturating_sub(facts.handoff.boot_stack_bytes),
    ));
}

/// Where physical address `physical` is seen.
pub fn virtual_of(physical: u64) -> *mut u8 {
    DIRECT_MAP_BASE.wrapping_add(physical) as *mut u8
}

/// Physical address of something in the hypervisor's own memory.
pub fn physical_of<T>(object: *const T) -> Spa {
    Spa::new((object as u64).wrapping_sub(DIRECT_MAP_BASE))
}

/// Whether `len` bytes from `start` lie inside the direct map.
pub fn is_covered(start: Spa, len: u64) -> bool {
    let limit = LIMIT.get().copied().unwrap_or(0);
    start
        .checked_add(len)
        .is_some_and(|end| end.as_u64() <= limit)
}

/// Takes the page at this address of the direct map from the hypervisor's tables, on every LP that loads them later and
/// on this one: a stack that overflows must fault.
pub fn guard(page: *mut u8) {
    with_tables(|tables| {
        let page = Page::<Size4KiB>::containing_address(VirtAddr::new_truncate(page as u64));
        match tables.unmap(page) {
            Ok((_, flush)) => flush.flush(),
            Err(_) => log::error!("no guard page at {:#x}", page.start_address()),
        }
    });
}

/// Removes the identity mapping of the start-up page; the tables stay where the loader kept them.
pub fn drop_identity_map(facts: &Facts) {
    let page = VirtAddr::new(facts.handoff.trampoline);
    with_tables(|tables| {
        let page = Page::<Size4KiB>::containing_address(page);
        match tables.unmap(page) {
            Ok((_, flush)) => flush.flush(),
            Err(_) => log::error!("the start-up page stays mapped"),
        }
    });
    tlb::flush_all();
}

fn with_tables(action: impl FnOnce(&mut OffsetPageTable<'_>)) {
    let guard = TABLES.lock();
    let Some(root) = *guard else {
        return;
    };
    // SAFETY: the loader's tables, all of them in memory that the hypervisor keeps; the lock makes this the only reference.
    let table = unsafe { &mut *virtual_of(root.as_u64()).cast::<PageTable>() };
    // SAFETY: all physical memory is mapped at this offset.
    let mut tables = unsafe { OffsetPageTable::new(table, VirtAddr::new(DIRECT_MAP_BASE)) };
    action(&mut tables);
}

/// Reads the 64-bit word at `address`, which must be aligned.
pub fn read_word(address: Spa) -> u64 {
    word(address).load(Ordering::Acquire)
}

/// Writes the 64-bit word at `address`, which must be aligned, with release order.
pub fn write_word(address: Spa, value: u64) {
    word(address).store(value, Ordering::Release);
}

/// Writes the two 64-bit words at `address`, which must be aligned to both, with one store: no reader sees half of it.
pub fn write_wide(address: Spa, low: u64, high: u64) {
    debug_assert!(is_covered(address, 16) && address.as_u64().is_multiple_of(16));
    let target = virtual_of(address.as_u64() & !15);
    let (mut known_low, mut known_high) = (0_u64, 0_u64);
    loop {
        let stored: u8;
        // SAFETY: aligned, inside the direct map; every processor with virtualisation has the instruction. RBX cannot be an
        // operand: it is exchanged for the time of the instruction.
        unsafe {
            asm!(
                "xchg rsi, rbx",
                "lock cmpxchg16b [rdi]",
                "sete r8b",
                "mov rbx, rsi",
                inout("rsi") low => _,
                in("rdi") target,
                out("r8b") stored,
                in("rcx") high,
                inout("rax") known_low,
                inout("rdx") known_high,
                options(nostack),
            );
        }
        if stored != 0 {
            return;
        }
    }
}

fn word(address: Spa) -> &'static AtomicU64 {
    debug_assert!(is_covered(address, 8) && address.as_u64().is_multiple_of(8));
    // SAFETY: aligned, inside the direct map; frames are only ever read and written whole words at a time, here.
    unsafe { AtomicU64::from_ptr(virtual_of(address.as_u64() & !7).cast()) }
}

/// Makes a frame zero.
pub fn zero_frame(frame: Spa) {
    let start = virtual_of(frame.page() * PAGE_SIZE);
    // SAFETY: a whole frame inside the direct map that belongs to the caller; string stores make no assumptions about what
    // others see of it.
    unsafe {
        asm!("rep stosq", inout("rcx") PAGE_SIZE / 8 => _, inout("rdi") start => _, in("rax") 0_u64, options(nostack));
    }
}

/// Copies `to.len()` bytes from memory that others may change meanwhile. `false`: outside the direct map.
#[must_use]
pub fn copy_in(from: Spa, to: &mut [u8]) -> bool {
    if !is_covered(from, to.len() as u64) {
        return false;
    }
    let source = virtual_of(from.as_u64());
    // SAFETY: source inside the direct map; the copy is opaque to the compiler, so a concurrent change gives some bytes and
    // nothing worse.
    unsafe {
        asm!(
            "rep movsq",
            "mov ecx, {rest:e}",
            "rep movsb",
            rest = in(reg) to.len() % 8,
            inout("rcx") to.len() / 8 => _,
            inout("rsi") source => _,
            inout("rdi") to.as_mut_ptr() => _,
            options(nostack)
        );
    }
    true
}

/// Copies bytes to memory that others may read or change meanwhile. `false`: outside the direct map.
#[must_use]
pub fn copy_out(to: Spa, from: &[u8]) -> bool {
    if !is_covered(to, from.len() as u64) {
        return false;
    }
    let target = virtual_of(to.as_u64());
    // SAFETY: target inside the direct map and, as the caller's ownership check says, not the hypervisor's own.
    unsafe {
        asm!(
            "rep movsq",
            "mov ecx, {rest:e}",
            "rep movsb",
            rest = in(reg) from.len() % 8,
            inout("rcx") from.len() / 8 => _,
            inout("rsi") from.as_ptr() => _,
            inout("rdi") target => _,
            options(nostack)
        );
    }
    true
}

/// Writes the cache lines of `len` bytes from `start` back to memory and waits for it.
pub fn clean(start: Spa, len: u64) {
    const LINE: u64 = 64;
    let mut at = start.as_u64() & !(LINE - 1);
    let end = start.as_u64().saturating_add(len);
    while at < end {
        let line = virtual_of(at);
        // SAFETY: writing a cache line back changes nothing.
        unsafe { asm!("clflush [{line}]", line = in(reg) line, options(nostack, preserves_flags)) };
        at += LINE;
    }
    fence();
}

/// Orders all earlier stores, cache line write-backs included, before what follows.
pub fn fence() {
    // SAFETY: a fence.
    unsafe { asm!("mfence", options(nostack, preserves_flags)) };
}
