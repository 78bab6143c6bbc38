//! The table of scenarios: one file per theme, each with a function that lists its own.

use std::time::Duration;

use crate::config::{Config, DeviceKind, Iommu, Network};
use crate::scenario::Scenario;

mod boot;
mod config_space;
mod dma;
mod domains;
mod exceptions;
mod exits;
mod firmware;
mod hypercalls;
mod interrupts;
mod left_running;
mod lifecycle;
mod local_apic;
mod machine_events;
mod memory;
mod network;
mod processor;
mod register_values;
mod registers;
mod reset;
mod vps;

/// For a payload that only says something and ends.
const SHORT: Duration = Duration::from_secs(30);

/// Every scenario of the suite.
pub fn all() -> Vec<Scenario> {
    [
        boot::scenarios(),
        lifecycle::scenarios(),
        domains::scenarios(),
        network::scenarios(),
        dma::scenarios(),
        left_running::scenarios(),
        interrupts::scenarios(),
        config_space::scenarios(),
        reset::scenarios(),
        hypercalls::scenarios(),
        memory::scenarios(),
        processor::scenarios(),
        local_apic::scenarios(),
        registers::scenarios(),
        register_values::scenarios(),
        exceptions::scenarios(),
        vps::scenarios(),
        exits::scenarios(),
        machine_events::scenarios(),
        firmware::scenarios(),
    ]
    .concat()
}

/// The machine that most scenarios share: [`E0`], [`E1`], [`IGB`] and [`E1000E`], the network cards on wires.
pub fn full() -> Config {
    Config::default()
        .device(DeviceKind::Edu, Network::Unplugged)
        .device(DeviceKind::Edu, Network::Unplugged)
        .device(DeviceKind::Igb, Network::Wire)
        .device(DeviceKind::E1000e, Network::Wire)
}

/// The machine of what is about processors and memory alone: without IOMMU and devices, so that in QEMU it runs once and not
/// beside each kind of IOMMU.
pub fn bare() -> Config {
    Config::default().iommu(Iommu::None)
}

/// The first edu device of [`full`].
pub const E0: (usize, DeviceKind) = (0, DeviceKind::Edu);
/// The second.
pub const E1: (usize, DeviceKind) = (1, DeviceKind::Edu);
/// Its 82576.
pub const IGB: (usize, DeviceKind) = (2, DeviceKind::Igb);
/// Its 82574L.
pub const E1000E: (usize, DeviceKind) = (3, DeviceKind::E1000e);
