//! The virtual MSI-X table (PCI Local Bus Specification 3.0, 6.8.2). The guest's table lives here; the real one holds
//! pairs that the hypervisor gave, and is written only when something changes.

use abi::interrupt::Entry;
use alloc::vec::Vec;

use super::hardware::{Hardware, message_address, message_data};
use super::message::Target;
use super::space::Space;
use crate::pci::description::MsixDescription;

/// An entry of the guest's table, and what became of it.
#[derive(Clone, Copy, Default)]
struct Vector {
    address: u64,
    data: u32,
    control: u32,
    granted: Option<(Entry, Target)>,
    /// Whether the real entry is unmasked.
    live: bool,
}

const MASKED: u32 = 1;
/// Bits of the message control register's high byte.
const ENABLE: u32 = 1 << 7;
const FUNCTION_MASK: u32 = 1 << 6;

/// State of a function's MSI-X.
pub struct Msix {
    /// Where everything lies.
    pub description: MsixDescription,
    vectors: Vec<Vector>,
    enabled: bool,
}

impl Msix {
    /// MSI-X that is off, every entry masked.
    #[must_use]
    pub fn new(description: MsixDescription) -> Self {
        let vector = Vector {
            control: MASKED,
            ..Vector::default()
        };
        Self {
            vectors: alloc::vec![vector; usize::from(description.entries)],
            description,
            enabled: false,
        }
    }

    /// Reads from a trapped page, by offset in the BAR with this index; 4 or 8 aligned bytes, or less of a register
    /// that is neither table nor pending bits.
    pub fn read(&self, bar: u8, offset: u64, size: u8, hardware: &mut impl Hardware) -> u64 {
        let table = &self.description.table;
        if bar == table.bar.index && table.contains(offset, size) {
            let into = offset - table.offset;
            let word = |at: u64| u64::from(self.word(at));
            let shift = 8 * (into & 3);
            return match size {
                8 => word(into) | word(into + 4) << 32,
                _ => word(into & !3) >> shift,
            };
        }
        match self.neighbour(bar, offset, size) {
            Some(address) => hardware.read_register(address, size),
            None => u64::MAX,
        }
    }

    /// Writes to a trapped page.
    pub fn write(
        &mut self,
        (bar, offset, size): (u8, u64, u8),
        value: u64,
        (space, vps): (&Space, u32),
        hardware: &mut impl Hardware,
    ) {
        let table = self.description.table;
        if bar == table.bar.index && table.contains(offset, size) {
            let into = offset - table.offset;
            if size == 4 || size == 8 {
                self.set_word(into, value as u32);
            }
            if size == 8 {
                self.set_word(into + 4, (value >> 32) as u32);
            }
            self.settle_vector((into / 16) as usize, space, vps, hardware);
            return;
        }
        let pending = &self.description.pending;
        let read_only = bar == pending.bar.index && pending.contains(offset, size);
        if let Some(address) = self.neighbour(bar, offset, size).filter(|_| !read_only) {
            hardware.write_register(address, size, value);
        }
    }

    /// System-physical address of a register that shares a page with the structures; never one of the table.
    fn neighbour(&self, bar: u8, offset: u64, size: u8) -> Option<u64> {
        let aligned = size != 0 && offset.is_multiple_of(u64::from(size));
        let table = &self.description.table;
        let end = offset + u64::from(size);
        let in_table =
            bar == table.bar.index && offset < table.offset + table.length && table.offset < end;
        let places = [table, &self.description.pending];
        let real = places.iter().find(|place| place.bar.index == bar)?.bar;
        (aligned && !in_table && end <= real.size).then_some(real.address + offset)
    }

    fn word(&self, into: u64) -> u32 {
        let Some(vector) = self.vectors.get((into / 16) as usize) else {
            return u32::MAX;
        };
        match into % 16 / 4 {
            0 => vector.address as u32,
            1 => (vector.address >> 32) as u32,
            2 => vector.data,
            _ => vector.control,
        }
    }

    fn set_word(&mut self, into: u64, value: u32) {
        let Some(vector) = self.vectors.get_mut((into / 16) as usize) else {
            return;
        };
        match into % 16 / 4 {
            0 => vector.address = vector.address >> 32 << 32 | u64::from(value & !3),
            1 => vector.address = u64::from(vector.address as u32) | u64::from(value) << 32,
            2 => vector.data = value,
            _ => vector.control = value & MASKED,
        }
    }

