//! The real function behind a virtual one, reached by hypercalls.

use abi::interrupt::Entry;
use abi::memory::{MAP_MAX, map_flags};
use address::DeviceId;
use alloc::vec::Vec;

use super::{deposit, memory};
use crate::agent::Agent;
use crate::calls::{self, interrupt};
use crate::emulation::pci::bus::HardwareOf;
use crate::emulation::pci::hardware::Hardware;
use crate::emulation::pci::message::Target;
use crate::machine::Machine;
use crate::pci::config::{ConfigSpace, RealConfig};

const PAGE: u64 = 4096;

/// The devices of a partition.
pub struct ChildDevices<'a, M> {
    /// The agent.
    pub agent: &'a Agent<M>,
    /// The partition that has them.
    pub partition: u64,
}

impl<'a, M: Machine> HardwareOf for ChildDevices<'a, M> {
    type Hardware = ChildDevice<'a, M>;

    fn of(&mut self, device: DeviceId) -> Self::Hardware {
        ChildDevice {
            agent: self.agent,
            partition: self.partition,
            device,
        }
    }
}

/// A device of a partition.
pub struct ChildDevice<'a, M> {
    agent: &'a Agent<M>,
    partition: u64,
    device: DeviceId,
}

impl<M: Machine> ChildDevice<'_, M> {
    fn config(&self) -> RealConfig<'_, M> {
        RealConfig::new(&self.agent.machine, &self.agent.facts, self.device)
    }
}

impl<M: Machine> Hardware for ChildDevice<'_, M> {
    fn write_config(&mut self, offset: u16, size: u8, value: u32) {
        // The guard may refuse; the guest then has a device that does not do it, as with broken hardware.
        let _ = self.config().write(offset, size, value);
    }

    fn read_config(&mut self, offset: u16, size: u8) -> u32 {
        self.config().read(offset, size)
    }

    fn read_register(&mut self, address: u64, size: u8) -> u64 {
        self.agent.machine.read_register(address, size)
    }

    fn write_register(&mut self, address: u64, size: u8, value: u64) {
        self.agent.machine.write_register(address, size, value);
    }

    fn map_pages(&mut self, guest: u64, system: u64, pages: u64) -> bool {
        let flags = map_flags::READ | map_flags::WRITE | map_flags::NOT_CACHED;
        let numbers: Vec<u64> = (system / PAGE..system / PAGE + pages).collect();
        let mut gpfn = guest / PAGE;
        for chunk in numbers.chunks(MAP_MAX) {
            let machine = &self.agent.machine;
            if memory::map_chunk(machine, self.partition, gpfn, chunk, flags).is_err() {
                self.unmap_pages(guest, gpfn - guest / PAGE);
                return false;
            }
            gpfn += chunk.len() as u64;
        }
        true
    }

    fn unmap_pages(&mut self, guest: u64, pages: u64) {
        let mut left = pages;
        while left > 0 {
            // A repetition count has 12 bits.
            let now = left.min(0xfff);
            let first = guest / PAGE + (pages - left);
            let _ = calls::memory::unmap(&self.agent.machine, self.partition, first, now as usize);
            left -= now;
        }
    }

    fn map_interrupt(&mut self, target: Target) -> Option<Entry> {
        let machine = &self.agent.machine;
        deposit::while_needed(machine, self.partition, || {
            interrupt::map(
                machine,
                self.partition,
                self.device,
                target.vp,
                target.vector,
            )
        })
        .ok()
    }

    fn retarget_interrupt(&mut self, entry: Entry, target: Target) -> bool {
        let target = (target.vp, target.vector);
        let machine = &self.agent.machine;
        interrupt::retarget(machine, self.partition, self.device, entry, target).is_ok()
    }

    fn unmap_interrupt(&mut self, entry: Entry) {
        // The entry may be gone already, with the device.
        let _ = interrupt::unmap(&self.agent.machine, self.partition, self.device, entry);
    }
}
