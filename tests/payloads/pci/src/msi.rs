//! MSI and MSI-X (PCI Local Bus Specification 3.0, sections 6.8.1 and 6.8.2; address and data as the Intel SDM,
//! volume 3, "Message Signalled Interrupts").

use runtime::mmio::Mmio;

use crate::{Function, register};

/// Which of the two.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    /// MSI: one message, in configuration space.
    Msi,
    /// MSI-X: a table in a BAR.
    MsiX,
}

/// Messages of a function, switched on.
#[derive(Clone, Copy, Debug)]
pub struct Interrupts {
    function: Function,
    capability: u16,
    table: Option<Mmio>,
}

const MSIX_ENABLE: u32 = 1 << 31;
const MSIX_MASK_ALL: u32 = 1 << 30;
const MSI_ENABLE: u32 = 1 << 16;
const MSI_WIDE: u32 = 1 << 23;
const ENTRY: u64 = 16;

const fn address(apic_id: u32) -> u32 {
    0xfee0_0000 | (apic_id & 0xff) << 12
}

impl Interrupts {
    /// Lets the function's first message raise `vector` at this APIC id (below 255), by MSI-X where there is a
    /// table, else by MSI; `only` leaves no choice. INTx goes off.
    #[must_use]
    pub fn open(function: Function, apic_id: u32, vector: u8, only: Option<Way>) -> Option<Self> {
        let msix = || Self::open_msix(function, apic_id, vector);
        let msi = || Self::open_msi(function, apic_id, vector);
        let opened = match only {
            Some(Way::MsiX) => msix(),
            Some(Way::Msi) => msi(),
            None => msix().or_else(msi),
        }?;
        function.command(register::NO_INTX, 0);
        Some(opened)
    }

    fn open_msix(function: Function, apic_id: u32, vector: u8) -> Option<Self> {
        let capability = function.capability(register::MSIX)?;
        let control = function.read(capability);
        let entries = u64::from(control >> 16 & 0x7ff) + 1;
        let place = function.read(capability + 4);
        let (base, length) = function.bar((place & 7) as u8)?;
        let offset = u64::from(place & !7);
        let bytes = entries * ENTRY;
        if offset.checked_add(bytes)? > length {
            return None;
        }
        let table = Mmio::map(base.checked_add(offset)?, bytes)?;
        function.write(capability, control | MSIX_ENABLE | MSIX_MASK_ALL);
        let this = Self {
            function,
            capability,
            table: Some(table),
        };
        this.set(0, apic_id, vector);
        function.write(capability, (control | MSIX_ENABLE) & !MSIX_MASK_ALL);
        Some(this)
    }

    fn open_msi(function: Function, apic_id: u32, vector: u8) -> Option<Self> {
        let capability = function.capability(register::MSI)?;
        let this = Self {
            function,
            capability,
            table: None,
        };
        this.set(0, apic_id, vector);
        let control = function.read(capability);
        // One message: bits 22:20 zero.
        function.write(capability, control & !(7 << 20) | MSI_ENABLE);
        Some(this)
    }

    /// Which of the two it became.
    #[must_use]
    pub const fn way(&self) -> Way {
        match self.table {
            Some(_) => Way::MsiX,
            None => Way::Msi,
        }
    }

    /// Points a message at another VP or vector. With MSI only message 0 exists.
    pub fn set(&self, message: u16, apic_id: u32, vector: u8) {
        self.set_raw(message, address(apic_id), u32::from(vector));
    }

    /// Writes address and data as they are, for probes.
    pub fn set_raw(&self, message: u16, address: u32, data: u32) {
        let at = u64::from(message) * ENTRY;
        match self.table {
            Some(table) => {
                table.write32(at + 12, 1);
                table.write32(at, address);
                table.write32(at + 4, 0);
                table.write32(at + 8, data);
                table.write32(at + 12, 0);
            }
            None if message == 0 => self.set_msi(address, data),
            None => {}
        }
    }

    fn set_msi(&self, address: u32, data: u32) {
        let (f, at) = (self.function, self.capability);
        f.write(at + 4, address);
        let data_at = if f.read(at) & MSI_WIDE != 0 {
            f.write(at + 8, 0);
            at + 12
        } else {
            at + 8
        };
        let kept = f.read(data_at) & 0xffff_0000;
        f.write(data_at, kept | data & 0xffff);
    }

    /// Masks or unmasks a message of MSI-X.
    pub fn mask(&self, message: u16, masked: bool) {
        if let Some(table) = self.table {
            table.write32(u64::from(message) * ENTRY + 12, u32::from(masked));
        }
    }

    /// What the first message reads back as: address and data.
    #[must_use]
    pub fn read_back(&self) -> (u32, u32) {
        match self.table {
            Some(table) => (table.read32(0), table.read32(8)),
            None => {
                let at = self.capability;
                let wide = self.function.read(at) & MSI_WIDE != 0;
                let data = self.function.read(at + if wide { 12 } else { 8 });
                (self.function.read(at + 4), data & 0xffff)
            }
        }
    }
}
