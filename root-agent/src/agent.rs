//! What the whole agent shares: the machine, the partitions, and what is to be told.
//!
//! Locks are spin locks, held shortly, in this order: board of a partition, its life, everything else. A hypercall
//! may be made under a board's lock: a VP that spins for the lock runs with interrupts on and leaves guest mode when
//! the hypervisor asks it to, so nobody waits for the holder. No interrupt handler takes a lock.

use abi::vendor::{Fault, fault_kind};
use address::DeviceId;
use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use spin::Mutex;

use crate::calls::vendor;
use crate::facts::Facts;
use crate::failure::Failure;
use crate::machine::Machine;
use crate::partition::Partition;
use crate::protocol::event::Event;

/// Events that wait at most; more are dropped, oldest first.
const EVENTS_MAX: usize = 4096;
/// Faults that are remembered.
const FAULTS_MAX: usize = 64;

/// The agent.
pub struct Agent<M> {
    /// What it runs on.
    pub machine: M,
    /// What it was told at its entry.
    pub facts: Facts,
    partitions: Mutex<Vec<Arc<Partition>>>,
    events: Mutex<VecDeque<Event>>,
    faults: Mutex<VecDeque<(Fault, String)>>,
    attached: Mutex<Option<String>>,
}

impl<M: Machine> Agent<M> {
    /// An agent without partitions.
    pub fn new(machine: M, facts: Facts) -> Self {
        Self {
            machine,
            facts,
            partitions: Mutex::new(Vec::new()),
            events: Mutex::new(VecDeque::new()),
            faults: Mutex::new(VecDeque::new()),
            attached: Mutex::new(None),
        }
    }

    /// All partitions.
    pub fn partitions(&self) -> Vec<Arc<Partition>> {
        self.partitions.lock().clone()
    }

    /// The partition with a name.
    pub fn partition(&self, name: &str) -> Result<Arc<Partition>, Failure> {
        let partitions = self.partitions.lock();
        let found = partitions.iter().find(|p| p.name == name).cloned();
        found.ok_or_else(|| Failure::not_found(alloc::format!("there is no partition \"{name}\"")))
    }

    /// The partition with an id.
    pub fn partition_by_id(&self, id: u64) -> Option<Arc<Partition>> {
        self.partitions.lock().iter().find(|p| p.id == id).cloned()
    }

    /// What to call the partition with an id.
    pub fn name_of(&self, id: u64) -> String {
        match id {
            0 => "-".to_string(),
            1 => "root".to_string(),
            id => match self.partition_by_id(id) {
                Some(partition) => partition.name.clone(),
                None => alloc::format!("#{id}"),
            },
        }
    }

    /// Makes a partition known.
    pub fn add(&self, partition: Arc<Partition>) {
        self.partitions.lock().push(partition);
    }

    /// Forgets a partition.
    pub fn forget(&self, id: u64) {
        self.partitions.lock().retain(|p| p.id != id);
    }

    /// Tells everybody.
    pub fn tell(&self, event: Event) {
        let mut events = self.events.lock();
        if events.len() >= EVENTS_MAX {
            events.pop_front();
        }
        events.push_back(event);
    }

    /// What is to be told.
    pub fn next_event(&self) -> Option<Event> {
        self.events.lock().pop_front()
    }

    /// Remembers a fault and tells of it.
    pub fn note_fault(&self, fault: Fault) {
        // By name, now: the partition may be gone when somebody asks.
        let partition = self.name_of(fault.partition);
        self.tell(Event::Fault {
            device: device_text(fault.device),
            address: fault.address,
            partition: partition.clone(),
            detail: fault_text(&fault),
        });
        let mut faults = self.faults.lock();
        if faults.len() >= FAULTS_MAX {
            faults.pop_front();
        }
        faults.push_back((fault, partition));
    }

    /// Takes what the hypervisor has recorded; a few at a time.
    pub fn collect_faults(&self) {
        for _ in 0..16 {
            match vendor::take_fault(&self.machine) {
                Some(fault) => self.note_fault(fault),
                None => break,
            }
        }
    }

    /// The faults that are remembered, each with its partition's name at that time.
    pub fn faults(&self) -> Vec<(Fault, String)> {
        self.faults.lock().iter().cloned().collect()
    }

    /// Shows a child's console to the person, or nobody's.
    pub fn attach_console(&self, name: Option<String>) {
        *self.attached.lock() = name;
    }

    /// Whose console the person sees.
    pub fn attached_console(&self) -> Option<String> {
        self.attached.lock().clone()
    }

    /// Waits this many milliseconds.
    pub fn wait_ms(&self, ms: u64) {
        let ticks = (self.facts.tsc_hz / 1000).saturating_mul(ms);
        let begin = self.machine.ticks();
        while self.machine.ticks().wrapping_sub(begin) < ticks {
            core::hint::spin_loop();
        }
    }
}

/// A device's name for people, from its name in hypercalls.
#[must_use]
pub fn device_text(name: u64) -> String {
    match abi::device::DeviceName::decode(name) {
        Some(abi::device::DeviceName::Pci(id)) => id.to_string(),
        Some(abi::device::DeviceName::IoApic(id)) => alloc::format!("ioapic:{id}"),
        None => alloc::format!("{name:#x}"),
    }
}

/// A fault in words.
#[must_use]
pub fn fault_text(fault: &Fault) -> String {
    let kind = match fault.kind {
        fault_kind::READ => "DMA read",
        fault_kind::WRITE => "DMA write",
        fault_kind::BLOCKED => "blocked, because it caused too many faults",
        fault_kind::UNIT_FAILED => "the remapping unit in front of its devices failed",
        _ => "interrupt",
    };
    alloc::format!("{kind}, reason {:#x}", fault.reason)
}

/// Reads a device's name: `bus:device.function` or `segment:bus:device.function`, in hex.
pub fn parse_device(text: &str) -> Result<DeviceId, Failure> {
    let wrong = || {
        Failure::usage(alloc::format!(
            "a device such as 0000:02:00.0 was expected, found \"{text}\""
        ))
    };
    let (place, function) = text.rsplit_once('.').ok_or_else(wrong)?;
    let hex = |digits: &str| u16::from_str_radix(digits, 16).map_err(|_| wrong());
    let parts: Vec<&str> = place.split(':').collect();
    let (segment, bus, device) = match parts.as_slice() {
        [bus, device] => (0, hex(bus)?, hex(device)?),
        [segment, bus, device] => (hex(segment)?, hex(bus)?, hex(device)?),
        _ => return Err(wrong()),
    };
    let byte = |number: u16| u8::try_from(number).map_err(|_| wrong());
    let function = byte(hex(function)?)?;
    DeviceId::new(segment, byte(bus)?, byte(device)?, function).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_named_with_or_without_segment() {
        let nic = DeviceId::new(0, 2, 0x1f, 1).unwrap();
        assert_eq!(parse_device("02:1f.1").unwrap(), nic);
        assert_eq!(parse_device("0000:02:1f.1").unwrap(), nic);
        for text in [
            "",
            "2",
            "02:00",
            "02:20.0",
            "02:00.8",
            "1:2:3:4.0",
            "zz:00.0",
            "100:00.0",
        ] {
            assert_eq!(parse_device(text).unwrap_err().status, "USAGE", "{text}");
        }
    }
}
