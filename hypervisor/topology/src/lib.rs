//! Which functions there are, who can reach whom, and which IOMMU unit each goes through.
//!
//! [`discover`] walks configuration space once at boot, before any device may master the bus, and trusts neither the
//! devices (every list is bounded, every value checked and read once) nor the firmware's tables. The result is plain data.
//! A function that the walk does not find stays blocked for ever; one that it finds and cannot vouch for has a
//! [`Reason`]. The guard decides afterwards which configuration writes of the root may reach hardware.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod config_space;
mod function;
mod reason;
mod topology;

pub use config_space::{BusRange, ConfigSpace};
pub use function::{
    Acs, Bar, BarKind, Bridge, Function, Header, Intx, MAX_ALIASES, Msi, MsiX, Pcie, PortType,
    RequesterRange, SrIov,
};
pub use reason::Reason;
pub use topology::{Group, Problem, ReservedRange, SpecialDevice, SpecialKind, Topology, Unit};
