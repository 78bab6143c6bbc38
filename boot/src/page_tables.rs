//! Four-level page tables of the processor (AMD APM volume 2, 5.3 "Long-Mode Page Translation").

use alloc::vec::Vec;

use handoff::Extent;
use thiserror::Error;

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const WRITE_THROUGH: u64 = 1 << 3;
const CACHE_DISABLE: u64 = 1 << 4;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// Level of the tables whose entries map 4 KiB.
const LEAF_LEVEL: u32 = 1;

/// Where tables are kept: by physical address, 512 entries each.
pub trait TableMemory {
    /// A zeroed table, page aligned; `None` where memory is used up.
    fn allocate(&mut self) -> Option<u64>;
    /// Entry `index` (0 to 511) of a table.
    fn read(&self, table: u64, index: usize) -> u64;
    /// Sets entry `index` (0 to 511) of a table.
    fn write(&mut self, table: u64, index: usize, value: u64);
}

/// Why a mapping could not be made.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum MapError {
    /// No memory for another table.
    #[error("no memory for page tables")]
    OutOfMemory,
    /// Something is mapped there already, or the addresses are not page aligned.
    #[error("page table entries collide")]
    Collision,
}

/// Access and caching of a mapping.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Access(u64);

impl Access {
    /// RAM: cached, readable and writable, never executable.
    pub const DATA: Self = Self(PRESENT | WRITABLE | NO_EXECUTE);
    /// Constants.
    pub const READ: Self = Self(PRESENT | NO_EXECUTE);
    /// Code.
    pub const EXECUTE: Self = Self(PRESENT);
    /// Device registers: uncached, never executable.
    pub const DEVICE: Self = Self(PRESENT | WRITABLE | NO_EXECUTE | WRITE_THROUGH | CACHE_DISABLE);
    /// A partition's own flat memory: everything allowed, the partition makes its own rules.
    pub const ALL: Self = Self(PRESENT | WRITABLE);
    /// Device registers in a partition's flat map. It may run without no-execute protection, where that bit is reserved.
    pub const ALL_DEVICE: Self = Self(PRESENT | WRITABLE | WRITE_THROUGH | CACHE_DISABLE);
}

/// A run of addresses to map, physical address and attributes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Region {
    /// Physical addresses.
    pub extent: Extent,
    /// How it may be used.
    pub access: Access,
    /// Level of the largest page to use: 1 for 4 KiB, 2 for 2 MiB, 3 for 1 GiB.
    pub largest: u32,
}

/// Page tables under construction.
#[derive(Debug)]
pub struct Tables<'a, M> {
    memory: &'a mut M,
    root: u64,
}

impl<'a, M: TableMemory> Tables<'a, M> {
    /// Tables that map nothing.
    ///
    /// # Errors
    /// [`MapError::OutOfMemory`].
    pub fn new(memory: &'a mut M) -> Result<Self, MapError> {
        let root = memory.allocate().ok_or(MapError::OutOfMemory)?;
        Ok(Self { memory, root })
    }

    /// Physical address of the top table: what CR3 gets.
    #[must_use]
    pub fn root(&self) -> u64 {
        self.root
    }

    /// Maps `base` + physical address to each region, with the largest pages that fit.
    ///
    /// # Errors
    /// See [`MapError`]; what was mapped before stays.
    pub fn map(&mut self, base: u64, regions: &[Region]) -> Result<(), MapError> {
        for region in regions {
            let mut at = region.extent;
            if at.start & 0xfff != 0 || at.len & 0xfff != 0 {
                return Err(MapError::Collision);
            }
            while !at.is_empty() {
                let level = largest_level(base.wrapping_add(at.start), at, region.largest);
                self.map_page(base.wrapping_add(at.start), at.start, level, region.access)?;
                let bytes = page_bytes(level);
                at = Extent::new(at.start.wrapping_add(bytes), at.len - bytes);
            }
        }
        Ok(())
    }

    fn map_page(
        &mut self,
        address: u64,
        physical: u64,
        level: u32,
        access: Access,
    ) -> Result<(), MapError> {
        let mut table = self.root;
        for upper in (level + 1..=4).rev() {
            table = self.next_table(table, index(address, upper))?;
        }
        let slot = index(address, level);
        if self.memory.read(table, slot) != 0 {
            return Err(MapError::Collision);
        }
        let large = if level == LEAF_LEVEL { 0 } else { LARGE };
        self.memory.write(table, slot, physical | access.0 | large);
        Ok(())
    }

    fn next_table(&mut self, table: u64, slot: usize) -> Result<u64, MapError> {
        let entry = self.memory.read(table, slot);
        if entry & LARGE != 0 {
            return Err(MapError::Collision);
        }
        if entry & PRESENT != 0 {
            return Ok(entry & ADDRESS);
        }
        let new = self.memory.allocate().ok_or(MapError::OutOfMemory)?;
        self.memory.write(table, slot, new | PRESENT | WRITABLE);
        Ok(new)
    }