    /// Makes hardware follow the virtual control register.
    pub fn settle(&mut self, space: &Space, vps: u32, hardware: &mut impl Hardware) {
        let enabled = self.control(space) & ENABLE != 0;
        if enabled && !self.enabled {
            // What an earlier owner left in the real table must not fire when it comes on.
            (0..self.vectors.len()).for_each(|index| self.write_mask(index, true, hardware));
            self.write_enable(hardware, true);
            self.enabled = true;
        }
        if self.enabled && !enabled {
            self.disable(hardware);
        }
        (0..self.vectors.len()).for_each(|index| self.settle_vector(index, space, vps, hardware));
    }

    /// Turns everything off, on hardware first.
    pub fn disable(&mut self, hardware: &mut impl Hardware) {
        if !core::mem::take(&mut self.enabled) {
            return;
        }
        self.write_enable(hardware, false);
        for vector in &mut self.vectors {
            vector.live = false;
            if let Some((entry, _)) = vector.granted.take() {
                hardware.unmap_interrupt(entry);
            }
        }
    }

    /// The interrupt that a table entry has been given.
    #[must_use]
    pub fn entry(&self, index: usize) -> Option<Entry> {
        let granted = self.vectors.get(index)?.granted;
        granted.map(|(entry, _)| entry)
    }

    fn control(&self, space: &Space) -> u32 {
        space.read(u16::from(self.description.offset) + 3, 1)
    }

    fn settle_vector(
        &mut self,
        index: usize,
        space: &Space,
        vps: u32,
        hardware: &mut impl Hardware,
    ) {
        let open = self.enabled && self.control(space) & FUNCTION_MASK == 0;
        let Some(&vector) = self.vectors.get(index) else {
            return;
        };
        let wanted = (open && vector.control & MASKED == 0)
            .then(|| Target::decode(vector.address, vector.data, vps))
            .flatten();
        let granted = wanted.is_some_and(|target| self.grant(index, target, hardware));
        if granted != vector.live {
            self.write_mask(index, !granted, hardware);
            if let Some(vector) = self.vectors.get_mut(index) {
                vector.live = granted;
            }
        }
    }

    /// Sees to it that an entry has an interrupt to this target; false where the hypervisor refuses.
    fn grant(&mut self, index: usize, target: Target, hardware: &mut impl Hardware) -> bool {
        let Some(vector) = self.vectors.get_mut(index) else {
            return false;
        };
        match vector.granted {
            Some((_, old)) if old == target => true,
            Some((entry, _)) => {
                let moved = hardware.retarget_interrupt(entry, target);
                if moved {
                    vector.granted = Some((entry, target));
                }
                moved
            }
            None => {
                let Some(entry) = hardware.map_interrupt(target) else {
                    return false;
                };
                vector.granted = Some((entry, target));
                let at = self.real(index);
                hardware.write_register(at, 4, u64::from(message_address(entry)));
                hardware.write_register(at + 4, 4, 0);
                hardware.write_register(at + 8, 4, u64::from(message_data(entry)));
                true
            }
        }
    }

    /// System-physical address of a real entry.
    fn real(&self, index: usize) -> u64 {
        let table = &self.description.table;
        table.bar.address + table.offset + 16 * index as u64
    }

    fn write_mask(&self, index: usize, masked: bool, hardware: &mut impl Hardware) {
        hardware.write_register(self.real(index) + 12, 4, u64::from(masked));
    }

    fn write_enable(&self, hardware: &mut impl Hardware, on: bool) {
        let at = u16::from(self.description.offset) + 2;
        hardware.write_config(at, 2, if on { 0x8000 } else { 0 });
    }
}

#[cfg(test)]
mod tests {
    use super::super::hardware::tests::Recorder;
    use super::*;
    use crate::pci::description::tests::Fake;

    struct Bench {
        msix: Msix,
        space: Space,
        hardware: Recorder,
    }

    impl Bench {
        fn new() -> Self {
            let description = Fake::network_card().describe().unwrap();
            Self {
                msix: Msix::new(description.msix.unwrap()),
                space: Space::of(&description),
                hardware: Recorder::default(),
            }
        }

        fn write(&mut self, offset: u64, value: u32) {
            let space = (&self.space, 2);
            let at = (3, offset, 4);
            self.msix.write(at, value.into(), space, &mut self.hardware);
        }

        fn control(&mut self, high: u32) {
            self.space.write(0xa3, 1, high);
            self.msix.settle(&self.space, 2, &mut self.hardware);
        }

        fn program(&mut self, entry: u64, vector: u32) {
            self.write(16 * entry, 0xfee0_1000);
            self.write(16 * entry + 8, vector);
            self.write(16 * entry + 12, 0);
        }
    }

    const TABLE: u64 = 0xfebd_0000;

