//! What a payload finds at its entry: a multiboot1 information structure (Multiboot Specification 0.6.96, section
//! 3.3), or natively the start information of the PVH boot protocol (Xen, "x86/HVM direct boot ABI").

use abi::root_info::range_kind;
use arrayvec::ArrayVec;

use crate::memory::{MAX_RANGES, Module, Range};
use crate::pool;

/// Bytes of command line that are kept.
pub const CMDLINE_BYTES: usize = 4096;

const MIB: u64 = 1 << 20;
const PVH_MAGIC: u32 = 0x336e_c578;
const RAM: u32 = 1;
const ACPI: u32 = 3;

/// What was found.
pub(crate) struct Found {
    pub cmdline: &'static str,
    pub rsdp: u64,
    pub ranges: ArrayVec<Range, MAX_RANGES>,
    pub modules: ArrayVec<Module, 32>,
}

/// Identity-mapped memory below 4 GiB, before anything is known of it.
#[derive(Clone, Copy)]
struct Physical(u64);

impl Physical {
    fn bytes<const N: usize>(self, offset: u64) -> [u8; N] {
        let mut bytes = [0; N];
        let from = self.0.saturating_add(offset);
        if from.saturating_add(N as u64) <= 1 << 32 {
            // SAFETY: payloads enter with the first 4 GiB mapped; any bytes will do for an array.
            unsafe { pool::copy(from as *const u8, bytes.as_mut_ptr(), N) };
        }
        bytes
    }

    fn u32(self, offset: u64) -> u32 {
        u32::from_le_bytes(self.bytes(offset))
    }

    fn u64(self, offset: u64) -> u64 {
        u64::from_le_bytes(self.bytes(offset))
    }

    /// The text up to its NUL.
    ///
    /// # Safety
    /// The text does not change and is not used for anything else, for ever.
    unsafe fn text(self, limit: usize) -> &'static str {
        if self.0 == 0 {
            return "";
        }
        let mut length = 0;
        while length < limit && self.bytes::<1>(length as u64) != [0] {
            length += 1;
        }
        // SAFETY: mapped, and unchanging by the caller's promise.
        let bytes = unsafe { core::slice::from_raw_parts(self.0 as *const u8, length) };
        core::str::from_utf8(bytes).unwrap_or("")
    }
}

#[derive(Default)]
struct Builder {
    ranges: ArrayVec<Range, MAX_RANGES>,
    kept: ArrayVec<(u64, u64), 80>,
}

impl Builder {
    fn range(&mut self, start: u64, length: u64, kind: u32) {
        let kind = match kind {
            RAM => range_kind::FREE,
            ACPI => range_kind::ACPI,
            _ => range_kind::RESERVED,
        };
        let end = start.saturating_add(length);
        // The first MiB is left to start-up code, and what lies above 4 GiB is not mapped.
        let (start, end) = if kind == range_kind::FREE {
            (start.max(MIB), end.min(1 << 32))
        } else {
            (start, end)
        };
        if start < end {
            let _ = self.ranges.try_push(Range { start, end, kind });
        }
    }

    fn keep(&mut self, start: u64, end: u64) {
        let start = start & !(crate::memory::PAGE - 1);
        let _ = self
            .kept
            .try_push((start, end.next_multiple_of(crate::memory::PAGE)));
    }

    /// Takes what is kept out of the free ranges.
    fn finish(mut self) -> ArrayVec<Range, MAX_RANGES> {
        for (start, end) in core::mem::take(&mut self.kept) {
            let mut next: ArrayVec<Range, MAX_RANGES> = ArrayVec::new();
            for range in &self.ranges {
                cut(*range, start, end, &mut next);
            }
            let _ = next.try_push(Range {
                start,
                end,
                kind: range_kind::LOADED,
            });
            self.ranges = next;
        }
        self.ranges
    }
}

fn cut(range: Range, start: u64, end: u64, into: &mut ArrayVec<Range, MAX_RANGES>) {
    if range.kind != range_kind::FREE || end <= range.start || range.end <= start {
        let _ = into.try_push(range);
        return;
    }
    for (first, last) in [(range.start, start), (end, range.end)] {
        if first < last {
            let _ = into.try_push(Range {
                start: first,
                end: last,
                kind: range.kind,
            });
        }
    }
}

