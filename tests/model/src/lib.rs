//! Remapping hardware from the hardware's side, for host tests: registers, caches, walks, queues and faults as the
//! specification describes them. It shares no line with the encoders that it judges; `address` is all that it uses.
//!
//! Everything that real hardware may cache is cached here, for as long as nobody invalidates it: a forgotten flush shows.

#![forbid(unsafe_code)]

pub mod amdvi;
mod bus;
mod clock;
mod memory;
pub mod vtd;

pub use bus::{Bus, Config};
pub use clock::Ticks;
pub use memory::Memory;

use address::Spa;

/// Why hardware refused a request: the specification's reason code, or what stood before the unit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refused {
    /// The function, or a bridge above it, may not master the bus.
    BusMaster,
    /// The unit refused it, with this fault reason.
    Fault(u8),
    /// The unit does not answer.
    Dead,
}

/// A DMA that was translated and has not landed yet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Flight {
    pub(crate) id: u64,
}

/// How a unit behaves from now on.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Behaviour {
    /// As it should.
    #[default]
    Good,
    /// The next descriptor is reported as invalid, and the queue stops.
    QueueError,
    /// A device-TLB invalidation times out: the queue stops with its head before the wait.
    TimeoutError,
    /// Descriptors are taken and never done.
    Silent,
    /// Every register reads as all ones, and nothing is done.
    Dead,
}

/// An interrupt as it leaves the unit: local APIC id and vector, fixed delivery.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Delivered {
    /// Destination.
    pub apic: u32,
    /// Vector.
    pub vector: u8,
    /// Level-triggered.
    pub level: bool,
    /// Whether it leaves at all: not where it was posted for somebody who was told already, or is not to be told.
    pub told: bool,
}

/// One dialect's unit, seen from the bus, and from whoever plays fate.
pub trait Unit {
    /// Translates one access of a requester and lets it land; the address that it reaches.
    ///
    /// # Errors
    /// Where the unit refuses.
    fn dma(&self, requester: u16, iova: u64, write: bool) -> Result<Spa, Refused>;
    /// Raises an interrupt: a write of `data` to `address` in the interrupt window.
    ///
    /// # Errors
    /// Where the unit refuses.
    fn interrupt(&self, requester: u16, address: u64, data: u32) -> Result<Delivered, Refused>;
    /// Translates a write whose data is still under way.
    ///
    /// # Errors
    /// Where the unit refuses.
    fn launch(&self, requester: u16, iova: u64) -> Result<Flight, Refused>;
    /// Lets a write land; `true` where it had not landed before, that is, where no drain had waited for it.
    fn land(&self, flight: Flight) -> bool;
    /// From now on it behaves so.
    fn behave(&self, behaviour: Behaviour);
    /// Whether it translates, and remaps interrupts to every local APIC, with none in a format that it does not remap.
    fn guards(&self) -> bool;
    /// What `look` finds as long as the unit has cached nothing: nothing of it stays, and nobody is told.
    fn afresh<T>(&self, look: impl FnOnce(&Self) -> T) -> T;
    /// Invalidations carried out since the last time it was asked.
    fn invalidations(&self) -> usize;
}
