//! Which functions there are, who can reach whom, and which IOMMU unit each goes through.
//!
//! [`discover`] walks configuration space once at boot, before any device may master the bus, and trusts neither the
//! devices (every list is bounded, every value checked and read once) nor the firmware's tables. The result is plain data.
//! A function that the walk does not find stays blocked for ever; one that it finds and cannot vouch for has a
//! [`Reason`]. [`guard`] decides afterwards which configuration writes of the root may reach hardware.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod bar;
mod capability;
mod config_space;
mod coverage;
mod function;
pub mod guard;
mod isolation;
mod quiet;
mod reason;
mod reserved;
mod sharing;
mod snapshot;
#[cfg(test)]
mod testing;
mod topology;
mod walk;

pub use config_space::{BusRange, ConfigSpace};
pub use coverage::Remapping;
pub use function::{
    Acs, Bar, BarKind, Bridge, Function, Header, Intx, MAX_ALIASES, Msi, MsiX, Pcie, PortType,
    RequesterRange, SrIov,
};
pub use quiet::rest;
pub use reason::Reason;
pub use reserved::MOST_RESERVED;
pub use topology::{
    Group, Problem, ReservedRange, SpecialDevice, SpecialKind, Topology, Unit, UnitKind,
};

use alloc::vec::Vec;

/// Walks the machine.
///
/// `buses`: what MCFG says ([`BusRange::from`] each segment), or [`BusRange::LEGACY`] where there is none. A range that names
/// buses of one before it is left out. `remapping`: the firmware's table of units, if there is one.
///
/// Besides reading, the walk sizes BARs with decoding off, clears bus mastering, MSI and MSI-X enable, phantom functions, ATS, PRI,
/// PASID and virtual functions, and enables access control where it exists, and
/// units whose own function keeps them off. It runs once, on one LP, before devices are used.
pub fn discover<'a, C: ConfigSpace>(
    config: &mut C,
    buses: impl IntoIterator<Item = BusRange>,
    remapping: impl Into<Remapping<'a>>,
) -> Topology {
    let remapping = remapping.into();
    let mut walk = walk::Walk::new(config);
    let mut walked: Vec<BusRange> = Vec::new();
    for range in buses {
        let overlaps = |other: &BusRange| {
            other.segment == range.segment && other.first <= range.last && range.first <= other.last
        };
        if !walked.iter().any(overlaps) {
            walk.range(range);
            walked.push(range);
        }
    }
    let mut topology = Topology {
        functions: walk.functions,
        problems: walk.problems,
        ..Topology::default()
    };
    for function in &topology.functions {
        let own = function.unassignable.filter(Reason::is_fault);
        topology
            .problems
            .extend(own.map(|reason| Problem::Function(function.id, reason)));
    }
    topology.find_aliases();
    if let Remapping::Ivrs(ivrs) = remapping {
        topology.find_named_aliases(ivrs);
    }
    topology.find_groups();
    topology.find_units(remapping);
    topology.wake_units(config);
    topology.find_shared_pages();
    topology.find_shared_lines();
    topology.spread_reasons();
    topology
}

#[cfg(test)]
mod tests;
