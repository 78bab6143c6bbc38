//! The seam to configuration space (PCI Express Base Specification 6.0, section 7.2).

use address::DeviceId;

/// Configuration space of every function. The machine implements it by ECAM or ports, the tests by arrays.
///
/// Offsets are 0 to FFFh and aligned to the access; callers in this crate keep to that. A read of what does not exist, or
/// of an offset past the reach of the mechanism, is all ones; such a write does nothing.
pub trait ConfigSpace {
    /// Reads a byte.
    fn read8(&mut self, device: DeviceId, offset: u16) -> u8;
    /// Reads 16 bits.
    fn read16(&mut self, device: DeviceId, offset: u16) -> u16;
    /// Reads 32 bits.
    fn read32(&mut self, device: DeviceId, offset: u16) -> u32;
    /// Writes a byte.
    fn write8(&mut self, device: DeviceId, offset: u16, value: u8);
    /// Writes 16 bits.
    fn write16(&mut self, device: DeviceId, offset: u16, value: u16);
    /// Writes 32 bits.
    fn write32(&mut self, device: DeviceId, offset: u16, value: u32);
}

/// Buses of one segment that may be walked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BusRange {
    /// PCI segment.
    pub segment: u16,
    /// First bus.
    pub first: u8,
    /// Last bus; not below `first`.
    pub last: u8,
}

impl BusRange {
    /// What the legacy ports reach: all buses of segment 0.
    pub const LEGACY: Self = Self {
        segment: 0,
        first: 0,
        last: u8::MAX,
    };
}

impl From<firmware::mcfg::Segment> for BusRange {
    fn from(segment: firmware::mcfg::Segment) -> Self {
        Self {
            segment: segment.segment,
            first: segment.first_bus,
            last: segment.last_bus,
        }
    }
}
