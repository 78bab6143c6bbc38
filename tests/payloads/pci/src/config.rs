//! Configuration space and the functions in it.

use core::fmt;

use runtime::mmio::Mmio;
use runtime::port;

use crate::{acpi, register};

const ADDRESS_PORT: u16 = 0xcf8;
const DATA_PORT: u16 = 0xcfc;

/// How configuration space is reached.
#[derive(Clone, Copy, Debug)]
pub enum Config {
    /// Memory-mapped, 4 KiB a function: the window, and its first and last bus.
    Ecam(Mmio, u8, u8),
    /// Ports CF8h and CFCh, 256 bytes a function.
    Ports,
}

/// The way that the machine's ACPI tables name, else the ports.
#[must_use]
pub fn open() -> Config {
    let window = acpi::ecam().and_then(|ecam| {
        let buses = u64::from(ecam.last_bus.checked_sub(ecam.first_bus)?) + 1;
        let base = ecam.base.checked_add(u64::from(ecam.first_bus) << 20)?;
        let mmio = Mmio::map(base, buses << 20)?;
        Some(Config::Ecam(mmio, ecam.first_bus, ecam.last_bus))
    });
    window.unwrap_or(Config::Ports)
}

impl Config {
    /// The function at this place, whether or not there is one.
    #[must_use]
    pub const fn function(self, bus: u8, device: u8, function: u8) -> Function {
        let id = (bus as u16) << 8 | (device as u16 & 31) << 3 | function as u16 & 7;
        Function { config: self, id }
    }

    /// Every function that answers.
    pub fn functions(self) -> impl Iterator<Item = Function> {
        (0..=u16::MAX)
            .map(move |id| Function { config: self, id })
            .filter(move |function| self.decodes((function.id >> 8) as u8))
            .filter(|function| !matches!(function.ids(), 0 | u32::MAX))
    }

    /// The first function with one of these vendor and device ids (device id above).
    #[must_use]
    pub fn find(self, ids: &[u32]) -> Option<Function> {
        self.functions().find(|f| ids.contains(&f.ids()))
    }

    /// Buses that are worth a look: with ports those up to 15, since each read is slow there.
    const fn decodes(self, bus: u8) -> bool {
        match self {
            Self::Ecam(_, first, last) => first <= bus && bus <= last && bus < 16,
            Self::Ports => bus < 16,
        }
    }
}

/// A PCI function.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    config: Config,
    id: u16,
}

impl Function {
    /// Requester id: bus `[15:8]`, device `[7:3]`, function `[2:0]`.
    #[must_use]
    pub const fn id(self) -> u16 {
        self.id
    }

    /// Reads the four bytes at a multiple of four; all ones where nothing answers.
    #[must_use]
    pub fn read(self, offset: u16) -> u32 {
        match self.config {
            Config::Ecam(window, first, _) => window.read32(self.ecam_offset(first, offset)),
            Config::Ports if offset > 0xfc => u32::MAX,
            Config::Ports => {
                port::write32(ADDRESS_PORT, self.port_address(offset));
                port::read32(DATA_PORT)
            }
        }
    }

    /// Writes the four bytes at a multiple of four.
    pub fn write(self, offset: u16, value: u32) {
        match self.config {
            Config::Ecam(window, first, _) => {
                window.write32(self.ecam_offset(first, offset), value);
            }
            Config::Ports if offset > 0xfc => {}
            Config::Ports => {
                port::write32(ADDRESS_PORT, self.port_address(offset));
                port::write32(DATA_PORT, value);
            }
        }
    }

    fn ecam_offset(self, first: u8, offset: u16) -> u64 {
        (u64::from(self.id) << 12 | u64::from(offset & 0xffc)) - (u64::from(first) << 20)
    }

    const fn port_address(self, offset: u16) -> u32 {
        1 << 31 | (self.id as u32) << 8 | (offset as u32 & 0xfc)
    }

    /// Vendor id, and device id above it.
    #[must_use]
    pub fn ids(self) -> u32 {
        self.read(register::IDS)
    }

    /// Sets and clears bits of the command register; status bits stay as they are.
    pub fn command(self, set: u32, clear: u32) {
        let value = self.read(register::COMMAND) & 0xffff;
        self.write(register::COMMAND, (value | set) & !clear);
    }

    /// Offset of a capability.
    #[must_use]
    pub fn capability(self, id: u8) -> Option<u16> {
        // Status bit 4: there is a list.
        if self.read(register::COMMAND) >> 20 & 1 == 0 {
            return None;
        }
        let mut at = self.read(register::CAPABILITIES) as u16 & 0xfc;
        for _ in 0..48 {
            if at < 0x40 {
                return None;
            }
            let header = self.read(at);
            if header as u8 == id {
                return Some(at);
            }
            at = (header >> 8) as u16 & 0xfc;
        }
        None
    }

    /// Address and length of a memory BAR, 0 to 5; `None` where it is absent, an I/O BAR, or has no address.
    #[must_use]
    pub fn bar(self, index: u8) -> Option<(u64, u64)> {
        let at = register::BAR0 + u16::from(index) * 4;
        let low = self.read(at);
        let wide = low & 6 == 4;
        let high = if wide { self.read(at + 4) } else { 0 };
        let address = u64::from(high) << 32 | u64::from(low & !0xf);
        if low & 1 == 1 || address == 0 || low == u32::MAX {
            return None;
        }
        self.command(0, register::MEMORY);
        self.write(at, u32::MAX);
        let mask = self.read(at) & !0xf;
        self.write(at, low);
        self.command(register::MEMORY, 0);
        let length = u64::from(mask.wrapping_neg());
        (length != 0).then_some((address, length))
    }

    /// Registers behind a memory BAR.
    #[must_use]
    pub fn map_bar(self, index: u8) -> Option<Mmio> {
        let (address, length) = self.bar(index)?;
        Mmio::map(address, length)
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bus, device, function) = (self.id >> 8, self.id >> 3 & 31, self.id & 7);
        write!(f, "{bus:02x}:{device:02x}.{function}")
    }
}