    /// What an address translates to: physical address and attribute bits of the page.
    #[must_use]
    pub fn translate(&self, address: u64) -> Option<(u64, Access)> {
        let mut table = self.root;
        for level in (1..=4).rev() {
            let entry = self.memory.read(table, index(address, level));
            if entry & PRESENT == 0 {
                return None;
            }
            if level == LEAF_LEVEL || entry & LARGE != 0 {
                let inside = page_bytes(level) - 1;
                let page = entry & ADDRESS & !inside;
                return Some((page | address & inside, Access(entry & !ADDRESS & !LARGE)));
            }
            table = entry & ADDRESS;
        }
        None
    }
}

fn page_bytes(level: u32) -> u64 {
    1 << (12 + 9 * (level - 1))
}

fn index(address: u64, level: u32) -> usize {
    (address >> (12 + 9 * (level - 1))) as usize & 511
}

fn largest_level(address: u64, physical: Extent, largest: u32) -> u32 {
    let fits = |level: &u32| {
        let bytes = page_bytes(*level);
        (address | physical.start) & (bytes - 1) == 0 && physical.len >= bytes
    };
    (LEAF_LEVEL + 1..=largest)
        .rev()
        .find(fits)
        .unwrap_or(LEAF_LEVEL)
}

/// How many tables [`Tables`] allocates to map these regions, which must be in order, at `base`; the top table included.
#[must_use]
pub fn tables_needed(base: u64, regions: &[Region]) -> u64 {
    let mut count = 1;
    let mut last = [None; 4];
    for region in regions {
        let mut at = region.extent;
        while !at.is_empty() {
            let address = base.wrapping_add(at.start);
            let level = largest_level(address, at, region.largest);
            for (holder, last) in last.iter_mut().enumerate().skip(level as usize) {
                let prefix = Some(address >> (12 + 9 * holder));
                count += u64::from(*last != prefix);
                *last = prefix;
            }
            let bytes = page_bytes(level);
            at = Extent::new(at.start.wrapping_add(bytes), at.len.saturating_sub(bytes));
        }
    }
    count
}

/// What decides the layout of a flat mapping.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// RAM, sorted, not overlapping.
    pub ram: &'a [Extent],
    /// Attributes of RAM.
    pub ram_access: Access,
    /// Attributes of what is not RAM.
    pub other_access: Access,
    /// Regions with attributes of their own; they win.
    pub special: &'a [Region],
    /// One past the highest address that RAM or 32-bit registers can have; at least 4 GiB is covered with 2 MiB pages.
    pub limit: u64,
    /// Whether the processor has 1 GiB pages; without them nothing is mapped above RAM and 4 GiB.
    pub gigabyte_pages: bool,
}

/// The regions of a flat mapping: every address below `limit` once, in order.
#[must_use]
pub fn flat(plan: &Plan<'_>) -> Vec<Region> {
    const GIB: u64 = 1 << 30;
    let ram_end = plan.ram.last().map_or(0, |last| last.end());
    let low = ram_end
        .max(4 * GIB)
        .next_multiple_of(GIB)
        .min(plan.limit.max(4 * GIB));
    let mut bounds: Vec<u64> = [0, low].to_vec();
    bounds.extend(plan.ram.iter().flat_map(|ram| [ram.start, ram.end()]));
    bounds.extend(
        plan.special
            .iter()
            .flat_map(|region| [region.extent.start, region.extent.end()]),
    );
    bounds.sort_unstable();
    bounds.dedup();
    let mut regions: Vec<Region> = Vec::with_capacity(bounds.len() + 1);
    for pair in bounds.windows(2).filter(|pair| pair[1] <= low) {
        let extent = Extent::new(pair[0], pair[1] - pair[0]);
        let piece = attributes(plan, extent);
        match regions.last_mut() {
            Some(last) if (last.access, last.largest) == (piece.access, piece.largest) => {
                last.extent.len += extent.len
            }
            _ => regions.push(piece),
        }
    }
    if plan.gigabyte_pages && plan.limit > low {
        let extent = Extent::new(low, plan.limit - low);
        regions.push(Region {
            extent,
            access: plan.other_access,
            largest: 3,
        });
    }
    regions
}

