//! A dialect: its model, and the seam between the two.

use std::rc::Rc;

use address::Spa;
use iommu::{Clock, Description, Dialect, Hardware, Registers, WideMemory};
use model::amdvi::{self, Amdvi};
use model::vtd::{Capabilities, Vtd};
use model::{Memory, Ticks, Unit};
use paging::TableMemory;

use crate::TableSeam;

/// What a unit is to be like, in no dialect's words.
#[derive(Clone, Copy, Debug)]
pub struct Traits {
    /// Widest device address, in bits: 39, 48.
    pub bits: u8,
    /// Remembers what is absent.
    pub caches_absent: bool,
    /// Walker snoops.
    pub coherent: bool,
    /// Wants its write buffers flushed.
    pub write_buffer: bool,
    /// Remaps interrupts to every local APIC.
    pub interrupts: bool,
    /// Has superpages.
    pub superpages: bool,
    /// Page-selective invalidation.
    pub selective: bool,
    /// Few domains: 16.
    pub few_domains: bool,
    /// Posts interrupts, where the dialect can.
    pub posts: bool,
}

impl Default for Traits {
    fn default() -> Self {
        Self {
            bits: 48,
            caches_absent: false,
            coherent: true,
            write_buffer: false,
            interrupts: true,
            superpages: true,
            selective: true,
            few_domains: false,
            posts: false,
        }
    }
}

/// A dialect to run on.
pub trait Arm: Sized + 'static {
    /// The modelled unit.
    type Unit: Unit;
    /// The seam to it.
    type Hardware: Hardware;

    /// A unit out of reset, and the seam to it.
    fn unit(
        traits: Traits,
        memory: &Rc<Memory>,
        clock: &Rc<Ticks>,
    ) -> (Rc<Self::Unit>, Self::Hardware);
    /// Narrowest device address that a unit can have, in bits.
    const NARROWEST: u8;
    /// [`Traits::superpages`] and [`Traits::few_domains`] can be had.
    const OPTIONS: bool;
    /// [`Traits::posts`] can be had.
    const POSTS: bool;
    /// A pin's redirection entry holds the vector that is delivered.
    const PIN_HOLDS_VECTOR: bool;

    /// Messages that a device could try that has only this one: other handles, and what is not remapped.
    fn forged(address: u64, data: u32) -> Vec<(u64, u32)>;
    /// The message that an I/O APIC sends by a redirection entry.
    fn pin_message(entry: u64) -> (u64, u32);
    /// What firmware says about it.
    fn description(traits: Traits) -> Description;
}

/// Units that walk from a root table.
pub struct VtdArm;

/// Units with a device table.
pub struct AmdviArm;

/// The seam to a modelled unit.
pub struct UnitSeam<U> {
    unit: Rc<U>,
    tables: TableSeam,
    clock: Rc<Ticks>,
}

impl<U> UnitSeam<U> {
    /// To this unit, the memory that its tables lie in, and time.
    #[must_use]
    pub fn new(unit: &Rc<U>, memory: &Rc<Memory>, clock: &Rc<Ticks>) -> Self {
        Self {
            unit: unit.clone(),
            tables: TableSeam(memory.clone()),
            clock: clock.clone(),
        }
    }
}

/// What software sees of a modelled unit.
pub trait Block {
    /// A 32-bit read.
    fn read32(&self, offset: usize) -> u32;
    /// A 64-bit read.
    fn read64(&self, offset: usize) -> u64;
    /// A 32-bit write.
    fn write32(&self, offset: usize, value: u32);
    /// A 64-bit write.
    fn write64(&self, offset: usize, value: u64);
}

macro_rules! block {
    ($unit:ty) => {
        impl Block for $unit {
            fn read32(&self, offset: usize) -> u32 {
                self.read32(offset)
            }
            fn read64(&self, offset: usize) -> u64 {
                self.read64(offset)
            }
            fn write32(&self, offset: usize, value: u32) {
                self.write32(offset, value);
            }
            fn write64(&self, offset: usize, value: u64) {
                self.write64(offset, value);
            }
        }
    };
}

block!(Vtd);
block!(Amdvi);

/// Every delivery mode, some vectors and destinations, in the format without remapping.
fn compatibility() -> impl Iterator<Item = (u64, u32)> {
    let vectors = [0u32, 2, 0x30, 0x80, 0xff];
    let modes = (0..8).flat_map(move |mode| vectors.map(|vector| mode << 8 | vector));
    modes
        .flat_map(|data| [0u64, 1, 0xff].map(|destination| (0xfee0_0000 | destination << 12, data)))
}

impl Arm for VtdArm {
    const NARROWEST: u8 = 39;
    const OPTIONS: bool = true;
    const POSTS: bool = true;
    const PIN_HOLDS_VECTOR: bool = true;

    type Unit = Vtd;
    type Hardware = UnitSeam<Vtd>;