/// Reads the information at `info`; `image` is this program.
///
/// # Safety
/// Called once, at the start of a payload, with the address that it was entered with.
pub(crate) unsafe fn find(info: u64, image: (u64, u64)) -> Found {
    let mut builder = Builder::default();
    builder.keep(image.0, image.1);
    let info = Physical(info);
    // SAFETY: the caller's promise; what the texts and modules lie in is kept out of the pool by the builder.
    let (cmdline, rsdp, modules) = unsafe {
        if info.u32(0) == PVH_MAGIC {
            pvh(info, &mut builder)
        } else {
            multiboot(info, &mut builder)
        }
    };
    Found {
        cmdline,
        rsdp,
        ranges: builder.finish(),
        modules,
    }
}

type Pieces = (&'static str, u64, ArrayVec<Module, 32>);

unsafe fn multiboot(info: Physical, builder: &mut Builder) -> Pieces {
    let flags = info.u32(0);
    let has = |bit: u32| flags >> bit & 1 == 1;
    if has(6) {
        let (length, list) = (u64::from(info.u32(44)), Physical(u64::from(info.u32(48))));
        let mut at = 0;
        while at + 24 <= length {
            let size = u64::from(list.u32(at));
            builder.range(list.u64(at + 4), list.u64(at + 12), list.u32(at + 20));
            at += size.max(20) + 4;
        }
    } else if has(0) {
        builder.range(MIB, u64::from(info.u32(8)) * 1024, RAM);
    }
    let mut modules = ArrayVec::new();
    if has(3) {
        for index in 0..u64::from(info.u32(20).min(32)) {
            let entry = Physical(u64::from(info.u32(24)) + index * 16);
            let (start, end) = (u64::from(entry.u32(0)), u64::from(entry.u32(4)));
            // SAFETY: the caller's promise.
            unsafe { module(start, end, u64::from(entry.u32(8)), builder, &mut modules) };
        }
    }
    let address = if has(2) { u64::from(info.u32(16)) } else { 0 };
    // SAFETY: the caller's promise.
    let cmdline = unsafe { keep_text(address, builder) };
    (cmdline, 0, modules)
}

unsafe fn pvh(info: Physical, builder: &mut Builder) -> Pieces {
    let list = Physical(info.u64(40));
    for index in 0..u64::from(info.u32(48).min(64)) {
        let at = index * 24;
        builder.range(list.u64(at), list.u64(at + 8), list.u32(at + 16));
    }
    let mut modules = ArrayVec::new();
    for index in 0..u64::from(info.u32(12).min(32)) {
        let entry = Physical(info.u64(16) + index * 32);
        let start = entry.u64(0);
        let end = start.saturating_add(entry.u64(8));
        // SAFETY: the caller's promise.
        unsafe { module(start, end, entry.u64(16), builder, &mut modules) };
    }
    // SAFETY: the caller's promise.
    let cmdline = unsafe { keep_text(info.u64(24), builder) };
    (cmdline, info.u64(32), modules)
}

unsafe fn module(
    start: u64,
    end: u64,
    name: u64,
    builder: &mut Builder,
    into: &mut ArrayVec<Module, 32>,
) {
    if start >= end || end > 1 << 32 {
        return;
    }
    builder.keep(start, end);
    // SAFETY: mapped, and kept out of the pool.
    let bytes = unsafe { core::slice::from_raw_parts(start as *const u8, (end - start) as usize) };
    // SAFETY: the caller's promise.
    let name = unsafe { keep_text(name, builder) };
    let _ = into.try_push(Module {
        name,
        bytes,
        address: start,
    });
}

unsafe fn keep_text(address: u64, builder: &mut Builder) -> &'static str {
    // SAFETY: kept out of the pool below.
    let text = unsafe { Physical(address).text(CMDLINE_BYTES) };
    if !text.is_empty() {
        builder.keep(address, address + text.len() as u64 + 1);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_cut_out_of_the_free_ranges() {
        let mut builder = Builder::default();
        builder.range(0, 0xa0000, RAM);
        builder.range(MIB, 0x70_0000, RAM);
        builder.range(0xfff0_0000, 2 * MIB, 2);
        builder.keep(0x20_0000, 0x30_0123);
        let ranges = builder.finish();
        let free: Vec<_> = ranges
            .iter()
            .filter(|r| r.kind == range_kind::FREE)
            .map(|r| (r.start, r.end))
            .collect();
        assert_eq!(free, [(MIB, 0x20_0000), (0x30_1000, 0x80_0000)]);
    }
}
