//! Where registers lie: what the hypervisor keeps, and what the root may map and give away.

use address::Spa;
use alloc::vec::Vec;
use firmware::hpet::Hpet;
use handoff::Extent;
use topology::Topology;

use crate::acpi_tables::Tables;
use crate::facts::Facts;
use crate::{config_space, io_apic};

const PAGE: u64 = 4096;
const LOCAL_APIC: Extent = Extent::new(0xfee0_0000, 0x10_0000);

/// Register ranges, whole pages, sorted.
#[derive(Debug)]
pub struct Platform {
    /// Mapped to nobody: IOMMU units, local APICs and their messages, I/O APICs, HPETs.
    pub kept: Vec<Extent>,
    /// Configuration space, mapped read only to the root.
    pub ecam: Vec<Extent>,
    /// Registers of PCI functions, without what is kept.
    pub windows: Vec<Extent>,
}

/// Finds all ranges.
pub fn find(facts: &Facts, tables: &Tables, topology: &Topology) -> Platform {
    let hpet = tables
        .find(b"HPET")
        .and_then(|bytes| Hpet::parse(bytes).ok());
    let mut kept: Vec<Extent> = Vec::from([LOCAL_APIC]);
    kept.extend(io_apic::all().iter().map(|it| page_of(it.address)));
    kept.extend(hpet.iter().map(|it| page_of(it.base)));
    kept.extend(
        topology
            .units
            .iter()
            .map(|it| Extent::new(it.base.as_u64(), it.register_bytes.max(PAGE))),
    );
    kept.sort_unstable_by_key(|extent| extent.start);
    let ecam: Vec<Extent> = config_space::windows()
        .map(|(_, base, len)| Extent::new(base.as_u64(), len))
        .collect();
    let ram = facts
        .ranges
        .iter()
        .filter(|range| range.kind().is_ram())
        .map(|range| range.extent());
    let closed: Vec<Extent> = ram
        .chain(kept.iter().copied())
        .chain(ecam.iter().copied())
        .collect();
    let windows = windows(topology, &closed);
    Platform {
        kept,
        ecam,
        windows,
    }
}

fn page_of(address: Spa) -> Extent {
    Extent::new(address.page() * PAGE, PAGE)
}

/// Whole pages of all memory BARs, joined where they touch. One that overlaps what is closed is left out.
fn windows(topology: &Topology, closed: &[Extent]) -> Vec<Extent> {
    let bars = topology
        .functions
        .iter()
        .flat_map(|function| function.bars.iter().flatten());
    let mut all: Vec<Extent> = bars
        .filter_map(|bar| {
            let start = bar.memory()?.page() * PAGE;
            let end = bar.end()?.checked_next_multiple_of(PAGE)?;
            let extent = Extent::new(start, end.checked_sub(start)?);
            (start != 0 && !closed.iter().any(|other| other.overlaps(extent))).then_some(extent)
        })
        .collect();
    all.sort_unstable_by_key(|extent| extent.start);
    let mut joined: Vec<Extent> = Vec::new();
    for extent in all {
        match joined.last_mut() {
            Some(last) if extent.start <= last.end() => {
                last.len = last.end().max(extent.end()) - last.start
            }
            _ => joined.push(extent),
        }
    }
    joined
}
