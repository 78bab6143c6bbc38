//! Names of PCI functions.

use core::fmt;

/// PCI requester id: bus\[15:8\], device\[7:3\], function\[2:0\] (PCI Express Base Specification, "Requester ID").
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(transparent)]
pub struct RequesterId(pub u16);

/// A PCI function: segment, bus, device, function.
#[derive(Clone, Copy, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct DeviceId {
    /// PCI segment group, as MCFG and DMAR number them.
    pub segment: u16,
    /// Bus, device and function.
    pub requester: RequesterId,
}

impl DeviceId {
    /// The function at `segment:bus:device.function`; `None` where device is above 31 or function above 7.
    #[must_use]
    pub const fn new(segment: u16, bus: u8, device: u8, function: u8) -> Option<Self> {
        if device > 31 || function > 7 {
            return None;
        }
        let requester = (bus as u16) << 8 | (device as u16) << 3 | function as u16;
        Some(Self {
            segment,
            requester: RequesterId(requester),
        })
    }

    /// The function with this requester id in a segment.
    #[must_use]
    pub const fn from_requester(segment: u16, requester: RequesterId) -> Self {
        Self { segment, requester }
    }

    /// Bus number.
    #[must_use]
    pub const fn bus(self) -> u8 {
        (self.requester.0 >> 8) as u8
    }

    /// Device number on its bus, 0 to 31.
    #[must_use]
    pub const fn device(self) -> u8 {
        (self.requester.0 >> 3) as u8 & 0x1f
    }

    /// Function number in its device, 0 to 7.
    #[must_use]
    pub const fn function(self) -> u8 {
        self.requester.0 as u8 & 7
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:04x}:{:02x}:{:02x}.{}",
            self.segment,
            self.bus(),
            self.device(),
            self.function()
        )
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use std::string::ToString;

    #[test]
    fn fields_stand_where_the_specification_puts_them() {
        let id = DeviceId::new(0, 0x12, 0x1f, 7).unwrap();
        assert_eq!(id.requester.0, 0x12ff);
        assert_eq!((id.bus(), id.device(), id.function()), (0x12, 0x1f, 7));
        assert_eq!(id.to_string(), "0000:12:1f.7");
    }

    #[test]
    fn numbers_out_of_range_name_nothing() {
        assert_eq!(DeviceId::new(0, 0, 32, 0), None);
        assert_eq!(DeviceId::new(0, 0, 0, 8), None);
    }
}
