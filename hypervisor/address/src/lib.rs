//! Addresses and names of hardware things, each a type of its own.
//!
//! There is no arithmetic across the three address spaces: an [`Spa`], a [`Gpa`] and an [`Iova`] can only be
//! turned into each other by a table that somebody owns.

#![no_std]
#![forbid(unsafe_code)]

mod device_id;
mod page;
mod space;

pub use device_id::{DeviceId, RequesterId};
pub use page::{PAGE_SHIFT, PAGE_SIZE, PageSize};
pub use space::{Gpa, Iova, Spa};

/// Local APIC id of a logical processor, in x2APIC width (Intel SDM volume 3, "x2APIC identifiers").
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(transparent)]
pub struct ApicId(pub u32);

/// An interrupt vector, 0 to 255. Vectors below 32 belong to exceptions; who may use which is the caller's rule.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(transparent)]
pub struct Vector(pub u8);

/// Index of a logical processor, counted from 0 in the order of the boot processor first, then the MADT.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(transparent)]
pub struct LpIndex(pub u16);

/// Name of a partition in hypercalls. Never reused while the machine is up.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(transparent)]
pub struct PartitionId(pub u64);

impl PartitionId {
    /// No partition.
    pub const INVALID: Self = Self(0);
    /// The root partition, which exists from boot.
    pub const ROOT: Self = Self(1);
    /// In a hypercall: the partition that makes the call.
    pub const SELF: Self = Self(u64::MAX);
}

/// Index of a VP within its partition, counted from 0.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(transparent)]
pub struct VpIndex(pub u32);
