//! ACPI tables: firmware's, with the boot volume's in their place.

use alloc::vec::Vec;

use boot::acpi::{self, Table, TableBytes};
use uefi::boot::{AllocateType, MemoryType};
use uefi::mem::memory_map::{MemoryMap as _, MemoryMapOwned};
use uefi::table::cfg::ConfigTableEntry;

use super::console::say;
use super::files::File;
use super::memory::allocate;
use super::stop::Stop;

/// What the loader needs of ACPI.
#[derive(Debug)]
pub struct Acpi {
    /// The root pointer for the hypervisor; 0: none.
    pub rsdp: u64,
    /// Port and bits of the power management timer.
    pub pm_timer: Option<(u16, u32)>,
    /// Segment, first bus, last bus, base address.
    pub ecam: Vec<(u16, u8, u8, u64)>,
}

/// Memory that the map calls memory of some kind.
struct Physical(MemoryMapOwned);

impl TableBytes for Physical {
    fn bytes(&self, address: u64, len: usize) -> Option<&[u8]> {
        let end = address.checked_add(len as u64)?;
        let registers = [
            MemoryType::MMIO,
            MemoryType::MMIO_PORT_SPACE,
            MemoryType::UNUSABLE,
        ];
        let inside = self.0.entries().any(|entry| {
            let last = entry
                .phys_start
                .saturating_add(entry.page_count.saturating_mul(4096));
            !registers.contains(&entry.ty) && entry.phys_start <= address && end <= last
        });
        // SAFETY: firmware maps all memory in its map at its physical address; tables are not written meanwhile.
        (inside && address != 0)
            .then(|| unsafe { core::slice::from_raw_parts(address as *const u8, len) })
    }
}

/// Applies the overrides and reads what the loader needs.
///
/// # Errors
/// A broken override. Broken tables of firmware's are left out, and said.
pub fn prepare(overrides: &[File]) -> Result<Acpi, Stop> {
    let map = uefi::boot::memory_map(MemoryType::LOADER_DATA);
    let memory = Physical(map.map_err(|error| Stop::Memory("the memory map", error.status()))?);
    let mut rsdp = firmware_rsdp();
    let mut tables = acpi::tables(&memory, rsdp).unwrap_or_else(|error| {
        say(format_args!("{error}"));
        Vec::new()
    });
    if !overrides.is_empty() {
        tables = acpi::with_overrides(&tables, &new_tables(overrides)?);
        rsdp = write_root(&tables)?;
    }
    let memory = Physical(
        uefi::boot::memory_map(MemoryType::LOADER_DATA)
            .map_err(|e| Stop::Memory("the memory map", e.status()))?,
    );
    let find = |name: &[u8; 4]| {
        let table = tables.iter().find(|table| table.signature == *name)?;
        acpi::table_bytes(&memory, table.address)
    };
    Ok(Acpi {
        rsdp,
        pm_timer: find(b"FACP").and_then(acpi::pm_timer),
        ecam: find(b"MCFG")
            .map(|mcfg| acpi::ecam_windows(mcfg).collect())
            .unwrap_or_default(),
    })
}

fn firmware_rsdp() -> u64 {
    uefi::system::with_config_table(|entries| {
        let find = |guid| {
            entries
                .iter()
                .find(|entry| entry.guid == guid)
                .map(|entry| entry.address as u64)
        };
        find(ConfigTableEntry::ACPI2_GUID)
            .or_else(|| find(ConfigTableEntry::ACPI_GUID))
            .unwrap_or(0)
    })
}

fn new_tables(overrides: &[File]) -> Result<Vec<Table>, Stop> {
    let check = |file: &File| {
        let signature = acpi::check_table(file.content)
            .map_err(|error| Stop::Override(file.name.clone(), error))?;
        Ok(Table {
            signature,
            address: file.extent().start,
        })
    };
    overrides.iter().map(check).collect()
}

/// Places a root pointer and XSDT over these tables.
fn write_root(tables: &[Table]) -> Result<u64, Stop> {
    let pages = (tables.len() as u64 * 8 + 128).div_ceil(4096);
    let address = allocate(
        "the ACPI root",
        AllocateType::AnyPages,
        MemoryType::ACPI_RECLAIM,
        pages,
    )?;
    let bytes = acpi::root_over(tables, address);
    // SAFETY: the pages were just allocated and are long enough: 40 + 36 bytes and 8 per table.
    unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), address as *mut u8, bytes.len()) };
    Ok(address)
}
