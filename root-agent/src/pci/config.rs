//! Configuration space of real functions: read through the memory-mapped window, written through the guard.

use abi::Status;
use address::DeviceId;

use crate::calls::vendor;
use crate::facts::Facts;
use crate::machine::Machine;

/// Registers of a type 0 header (PCI Local Bus Specification 3.0, 6.1).
pub mod register {
    /// Vendor and device id.
    pub const IDS: u16 = 0x00;
    /// Command.
    pub const COMMAND: u16 = 0x04;
    /// Status.
    pub const STATUS: u16 = 0x06;
    /// First of six base address registers.
    pub const BAR0: u16 = 0x10;
    /// Pointer to the first capability.
    pub const CAPABILITIES: u16 = 0x34;
}

/// Bits of the command register.
pub mod command {
    /// The function answers in I/O space.
    pub const IO: u16 = 1 << 0;
    /// The function answers in memory space.
    pub const MEMORY: u16 = 1 << 1;
    /// The function may master the bus.
    pub const BUS_MASTER: u16 = 1 << 2;
    /// The function may not assert INTx.
    pub const NO_INTX: u16 = 1 << 10;
}

/// Configuration space of one function.
pub trait ConfigSpace {
    /// Reads 1, 2 or 4 bytes at a multiple of the size; all ones where nothing answers.
    fn read(&self, offset: u16, size: u8) -> u32;

    /// Writes, and returns what the register holds then.
    fn write(&self, offset: u16, size: u8, value: u32) -> Result<u32, Status>;
}

/// Configuration space of a function of this machine.
pub struct RealConfig<'m, M> {
    machine: &'m M,
    device: DeviceId,
    window: Option<u64>,
}

impl<'m, M: Machine> RealConfig<'m, M> {
    /// The configuration space of a device.
    #[must_use]
    pub fn new(machine: &'m M, facts: &Facts, device: DeviceId) -> Self {
        let offset = u64::from(device.requester.0) << 12;
        let first = facts.ecam.first().filter(|_| device.segment == 0);
        let inside = first.filter(|span| offset.saturating_add(4096) <= span.length);
        Self {
            machine,
            device,
            window: inside.map(|span| span.start + offset),
        }
    }
}

impl<M: Machine> ConfigSpace for RealConfig<'_, M> {
    fn read(&self, offset: u16, size: u8) -> u32 {
        let ones = (u64::MAX >> (64 - 8 * u32::from(size.clamp(1, 4)))) as u32;
        match self.window {
            Some(base) if offset < 4096 && offset.is_multiple_of(u16::from(size)) => {
                self.machine.read_register(base + u64::from(offset), size) as u32
            }
            _ => ones,
        }
    }

    fn write(&self, offset: u16, size: u8, value: u32) -> Result<u32, Status> {
        vendor::write_config(self.machine, self.device, offset, size, value)
    }
}
