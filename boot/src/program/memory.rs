//! Memory: firmware's map, what is kept, and the page tables in it.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use boot::memory_map::{Descriptor, ram, ram_bytes, sanitise};
use boot::page_tables::{Access, Plan, Region, TableMemory, Tables, flat, tables_needed};
use handoff::{DIRECT_MAP_BASE, DIRECT_MAP_END, Extent, Range, boot_heap_bytes};
use uefi::boot::{AllocateType, MemoryType};
use uefi::mem::memory_map::MemoryMap as _;

use super::images::Placed;
use super::processor::Features;
use super::stop::Stop;

const PAGE: u64 = 4096;
const BELOW_4G: AllocateType = AllocateType::MaxAddress(u32::MAX as u64);
/// The start-up interrupt's vector names a page below 1 MiB; below 640 KiB it is RAM.
const BELOW_640K: AllocateType = AllocateType::MaxAddress(0x9_ffff);

static LEFT: AtomicBool = AtomicBool::new(false);

/// Whether firmware may no longer be called.
pub fn boot_services_ended() -> bool {
    LEFT.load(Ordering::Relaxed)
}

/// Zeroed pages; returns their physical address.
pub fn allocate(
    what: &'static str,
    place: AllocateType,
    kind: MemoryType,
    pages: u64,
) -> Result<u64, Stop> {
    let start = uefi::boot::allocate_pages(place, kind, pages as usize);
    let start = start.map_err(|error| Stop::Memory(what, error.status()))?;
    // SAFETY: the pages were just allocated.
    unsafe { start.as_ptr().write_bytes(0, (pages * PAGE) as usize) };
    Ok(start.as_ptr() as u64)
}

fn descriptors(map: &uefi::mem::memory_map::MemoryMapOwned) -> Vec<Descriptor> {
    let entries = map.entries();
    entries
        .map(|entry| Descriptor {
            kind: entry.ty.0,
            start: entry.phys_start,
            pages: entry.page_count,
            attribute: entry.att.bits(),
        })
        .collect()
}

/// The memory map as it stands.
pub fn map(features: &Features) -> Result<Vec<Range>, Stop> {
    let map = uefi::boot::memory_map(MemoryType::LOADER_DATA);
    let map = map.map_err(|error| Stop::Memory("the memory map", error.status()))?;
    Ok(sanitise(&descriptors(&map), features.physical_bits))
}

/// Ends boot services; the map is the final one.
pub fn leave_boot_services(features: &Features) -> Vec<Range> {
    // SAFETY: no protocol of firmware's is used after this; the console looks at the flag.
    let map = unsafe { uefi::boot::exit_boot_services(None) };
    LEFT.store(true, Ordering::Relaxed);
    super::console::disable_interrupts();
    let ranges = sanitise(&descriptors(&map), features.physical_bits);
    // Its buffer came from a pool that no longer has an owner.
    core::mem::forget(map);
    ranges
}

/// What stays when the loader is gone.
#[derive(Debug)]
pub struct Kept {
    /// The hypervisor's boot heap and first stack.
    pub heap: Extent,
    /// The hypervisor's page tables.
    pub tables: Extent,
    /// Top table of the hypervisor's.
    pub page_table: u64,
    /// The page below 1 MiB.
    pub trampoline: u64,
    /// The root agent's page tables.
    pub agent_tables: Extent,
    /// Top table of the root agent's.
    pub agent_page_table: u64,
    /// The page in which the hypervisor informs the root agent.
    pub agent_info: u64,
}

impl Kept {
    /// Allocates, and builds both sets of page tables.
    pub fn allocate(map: &[Range], features: &Features, hypervisor: &Placed) -> Result<Self, Stop> {
        let bytes = boot_heap_bytes(ram_bytes(map));
        let heap = allocate(
            "the hypervisor's heap",
            AllocateType::AnyPages,
            MemoryType::LOADER_DATA,
            bytes / PAGE,
        )?;
        let heap = Extent::new(heap, bytes);
        // Executed by the loader before its own page tables are gone, so firmware must not forbid it.
        let trampoline = allocate("the start-up page", BELOW_640K, MemoryType::LOADER_CODE, 1)?;
        let agent_info = allocate(
            "the root agent's facts",
            AllocateType::AnyPages,
            MemoryType::LOADER_DATA,
            1,
        )?;
        let ram = ram(map);
        let special = special(hypervisor, heap);
        let plan = Plan {
            ram: &ram,
            ram_access: Access::DATA,
            other_access: Access::DEVICE,
            special: &special,
            limit: 1_u64
                .checked_shl(features.physical_bits)
                .map_or(DIRECT_MAP_END, |end| end.min(DIRECT_MAP_END)),
            gigabyte_pages: features.gigabyte_pages,
        };
        let page = Region {
            extent: Extent::new(trampoline, PAGE),
            access: Access::EXECUTE,
            largest: 1,
        };
        let (tables, page_table) = build(
            "the hypervisor's page tables",
            &[(0, &[page]), (DIRECT_MAP_BASE, &flat(&plan))],
        )?;
        let plan = Plan {
            ram_access: Access::ALL,
            other_access: Access::ALL_DEVICE,
            special: &[],
            ..plan
        };
        let (agent_tables, agent_page_table) =
            build("the root agent's page tables", &[(0, &flat(&plan))])?;
        Ok(Self {
            heap,
            tables,
            page_table,
            trampoline,
            agent_tables,
            agent_page_table,
            agent_info,
        })
    }
}

/// The image's parts with their protection; what the hypervisor puts guard pages into, by 4 KiB pages.
fn special(hypervisor: &Placed, heap: Extent) -> Vec<Region> {
    let image = &hypervisor.image;
    let parts = [
        (image.text, Access::EXECUTE, 2),
        (image.rodata, Access::READ, 2),
        (image.relro, Access::READ, 2),
        (image.data, Access::DATA, 1),
        (heap, Access::DATA, 1),
    ];
    let parts = parts.into_iter().filter(|(extent, ..)| !extent.is_empty());
    parts
        .map(|(extent, access, largest)| Region {
            extent,
            access,
            largest,
        })
        .collect()
}

/// Contiguous memory for tables.
struct Pool {
    next: u64,
    end: u64,
}

impl TableMemory for Pool {
    fn allocate(&mut self) -> Option<u64> {
        let table = (self.next < self.end).then_some(self.next)?;
        self.next += PAGE;
        Some(table)
    }

    fn read(&self, table: u64, index: usize) -> u64 {
        // SAFETY: the table is one that `allocate` gave out, identity mapped by firmware, and the index is below 512.
        unsafe { (table as *const u64).add(index & 511).read() }
    }

    fn write(&mut self, table: u64, index: usize, value: u64) {
        // SAFETY: as for `read`; nobody else uses the tables yet.
        unsafe { (table as *mut u64).add(index & 511).write(value) }
    }
}

/// Page tables with these regions at these bases.
fn build(what: &'static str, parts: &[(u64, &[Region])]) -> Result<(Extent, u64), Stop> {
    let pages = parts
        .iter()
        .map(|(base, regions)| tables_needed(*base, regions))
        .sum();
    let start = allocate(what, BELOW_4G, MemoryType::LOADER_DATA, pages)?;
    let mut pool = Pool {
        next: start,
        end: start + pages * PAGE,
    };
    let mut tables = Tables::new(&mut pool).map_err(Stop::Tables)?;
    for (base, regions) in parts {
        tables.map(*base, regions).map_err(Stop::Tables)?;
    }
    let root = tables.root();
    Ok((Extent::new(start, pages * PAGE), root))
}
