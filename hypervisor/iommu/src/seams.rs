//! What a unit needs from the machine.

use address::Spa;
use paging::TableMemory;

/// The register block of one unit, uncached. Offsets are in bytes from its base, naturally aligned, and lie within what
/// [`crate::register_bytes`] says.
pub trait Registers {
    /// Reads 32 bits.
    fn read32(&self, offset: usize) -> u32;
    /// Reads 64 bits with one access.
    fn read64(&self, offset: usize) -> u64;
    /// Writes 32 bits, after all earlier stores to memory.
    fn write32(&self, offset: usize, value: u32);
    /// Writes 64 bits with one access, after all earlier stores to memory.
    fn write64(&self, offset: usize, value: u64);
}

/// Time, for deadlines.
pub trait Clock {
    /// Ticks since some moment; never runs backwards by more than a deadline's length.
    fn now(&self) -> u64;
    /// Ticks in a microsecond; at least 1.
    fn ticks_per_us(&self) -> u64;
}

/// Stores of 128 bits, for entries of which a walker must never see a half.
pub trait WideMemory: TableMemory {
    /// Writes the words `index` (even) and `index + 1` of a table with one store: hardware sees both old ones or both new ones.
    fn write_wide(&self, table: Spa, index: usize, low: u64, high: u64);
}

/// All that one unit needs: its registers, the memory of its tables, a clock. One value per unit.
///
/// The unit also polls, through [`TableMemory::read`], a word that hardware writes: that read must be a real load each time.
pub trait Hardware: Registers + WideMemory + Clock {}

impl<T: Registers + WideMemory + Clock> Hardware for T {}
