//! The root partition's beginning: what its GPA map holds, and the state that its first VP starts in.

use abi::vp::{Context, Segment};
use address::{PAGE_SIZE, Spa};
use alloc::vec::Vec;
use handoff::Kind;
use kernel::memory::Frames;
use kernel::vp::VpCell;
use paging::{Access, Rights};
use topology::guard::Window;

use crate::cpu::per_lp;
use crate::facts::Facts;
use crate::machine::Machine;
use crate::platform::Platform;
use crate::{heap, iommu};

/// Frames of the boot heap that are taken at a time.
const RUN: u16 = 16;
/// What stays in the boot heap for the kernel's own objects, of which the VPs' cells are one piece, and for what each LP takes
/// when it joins.
const HEAP_KEPT: usize = (1 << 20) + kernel::MAX_VPS * size_of::<VpCell<Machine>>();
const HEAP_KEPT_PER_LP: usize = 64 << 10;
/// Frames for the root's tables that are always enough to begin with.
const LEAST_RESERVE: u64 = 256;

const CODE_64: u16 = 0xa09b;
const DATA: u16 = 0xc093;
const BUSY_TASK: u16 = 0x008b;
const LOCAL_TABLE: u16 = 0x0082;
const FLAGS: u64 = 2;
/// LME, LMA, NXE.
const EFER: u64 = 0xd00;
/// PG, WP, NE, ET, MP, PE.
const CR0: u64 = 0x8001_0033;
/// PAE, OSFXSR, OSXMMEXCPT.
const CR4: u64 = 0x620;
const PAT: u64 = 0x0007_0406_0007_0406;

/// The frame table: all RAM is the root's but what the loader kept for the hypervisor.
pub fn frames(facts: &Facts) -> Frames {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for range in facts.ranges.iter().filter(|range| range.kind().is_ram()) {
        let (first, count) = (range.start / PAGE_SIZE, range.len / PAGE_SIZE);
        match runs.last_mut() {
            Some(last) if last.0 + last.1 == first => last.1 += count,
            _ => runs.push((first, count)),
        }
    }
    let mut frames = Frames::new(&runs);
    for range in facts
        .ranges
        .iter()
        .filter(|range| range.kind().is_hypervisor())
    {
        frames.keep(range.start / PAGE_SIZE, range.len / PAGE_SIZE);
    }
    frames
}

/// The root's GPA map: its RAM, the registers of PCI functions, and configuration space to look at.
pub fn map(facts: &Facts, platform: &Platform) -> Vec<(Spa, u64, Access)> {
    let ram = Access::ram(Rights::all());
    let mut map: Vec<(Spa, u64, Access)> = Vec::new();
    let ranges = facts
        .ranges
        .iter()
        .filter(|range| range.kind().is_ram() && !range.kind().is_hypervisor());
    for range in ranges {
        let (start, pages) = (range.start, range.len / PAGE_SIZE);
        match map.last_mut() {
            Some(last) if last.0.as_u64() + last.1 * PAGE_SIZE == start => last.1 += pages,
            _ => map.push((Spa::new(start), pages, ram)),
        }
    }
    let read_only = Access {
        rights: Rights::READ,
        ..Access::registers()
    };
    let windows = platform
        .windows
        .iter()
        .map(|window| (window, Access::registers()));
    let ecam = platform.ecam.iter().map(|window| (window, read_only));
    map.extend(
        windows
            .chain(ecam)
            .map(|(window, access)| (Spa::new(window.start), window.len / PAGE_SIZE, access)),
    );
    map
}

/// Frames for the root's tables: what the boot heap can spare. The heap is the hypervisor's for good, and so are they.
pub fn reserve() -> Vec<(Spa, u64)> {
    let mut runs = Vec::new();
    let kept = HEAP_KEPT + per_lp::count() as usize * HEAP_KEPT_PER_LP;
    let most = heap::free().saturating_sub(kept) as u64 / PAGE_SIZE;
    for _ in 0..most.max(LEAST_RESERVE) / u64::from(RUN) {
        runs.extend(iommu::boot_frames(RUN).map(|first| (first, u64::from(RUN))));
    }
    runs
}

/// What BARs may be moved to, and what they never may.
pub fn windows(facts: &Facts, platform: &Platform) -> (Vec<Window>, Vec<Window>) {
    let window = |extent: handoff::Extent| Window {
        memory: true,
        first: extent.start,
        last: extent.end() - 1,
    };
    let ram = facts
        .ranges
        .iter()
        .filter(|range| range.kind() != Kind::Mmio)
        .map(|range| range.extent());
    let kept = platform
        .kept
        .iter()
        .chain(&platform.ecam)
        .copied()
        .chain(ram);
    let open = platform.windows.iter().copied();
    (open.map(window).collect(), kept.map(window).collect())
}

/// 64-bit mode, flat, on the loader's identity page tables, at the agent's entry.
pub fn context(facts: &Facts) -> Context {
    let agent = &facts.handoff.root_agent;
    let data = segment(16, u32::MAX, DATA);
    Context {
        rip: agent.entry,
        rflags: FLAGS,
        // CS, DS, ES, FS, GS, SS, TR, LDTR.
        segments: [
            segment(8, u32::MAX, CODE_64),
            data,
            data,
            data,
            data,
            data,
            segment(24, 0x67, BUSY_TASK),
            segment(0, 0, LOCAL_TABLE),
        ],
        efer: EFER,
        cr0: CR0,
        cr3: agent.page_table,
        cr4: CR4,
        pat: PAT,
        ..Context::default()
    }
}

fn segment(selector: u16, limit: u32, attributes: u16) -> Segment {
    Segment {
        base: 0,
        limit,
        selector,
        attributes,
    }
}
