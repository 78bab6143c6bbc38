//! What emulation may do to the real function and to the child's address space.

use abi::interrupt::Entry;

use super::message::Target;

/// The real function behind a virtual one.
pub trait Hardware {
    /// Writes the real configuration space, through the guard.
    fn write_config(&mut self, offset: u16, size: u8, value: u32);

    /// Reads the real configuration space.
    fn read_config(&mut self, offset: u16, size: u8) -> u32;

    /// Reads a device register by system-physical address.
    fn read_register(&mut self, address: u64, size: u8) -> u64;

    /// Writes a device register by system-physical address.
    fn write_register(&mut self, address: u64, size: u8, value: u64);

    /// Shows pages of a BAR to the child.
    fn map_pages(&mut self, guest: u64, system: u64, pages: u64) -> bool;

    /// Hides pages from the child.
    fn unmap_pages(&mut self, guest: u64, pages: u64);

    /// Gets the device an interrupt; returns what to program into it.
    fn map_interrupt(&mut self, target: Target) -> Option<Entry>;

    /// Moves an interrupt.
    fn retarget_interrupt(&mut self, entry: Entry, target: Target) -> bool;

    /// Gives an interrupt back.
    fn unmap_interrupt(&mut self, entry: Entry);
}

/// Message address that a device is programmed with.
#[must_use]
pub const fn message_address(entry: Entry) -> u32 {
    entry.value as u32
}

/// Message data that a device is programmed with.
#[must_use]
pub const fn message_data(entry: Entry) -> u32 {
    (entry.value >> 32) as u32
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use alloc::vec::Vec;

    /// Hardware that remembers what was done to it.
    #[derive(Default)]
    pub struct Recorder {
        pub config_writes: Vec<(u16, u8, u32)>,
        pub registers: BTreeMap<u64, u64>,
        pub register_writes: Vec<(u64, u64)>,
        pub mapped: BTreeMap<u64, (u64, u64)>,
        pub interrupts: BTreeMap<u64, Target>,
        pub refuse_interrupts: bool,
        pub next: u64,
    }

    impl Hardware for Recorder {
        fn write_config(&mut self, offset: u16, size: u8, value: u32) {
            self.config_writes.push((offset, size, value));
        }
        fn read_config(&mut self, _: u16, _: u8) -> u32 {
            0
        }
        fn read_register(&mut self, address: u64, _: u8) -> u64 {
            self.registers.get(&address).copied().unwrap_or(0)
        }
        fn write_register(&mut self, address: u64, _: u8, value: u64) {
            self.registers.insert(address, value);
            self.register_writes.push((address, value));
        }
        fn map_pages(&mut self, guest: u64, system: u64, pages: u64) -> bool {
            self.mapped.insert(guest, (system, pages));
            true
        }
        fn unmap_pages(&mut self, guest: u64, pages: u64) {
            assert_eq!(self.mapped.remove(&guest).map(|m| m.1), Some(pages));
        }
        fn map_interrupt(&mut self, target: Target) -> Option<Entry> {
            if self.refuse_interrupts {
                return None;
            }
            self.next += 1;
            let value = 0xfee0_0010 | self.next << 32;
            self.interrupts.insert(value, target);
            Some(Entry {
                source: 1,
                reserved: 0,
                value,
            })
        }
        fn retarget_interrupt(&mut self, entry: Entry, target: Target) -> bool {
            self.interrupts.insert(entry.value, target).is_some()
        }
        fn unmap_interrupt(&mut self, entry: Entry) {
            assert!(self.interrupts.remove(&entry.value).is_some());
        }
    }
}