    #[test]
    fn int_01_the_real_table_holds_the_hypervisors_pair() {
        let mut bench = Bench::new();
        bench.control(0x80);
        bench.program(1, 0x41);
        let real = |offset| bench.hardware.registers[&(TABLE + 16 + offset)];
        assert_eq!((real(0), real(8), real(12)), (0xfee0_0010, 1, 0));
        assert_eq!(bench.msix.word(16), 0xfee0_1000, "the guest reads its own");
        let target = Target {
            vp: 1,
            vector: 0x41,
        };
        assert!(bench.hardware.interrupts.values().eq([&target]));
    }

    #[test]
    fn masking_reaches_hardware_only_on_a_change() {
        let mut bench = Bench::new();
        bench.control(0x80);
        bench.program(0, 0x41);
        bench.hardware.register_writes.clear();
        bench.write(12, 0);
        assert!(bench.hardware.register_writes.is_empty());
        bench.write(12, 1);
        bench.write(12, 1);
        assert_eq!(bench.hardware.register_writes, [(TABLE + 12, 1)]);
        bench.write(12, 0);
        assert_eq!(bench.hardware.register_writes.len(), 2);
    }

    #[test]
    fn a_new_vector_moves_the_interrupt_that_is_there() {
        let mut bench = Bench::new();
        bench.control(0x80);
        bench.program(0, 0x41);
        bench.write(8, 0x42);
        assert_eq!(bench.hardware.interrupts.len(), 1);
        assert_eq!(bench.hardware.interrupts[&0x1_fee0_0010].vector, 0x42);
    }

    #[test]
    fn cfg_13_the_function_mask_masks_all_and_disabling_gives_all_back() {
        let mut bench = Bench::new();
        bench.program(0, 0x41);
        bench.program(4, 0x45);
        assert!(bench.hardware.interrupts.is_empty(), "not enabled yet");
        bench.control(0xc0);
        assert!(bench.hardware.interrupts.is_empty());
        bench.control(0x80);
        assert_eq!(bench.hardware.interrupts.len(), 2);
        bench.control(0xc0);
        assert_eq!(bench.hardware.registers[&(TABLE + 12)], 1);
        bench.control(0x00);
        assert!(bench.hardware.interrupts.is_empty());
        assert_eq!(bench.hardware.config_writes.last(), Some(&(0xa2, 2, 0)));
    }

    #[test]
    fn int_01_a_message_that_a_child_may_not_send_stays_masked() {
        let mut bench = Bench::new();
        bench.control(0x80);
        bench.program(0, 0x441);
        assert!(bench.hardware.interrupts.is_empty());
        assert_eq!(bench.hardware.registers[&(TABLE + 12)], 1);
        bench.hardware.refuse_interrupts = true;
        bench.program(0, 0x41);
        assert_eq!(bench.hardware.registers[&(TABLE + 12)], 1);
    }

    #[test]
    fn int_02_pending_bits_are_read_only_and_the_table_is_never_passed_through() {
        let mut bench = Bench::new();
        bench.hardware.registers.insert(TABLE + 0x2000, 2);
        let read = |bench: &mut Bench, at, size| bench.msix.read(3, at, size, &mut bench.hardware);
        assert_eq!(read(&mut bench, 0x2000, 8), 2);
        bench.write(0x2000, 0xff);
        assert_eq!(bench.hardware.registers[&(TABLE + 0x2000)], 2);
        bench.write(0x2008, 7);
        assert_eq!(bench.hardware.registers[&(TABLE + 0x2008)], 7);
        for (at, size) in [
            (78u64, 8u8),
            (0x4e, 4),
            (u64::from(u32::MAX), 8),
            (0x3fff, 2),
        ] {
            assert_eq!(read(&mut bench, at, size), u64::MAX, "{at:x}");
        }
    }

    #[test]
    fn int_17_no_order_of_operations_loses_an_interrupt_entry() {
        let mut bench = Bench::new();
        let mut state = 3u32;
        for _ in 0..20_000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (kind, value) = (state >> 28, state >> 8);
            bench.hardware.refuse_interrupts = value & 0x700 == 0;
            match kind {
                0..=1 => bench.control(value & 0xc0),
                2..=6 => bench.program(u64::from(value % 5), 0x30 + (value >> 4) % 64),
                _ => bench.write(u64::from(value % 20) * 4, value),
            }
            let granted = bench.msix.vectors.iter().filter(|v| v.granted.is_some());
            assert_eq!(granted.count(), bench.hardware.interrupts.len());
            for (index, vector) in bench.msix.vectors.iter().enumerate() {
                let real = bench
                    .hardware
                    .registers
                    .get(&bench.msix.real(index).wrapping_add(12));
                assert!(!vector.live || vector.granted.is_some() && real == Some(&0));
            }
        }
        bench.control(0);
        assert!(bench.hardware.interrupts.is_empty());
    }
}
