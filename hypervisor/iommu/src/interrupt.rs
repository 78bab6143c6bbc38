//! Interrupt entries, without a dialect's bits.

use address::{ApicId, RequesterId, Spa, Vector};

/// Who may raise the interrupt. There is no "anyone".
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Source {
    /// Exactly this requester.
    Exact(RequesterId),
    /// Any requester on these buses: for the alias group behind one bridge, which cannot be told apart.
    Buses {
        /// First bus.
        first: u8,
        /// Last bus, not below the first.
        last: u8,
    },
}

/// How the interrupt is signalled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Trigger {
    /// Message-signalled, and pins that are edge-triggered.
    Edge,
    /// Pins that stay asserted until served.
    Level,
}

/// Which level or edge of a pin counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Polarity {
    /// High, or rising.
    High,
    /// Low, or falling.
    Low,
}

/// Where the interrupt goes: fixed delivery to one processor.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Target {
    /// The processor.
    pub apic: ApicId,
    /// The vector, 32 to 255.
    pub vector: Vector,
    /// How it is signalled.
    pub trigger: Trigger,
}

/// Where the interrupt is left instead: in memory, for a guest that takes it from there. Its descriptor says whom the unit tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Posting {
    /// The guest's descriptor: 64 bytes, aligned to them.
    pub descriptor: Spa,
    /// The guest's vector, 16 to 255.
    pub vector: Vector,
}

/// What a device is programmed with: the write that raises the interrupt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Message {
    /// Where the device writes.
    pub address: u64,
    /// What it writes.
    pub data: u32,
}

/// Vectors below belong to exceptions.
pub(crate) const FIRST_VECTOR: u8 = 32;
/// Vectors below are none that a local APIC takes.
pub(crate) const FIRST_GUEST_VECTOR: u8 = 16;
