//! Functions on a bus: configuration space, and the way of their requests through bridges to the unit.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use address::{DeviceId, Spa};

use crate::{Delivered, Refused, Unit};

/// Configuration space of all functions: the first 256 bytes.
#[derive(Debug, Default)]
pub struct Config {
    functions: RefCell<BTreeMap<DeviceId, [u8; 256]>>,
}

impl Config {
    /// Adds a function whose bus mastering firmware left on.
    pub fn add(&self, device: DeviceId) {
        let mut space = [0; 256];
        space[..4].copy_from_slice(&[0x34, 0x12, 0xc9, 0x10]);
        space[4] = 0x07;
        self.functions.borrow_mut().insert(device, space);
    }

    /// The function was pulled out.
    pub fn remove(&self, device: DeviceId) {
        self.functions.borrow_mut().remove(&device);
    }

    /// Reads a byte; all ones where nobody is.
    pub fn read(&self, device: DeviceId, offset: u16) -> u8 {
        let functions = self.functions.borrow();
        let space = functions.get(&device);
        space
            .and_then(|it| it.get(usize::from(offset)))
            .copied()
            .unwrap_or(0xff)
    }

    /// Writes a byte.
    pub fn write(&self, device: DeviceId, offset: u16, value: u8) {
        let mut functions = self.functions.borrow_mut();
        let space = functions.get_mut(&device);
        if let Some(byte) = space.and_then(|it| it.get_mut(usize::from(offset))) {
            *byte = value;
        }
    }

    /// Bit 2 of the command register.
    pub fn bus_master(&self, device: DeviceId) -> bool {
        let command = self.read(device, 4);
        command != 0xff && command & 4 != 0
    }
}

/// One segment: functions, the bridges above each, and the unit that each goes through.
pub struct Bus<U> {
    config: Rc<Config>,
    ways: BTreeMap<DeviceId, (Vec<DeviceId>, Rc<U>)>,
}

impl<U: Unit> Bus<U> {
    /// An empty bus.
    pub fn new(config: Rc<Config>) -> Self {
        Self {
            config,
            ways: BTreeMap::new(),
        }
    }

    /// Adds a function below bridges (nearest first), behind a unit.
    pub fn add(&mut self, device: DeviceId, bridges: &[DeviceId], unit: Rc<U>) {
        self.config.add(device);
        self.ways.insert(device, (bridges.to_vec(), unit));
    }

    fn way(&self, device: DeviceId) -> Result<&Rc<U>, Refused> {
        let (bridges, unit) = self.ways.get(&device).ok_or(Refused::BusMaster)?;
        let open =
            self.config.bus_master(device) && bridges.iter().all(|&it| self.config.bus_master(it));
        if open {
            Ok(unit)
        } else {
            Err(Refused::BusMaster)
        }
    }

    /// A function's access, under its own requester id.
    ///
    /// # Errors
    /// Where bus mastering is off on the way, or the unit refuses.
    pub fn dma(&self, device: DeviceId, iova: u64, write: bool) -> Result<Spa, Refused> {
        self.way(device)?.dma(device.requester.0, iova, write)
    }

    /// A function's access under an alias, as a bridge makes it.
    ///
    /// # Errors
    /// As [`Self::dma`].
    pub fn dma_as(
        &self,
        device: DeviceId,
        requester: u16,
        iova: u64,
        write: bool,
    ) -> Result<Spa, Refused> {
        self.way(device)?.dma(requester, iova, write)
    }

    /// A function writes a message.
    ///
    /// # Errors
    /// As [`Self::dma`].
    pub fn interrupt(
        &self,
        device: DeviceId,
        address: u64,
        data: u32,
    ) -> Result<Delivered, Refused> {
        self.way(device)?
            .interrupt(device.requester.0, address, data)
    }
}
