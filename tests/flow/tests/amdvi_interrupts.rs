//! Interrupt entries of this dialect in both their formats, by the unit's own verbs.

use std::rc::Rc;

use address::{ApicId, Spa, Vector};
use flow::*;
use iommu::{Error, Source, Target, Trigger, UnitMemory};
use model::amdvi::{Amdvi, Capabilities};
use model::{Delivered, Memory, Refused, Unit};

const SOURCE: Source = Source::Exact(A.requester);

struct Machine {
    memory: Rc<Memory>,
    hardware: Rc<Amdvi>,
    unit: iommu::Unit<UnitSeam<Amdvi>>,
    pool: Pool,
}

impl Machine {
    /// A unit that has been taken over.
    fn new(can: Capabilities) -> Self {
        let memory = Rc::new(Memory::default());
        let hardware = Rc::new(Amdvi::new(can, memory.clone()));
        let seam = UnitSeam::new(&hardware, &memory, &Rc::default());
        let mut unit = iommu::Unit::probe(AmdviArm::description(Traits::default()), seam).unwrap();
        let mut pool = Pool::new(0x200, 16);
        let base = Spa::new(0x1000_0000);
        let frames = unit.memory_frames();
        unit.enable(&mut pool, UnitMemory { base, frames }).unwrap();
        Self {
            memory,
            hardware,
            unit,
            pool,
        }
    }

    /// One with entries of either format: 128 bits, 32 bits.
    fn of_each_format() -> [Self; 2] {
        let narrow = Capabilities {
            wide_entries: false,
            x2apic: false,
            ..Capabilities::default()
        };
        [Capabilities::default(), narrow].map(Self::new)
    }

    fn set(&mut self, index: u16, apic: u32, vector: u8) -> Result<(), Error> {
        let target = Target {
            apic: ApicId(apic),
            vector: Vector(vector),
            trigger: Trigger::Edge,
        };
        self.unit
            .set_interrupt(index, SOURCE, target, &mut self.pool)
    }

    fn raise(&self, index: u32) -> Result<Delivered, Refused> {
        self.hardware.interrupt(A.requester.0, 0xfee0_0000, index)
    }

    fn goes_to(&self, index: u32) -> Option<(u32, u8)> {
        self.raise(index).ok().map(|it| (it.apic, it.vector))
    }
}

#[test]
fn int_05_neighbours_in_a_table_do_not_touch_each_other() {
    for mut machine in Machine::of_each_format() {
        for (index, apic) in [(0, 7), (1, 0xfe), (2, 0)] {
            machine.set(index, apic, 0x40 + index as u8).unwrap();
        }
        let all = |machine: &Machine| [0, 1, 2, 3].map(|index| machine.goes_to(index));
        let set = [Some((7, 0x40)), Some((0xfe, 0x41)), Some((0, 0x42)), None];
        assert_eq!(all(&machine), set);
        machine.unit.mask_interrupt(1, SOURCE, true).unwrap();
        assert_eq!(all(&machine), [set[0], None, set[2], None]);
        machine.unit.mask_interrupt(1, SOURCE, false).unwrap();
        machine.unit.clear_interrupt(0, SOURCE).unwrap();
        assert_eq!(all(&machine), [None, set[1], set[2], None]);
        assert_eq!(machine.unit.choose_interrupt(SOURCE, 9), Some(0));
    }
}

#[test]
fn int_09_processors_that_an_entry_cannot_name_and_vectors_that_are_none_are_refused() {
    let [mut wide, mut narrow] = Machine::of_each_format();
    assert_eq!(wide.set(0, 0x0102_0304, 0x41), Ok(()));
    assert_eq!(wide.goes_to(0), Some((0x0102_0304, 0x41)));
    // All ones is everybody.
    assert_eq!(wide.set(0, u32::MAX, 0x41), Err(Error::Target));
    for apic in [0xff, 0x100, u32::MAX] {
        assert_eq!(narrow.set(0, apic, 0x41), Err(Error::Target));
    }
    for machine in [&mut wide, &mut narrow] {
        for vector in [0, 2, 0x1f] {
            assert_eq!(machine.set(0, 1, vector), Err(Error::Target));
        }
    }
    assert_eq!(wide.set(256, 1, 0x41), Err(Error::Index));
    assert_eq!(narrow.set(512, 1, 0x41), Err(Error::Index));
    assert_eq!(narrow.set(511, 1, 0x41), Ok(()));
    assert_eq!(narrow.goes_to(511), Some((1, 0x41)));
}

#[test]
fn int_12_an_entry_that_is_held_stays_held_when_it_moves() {
    for mut machine in Machine::of_each_format() {
        machine.set(0, 1, 0x41).unwrap();
        machine.unit.mask_interrupt(0, SOURCE, true).unwrap();
        assert!(machine.raise(0).is_err());
        machine.set(0, 2, 0x42).unwrap();
        assert!(machine.raise(0).is_err(), "held");
        machine.unit.mask_interrupt(0, SOURCE, false).unwrap();
        assert_eq!(machine.goes_to(0), Some((2, 0x42)));
        // One that never was cannot be held.
        let never = machine.unit.mask_interrupt(1, SOURCE, true);
        assert_eq!(never, Err(Error::Index));
    }
}

#[test]
fn int_05_nobody_looks_into_a_table_that_was_given_back() {
    for mut machine in Machine::of_each_format() {
        let before = machine.pool.taken();
        machine.set(0, 1, 0x41).unwrap();
        assert!(machine.raise(0).is_ok(), "entry and table are cached");
        let word = machine.hardware.entry(A.requester.0)[2];
        let table = word & 0x000f_ffff_ffff_ffc0;
        let taken = machine.pool.taken();
        machine
            .unit
            .release_interrupts(SOURCE, &mut machine.pool)
            .unwrap();
        assert_eq!(machine.pool.taken(), taken, "an entry is in use");
        machine.unit.clear_interrupt(0, SOURCE).unwrap();
        machine
            .unit
            .release_interrupts(SOURCE, &mut machine.pool)
            .unwrap();
        assert_eq!(machine.pool.taken(), before);
        // Whoever has the frame now writes what would be good entries of either format.
        machine.memory.write(table, 0x41_0101);
        machine.memory.write(table + 8, 0x41);
        assert!(machine.raise(0).is_err());
    }
}
