//! The two nouns that hide all differences between remapping hardware: the *device domain* and the *device interrupt*,
//! and who owns which device.
//!
//! [`Devices`] is one object behind one lock. It is made at boot from the units, the topology and capacities, and never
//! allocates afterwards: its tables have fixed sizes, and every frame that a call needs comes from the pool that the
//! caller hands in (invariant 8). [`SoftwareTable`] is the one part that is read without the lock.
//!
//! | file | idea |
//! |---|---|
//! | `ownership` | the life of a device: blocked, attached, detached, reset (invariants 3, 5, 6) |
//! | `domain` | domains: who has which, how they begin and end (invariant 2) |
//! | `mapping` | what they map; the debt of a flush and its proof (invariants 1, 2, 7) |
//! | `interrupt` | device interrupts, both halves always together (invariants 2, 4) |
//! | `remapping` | the hardware half of them |
//! | `software` | the software half: one load |
//! | `reserved` | what firmware reserved for a device, which it keeps while it is blocked (invariants 1, 3) |
//! | `release` | the end of a partition, in slices |
//! | `fault` | faults, their budget, and units that stop answering (invariant 9) |
//! | `inventory` | listing, for the root |

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod boot;
mod domain;
mod error;
mod fault;
mod interrupt;
mod inventory;
mod mapping;
mod ownership;
mod release;
mod remapping;
mod reserved;
mod software;
mod store;
mod units;
mod vector;

pub use boot::{Boot, Capacities, Devices, Platform, UnitParts};
pub use domain::{DomainId, DomainName};
pub use error::{Error, UnitFailed};
pub use fault::{FaultKind, FaultReport};
pub use interrupt::{InterruptEntry, Source, Target, Wire};
pub use inventory::{Counters, DeviceInfo, DomainInfo, InterruptInfo, UnitInfo};
pub use iommu::Polarity;
pub use mapping::{Flushed, Mapping, Owed};
pub use ownership::{DeviceState, Progress};
pub use software::{Delivery, InterruptId, SoftwareTable, VpRef};
pub use topology::Reason;
pub use vector::DEVICE_VECTORS;