    fn unit(traits: Traits, memory: &Rc<Memory>, clock: &Rc<Ticks>) -> (Rc<Vtd>, UnitSeam<Vtd>) {
        let can = Capabilities {
            sagaw: if traits.bits > 39 { 0b0110 } else { 0b0010 },
            mgaw: traits.bits,
            superpages: if traits.superpages { 0b11 } else { 0 },
            nd: if traits.few_domains { 0 } else { 6 },
            caching_mode: traits.caches_absent,
            write_buffer: traits.write_buffer,
            coherent: traits.coherent,
            page_selective: traits.selective.then_some(9),
            interrupts: traits.interrupts,
            extended: traits.interrupts,
            posts: traits.posts,
            ..Capabilities::default()
        };
        let unit = Rc::new(Vtd::new(can, memory.clone()));
        let seam = UnitSeam::new(&unit, memory, clock);
        (unit, seam)
    }

    fn forged(address: u64, data: u32) -> Vec<(u64, u32)> {
        let handles = (1..0x800).map(|step| (address + (step << 5), data));
        let subhandles = [1, 2, 0x100, 0xffff].map(|other| (address | 8, other));
        handles.chain(subhandles).chain(compatibility()).collect()
    }

    fn pin_message(entry: u64) -> (u64, u32) {
        assert_eq!(entry >> 48 & 1, 1, "remappable format");
        (0xfee0_0010 | (entry >> 49) << 5, 0)
    }

    fn description(_: Traits) -> Description {
        Description {
            dialect: Dialect::RootTable,
            host_bits: 46,
            caches_absent: false,
        }
    }
}

impl Arm for AmdviArm {
    const NARROWEST: u8 = 48;
    const OPTIONS: bool = false;
    const POSTS: bool = false;
    const PIN_HOLDS_VECTOR: bool = false;

    type Unit = Amdvi;
    type Hardware = UnitSeam<Amdvi>;

    fn unit(
        traits: Traits,
        memory: &Rc<Memory>,
        clock: &Rc<Ticks>,
    ) -> (Rc<Amdvi>, UnitSeam<Amdvi>) {
        // Four levels are the least there are, walks always snoop, and sizes and ranges are always on offer: these traits
        // of the other dialect have nothing here to be.
        let can = amdvi::Capabilities {
            levels: match traits.bits {
                // What does not exist.
                0..39 => 7,
                39..=48 => 4,
                _ => 6,
            },
            x2apic: traits.interrupts,
            caches_absent: traits.caches_absent,
            invalidate_all: traits.selective,
            ..amdvi::Capabilities::default()
        };
        let unit = Rc::new(Amdvi::new(can, memory.clone()));
        let seam = UnitSeam::new(&unit, memory, clock);
        (unit, seam)
    }

    fn forged(address: u64, data: u32) -> Vec<(u64, u32)> {
        let handles = (0..0x1_0000).map(|other| (address, other));
        let foreign = |it: &(u64, u32)| it.1 & 0x7ff != data & 0x7ff;
        handles.chain(compatibility()).filter(foreign).collect()
    }

    fn pin_message(entry: u64) -> (u64, u32) {
        assert_eq!(entry >> 8 & 7, 0, "fixed delivery");
        // Vector, delivery mode and trigger of the entry are those of the message (82093AA, section 3.2.4).
        (0xfee0_0000, (entry & 0x87ff) as u32)
    }

    fn description(traits: Traits) -> Description {
        Description {
            dialect: Dialect::DeviceTable,
            host_bits: 46,
            caches_absent: traits.caches_absent,
        }
    }
}

impl<U: Block> Registers for UnitSeam<U> {
    fn read32(&self, offset: usize) -> u32 {
        self.unit.read32(offset)
    }

    fn read64(&self, offset: usize) -> u64 {
        self.unit.read64(offset)
    }

    fn write32(&self, offset: usize, value: u32) {
        self.unit.write32(offset, value);
        self.tables.0.seen();
    }

    fn write64(&self, offset: usize, value: u64) {
        self.unit.write64(offset, value);
        self.tables.0.seen();
    }
}

impl<U> TableMemory for UnitSeam<U> {
    fn read(&self, table: Spa, index: usize) -> u64 {
        self.tables.read(table, index)
    }

    fn write(&self, table: Spa, index: usize, value: u64) {
        self.tables.write(table, index, value);
    }

    fn zero(&self, table: Spa) {
        self.tables.zero(table);
    }

    fn clean(&self, table: Spa, first: usize, count: usize) {
        self.tables.clean(table, first, count);
    }
}

impl<U> WideMemory for UnitSeam<U> {
    fn write_wide(&self, table: Spa, index: usize, low: u64, high: u64) {
        self.tables.write_wide(table, index, low, high);
    }
}

impl<U> Clock for UnitSeam<U> {
    fn now(&self) -> u64 {
        self.clock.now()
    }

    fn ticks_per_us(&self) -> u64 {
        1
    }
}