fn attributes(plan: &Plan<'_>, extent: Extent) -> Region {
    if let Some(special) = plan
        .special
        .iter()
        .find(|region| region.extent.overlaps(extent))
    {
        return Region { extent, ..*special };
    }
    let is_ram = plan.ram.iter().any(|ram| ram.overlaps(extent));
    let access = if is_ram {
        plan.ram_access
    } else {
        plan.other_access
    };
    Region {
        extent,
        access,
        largest: 2,
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec;

    use proptest::prelude::*;

    use super::*;

    const BASE: u64 = handoff::DIRECT_MAP_BASE;
    const MIB: u64 = 1 << 20;

    #[derive(Default)]
    struct Pool {
        tables: Vec<[u64; 512]>,
        most: usize,
    }

    impl TableMemory for Pool {
        fn allocate(&mut self) -> Option<u64> {
            if self.tables.len() >= self.most {
                return None;
            }
            self.tables.push([0; 512]);
            Some((self.tables.len() as u64 - 1) << 12)
        }
        fn read(&self, table: u64, index: usize) -> u64 {
            self.tables[(table >> 12) as usize][index]
        }
        fn write(&mut self, table: u64, index: usize, value: u64) {
            self.tables[(table >> 12) as usize][index] = value;
        }
    }

    fn region(start: u64, len: u64, access: Access) -> Region {
        Region {
            extent: Extent::new(start, len),
            access,
            largest: 2,
        }
    }

    #[test]
    fn entries_have_the_bits_of_the_manual() {
        let mut pool = Pool {
            most: 9,
            ..Pool::default()
        };
        let mut tables = Tables::new(&mut pool).unwrap();
        tables
            .map(
                BASE,
                &[
                    region(2 * MIB, 2 * MIB, Access::DEVICE),
                    region(0x1000, 0x1000, Access::EXECUTE),
                ],
            )
            .unwrap();
        assert_eq!(pool.tables[0][256], 0x1003);
        assert_eq!(pool.tables[2][1], 0x8000_0000_0020_009b);
        assert_eq!(pool.tables[3][1], 0x1001);
    }

    #[test]
    fn a_flat_plan_protects_the_image_and_uses_few_tables() {
        let mut pool = Pool {
            most: 40,
            ..Pool::default()
        };
        let ram = [Extent::new(0, 0xa_0000), Extent::new(MIB, 2047 * MIB)];
        let special = [
            region(8 * MIB, 0x5000, Access::EXECUTE),
            region(8 * MIB + 0x5000, 0x3000, Access::READ),
        ];
        let plan = Plan {
            ram: &ram,
            ram_access: Access::DATA,
            other_access: Access::DEVICE,
            special: &special,
            limit: 1 << 40,
            gigabyte_pages: true,
        };
        let mut tables = Tables::new(&mut pool).unwrap();
        tables.map(BASE, &flat(&plan)).unwrap();
        let at = |address: u64| tables.translate(BASE + address);
        assert_eq!(at(0x1234), Some((0x1234, Access::DATA)));
        assert_eq!(at(8 * MIB), Some((8 * MIB, Access::EXECUTE)));
        assert_eq!(at(8 * MIB + 0x7fff), Some((8 * MIB + 0x7fff, Access::READ)));
        assert_eq!(at(8 * MIB + 0x8000), Some((8 * MIB + 0x8000, Access::DATA)));
        assert_eq!(at(0xa_0000), Some((0xa_0000, Access::DEVICE)));
        assert_eq!(at(0xfed9_0000), Some((0xfed9_0000, Access::DEVICE)));
        assert_eq!(at(0xff_ffff_ffff), Some((0xff_ffff_ffff, Access::DEVICE)));
        assert_eq!(at(1 << 40), None);
        assert_eq!(tables.translate(0x1234), None);
        assert_eq!(tables_needed(BASE, &flat(&plan)), pool.tables.len() as u64);
        assert!(pool.tables.len() <= 10, "{} tables", pool.tables.len());
    }

    #[test]
    fn collisions_and_exhaustion_are_reported() {
        let mut pool = Pool {
            most: 4,
            ..Pool::default()
        };
        let mut tables = Tables::new(&mut pool).unwrap();
        let page = region(0x1000, 0x1000, Access::READ);
        assert_eq!(tables.map(0, &[page, page]), Err(MapError::Collision));
        assert_eq!(
            tables.map(0, &[region(0, 2 * MIB, Access::READ)]),
            Err(MapError::Collision)
        );
        assert_eq!(
            tables.map(0, &[region(1, 0x1000, Access::READ)]),
            Err(MapError::Collision)
        );
        assert_eq!(
            tables.map(0, &[region(4 * MIB, 0x1000, Access::READ)]),
            Err(MapError::OutOfMemory)
        );
    }

    proptest! {
        #[test]
        fn every_address_below_the_limit_is_mapped_to_itself(
            cuts in proptest::collection::btree_set(0_u64..0x8_0000, 2..12), probe in 0_u64..0x1_0000_0000
        ) {
            let bounds: vec::Vec<u64> = cuts.into_iter().map(|page| page << 12).collect();
            let ram: vec::Vec<Extent> =
                bounds.chunks_exact(2).map(|pair| Extent::new(pair[0], pair[1] - pair[0])).collect();
            let plan = Plan {
                ram: &ram, ram_access: Access::ALL, other_access: Access::DEVICE, special: &[], limit: 1 << 36, gigabyte_pages: false,
            };
            let mut pool = Pool { most: 60, ..Pool::default() };
            let mut tables = Tables::new(&mut pool).unwrap();
            tables.map(0, &flat(&plan)).unwrap();
            let access = if ram.iter().any(|r| r.contains(probe)) { Access::ALL } else { Access::DEVICE };
            prop_assert_eq!(tables.translate(probe), Some((probe, access)));
        }
    }
}
