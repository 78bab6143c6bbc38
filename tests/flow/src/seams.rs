//! The seams of the device crate, on the model.

use std::marker::PhantomData;
use std::rc::Rc;

use address::{DeviceId, Spa};
use model::{Config, Memory};
use paging::TableMemory;
use topology::ConfigSpace;

use crate::Arm;

/// The platform of an arm.
pub struct Seams<A>(PhantomData<A>);

impl<A: Arm> device::Platform for Seams<A> {
    type Hardware = A::Hardware;
    type Tables = TableSeam;
    type Config = ConfigSeam;
}

/// Table memory.
#[derive(Clone)]
pub struct TableSeam(pub Rc<Memory>);

impl TableMemory for TableSeam {
    fn read(&self, table: Spa, index: usize) -> u64 {
        self.0.read(table.as_u64() + index as u64 * 8)
    }

    fn write(&self, table: Spa, index: usize, value: u64) {
        self.0.write(table.as_u64() + index as u64 * 8, value);
    }

    fn zero(&self, table: Spa) {
        self.0.zero(table);
    }

    fn clean(&self, table: Spa, first: usize, count: usize) {
        self.0
            .clean(table.as_u64() + first as u64 * 8, count as u64 * 8);
    }
}

impl TableSeam {
    /// One store of 128 bits.
    pub fn write_wide(&self, table: Spa, index: usize, low: u64, high: u64) {
        self.0
            .write_wide(table.as_u64() + index as u64 * 8, low, high);
    }
}

/// Configuration space.
pub struct ConfigSeam(pub Rc<Config>);

impl ConfigSpace for ConfigSeam {
    fn read8(&mut self, device: DeviceId, offset: u16) -> u8 {
        self.0.read(device, offset)
    }

    fn read16(&mut self, device: DeviceId, offset: u16) -> u16 {
        u16::from_le_bytes([0, 1].map(|at| self.0.read(device, offset + at)))
    }

    fn read32(&mut self, device: DeviceId, offset: u16) -> u32 {
        u32::from_le_bytes([0, 1, 2, 3].map(|at| self.0.read(device, offset + at)))
    }

    fn write8(&mut self, device: DeviceId, offset: u16, value: u8) {
        self.0.write(device, offset, value);
    }

    fn write16(&mut self, device: DeviceId, offset: u16, value: u16) {
        for (at, byte) in (0..).zip(value.to_le_bytes()) {
            self.0.write(device, offset + at, byte);
        }
    }

    fn write32(&mut self, device: DeviceId, offset: u16, value: u32) {
        for (at, byte) in (0..).zip(value.to_le_bytes()) {
            self.0.write(device, offset + at, byte);
        }
    }
}
