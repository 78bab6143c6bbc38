//! A dialect: its model, and the seam between the two.

use std::rc::Rc;

use address::Spa;
use iommu::{Clock, Description, Dialect, Hardware, Registers, WideMemory};
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
    /// What firmware says about it.
    fn description() -> Description;
}

/// Units that walk from a root table.
pub struct VtdArm;

/// The seam to a modelled unit.
pub struct VtdSeam {
    unit: Rc<Vtd>,
    tables: TableSeam,
    clock: Rc<Ticks>,
}

impl Arm for VtdArm {
    type Unit = Vtd;
    type Hardware = VtdSeam;

    fn unit(traits: Traits, memory: &Rc<Memory>, clock: &Rc<Ticks>) -> (Rc<Vtd>, VtdSeam) {
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
            ..Capabilities::default()
        };
        let unit = Rc::new(Vtd::new(can, memory.clone()));
        let seam = VtdSeam {
            unit: unit.clone(),
            tables: TableSeam(memory.clone()),
            clock: clock.clone(),
        };
        (unit, seam)
    }

    fn description() -> Description {
        Description {
            dialect: Dialect::RootTable,
            host_bits: 46,
            caches_absent: false,
        }
    }
}

impl Registers for VtdSeam {
    fn read32(&self, offset: usize) -> u32 {
        self.unit.read32(offset)
    }

    fn read64(&self, offset: usize) -> u64 {
        self.unit.read64(offset)
    }

    fn write32(&self, offset: usize, value: u32) {
        self.unit.write32(offset, value);
    }

    fn write64(&self, offset: usize, value: u64) {
        self.unit.write64(offset, value);
    }
}

impl TableMemory for VtdSeam {
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

impl WideMemory for VtdSeam {
    fn write_wide(&self, table: Spa, index: usize, low: u64, high: u64) {
        self.tables.write_wide(table, index, low, high);
    }
}

impl Clock for VtdSeam {
    fn now(&self) -> u64 {
        self.clock.now()
    }

    fn ticks_per_us(&self) -> u64 {
        1
    }
}
