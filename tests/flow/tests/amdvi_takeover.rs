//! A unit of this dialect as firmware may leave it, and what becomes of it.

use address::{RequesterId, Spa};
use flow::*;
use iommu::{DomainName, DomainTable, Error, Feature, Geometry, ProbeError, UnitMemory};
use model::amdvi::{Amdvi, Capabilities, Event};
use model::{Behaviour, Memory, Ticks, Unit};
use std::rc::Rc;

type Taken = iommu::Unit<UnitSeam<Amdvi>>;

const DEVICE: RequesterId = RequesterId(0x0100);
const BLOCKED: [u64; 4] = [3, 0, 1, 0];
/// Where firmware keeps its device table, commands and log.
const TABLE: u64 = 0x800_0000;
const COMMANDS: u64 = 0x900_0000;
const LOG: u64 = 0xa00_0000;
/// 2^8 entries.
const LENGTH: u64 = 8 << 56;
const RUNS: u64 = 1 | 1 << 2 | 1 << 12;

struct Machine {
    memory: Rc<Memory>,
    clock: Rc<Ticks>,
    unit: Rc<Amdvi>,
    pool: Pool,
}

impl Machine {
    fn new(can: Capabilities) -> Self {
        let memory = Rc::new(Memory::default());
        Self {
            unit: Rc::new(Amdvi::new(can, memory.clone())),
            clock: Rc::new(Ticks::default()),
            pool: Pool::new(0x200, 64),
            memory,
        }
    }

    /// Firmware runs the unit with an empty table, which forwards everything, and a range that is excluded; it has met a
    /// device.
    fn left_on(can: Capabilities) -> Self {
        let machine = Self::new(can);
        let unit = &machine.unit;
        unit.write64(0x00, TABLE | 511);
        unit.write64(0x08, COMMANDS | LENGTH);
        unit.write64(0x10, LOG | LENGTH);
        unit.write64(0x20, 0x1000 | 3);
        unit.write64(0x28, 0x1fff_f000);
        unit.write64(0x18, RUNS);
        assert_eq!(unit.dma(DEVICE.0, 0x5000, true), Ok(Spa::new(0x5000)));
        assert!(unit.interrupt(DEVICE.0, 0xfee0_0000, 0x400).is_ok());
        machine
    }

    fn probe(&self) -> Taken {
        let seam = UnitSeam::new(&self.unit, &self.memory, &self.clock);
        iommu::Unit::probe(AmdviArm::description(Traits::default()), seam).unwrap()
    }

    fn enable(&mut self, unit: &mut Taken) -> Result<(), Error> {
        let memory = UnitMemory {
            base: Spa::new(0x1000_0000),
            frames: unit.memory_frames(),
        };
        unit.enable(&mut self.pool, memory)
    }

    fn is_blocked(&self) -> bool {
        self.unit.guards()
            && self.unit.exclusion() == [0, 0]
            && self.unit.entry(DEVICE.0) == BLOCKED
            && self.unit.dma(DEVICE.0, 0x5000, true).is_err()
            && self.unit.interrupt(DEVICE.0, 0xfee0_0000, 0x400).is_err()
            && self.unit.interrupt(DEVICE.0, 0xfee0_0000, 0).is_err()
    }
}

#[test]
fn fw_10_a_unit_that_firmware_left_on_is_taken_over_and_forgets_all() {
    for invalidate_all in [true, false] {
        let mut machine = Machine::left_on(Capabilities {
            invalidate_all,
            ..Capabilities::default()
        });
        let mut unit = machine.probe();
        machine.enable(&mut unit).unwrap();
        assert!(machine.is_blocked());
        let events = machine.unit.events();
        if invalidate_all {
            assert_eq!(events, [Event::All, Event::Wait]);
            continue;
        }
        for id in [0, DEVICE.0, u16::MAX] {
            for wanted in [
                Event::DeviceEntry(id),
                Event::InterruptTable(id),
                Event::Pages(id, 0, u64::MAX, true),
            ] {
                assert!(events.contains(&wanted), "{wanted:?}");
            }
        }
    }
}

#[test]
fn fw_10_commands_that_firmware_left_behind_are_not_waited_for_for_ever() {
    // One that is illegal has stopped the buffer.
    let mut machine = Machine::left_on(Capabilities::default());
    machine.memory.write(COMMANDS, 0xf << 60);
    machine.unit.write64(0x2008, 0x10);
    assert_eq!(machine.unit.read64(0x2020) & 1 << 4, 0, "it has stopped");
    let mut unit = machine.probe();
    machine.enable(&mut unit).unwrap();
    assert!(machine.is_blocked());
    // A tail behind the unit's back, which it never comes to.
    let mut machine = Machine::left_on(Capabilities::default());
    machine.unit.behave(Behaviour::Silent);
    machine.unit.write64(0x2008, 0x20);
    machine.unit.behave(Behaviour::Good);
    let mut unit = machine.probe();
    machine.enable(&mut unit).unwrap();
    assert!(machine.is_blocked());
}

#[test]
fn rob_04_a_completion_that_never_comes_fails_the_taking_over() {
    for behaviour in [
        Behaviour::Silent,
        Behaviour::QueueError,
        Behaviour::TimeoutError,
    ] {
        let mut machine = Machine::new(Capabilities::default());
        let mut unit = machine.probe();
        machine.unit.behave(behaviour);
        assert_eq!(machine.enable(&mut unit), Err(Error::UnitFailed));
        machine.unit.behave(Behaviour::Good);
        let table = unit.block(DEVICE);
        assert_eq!(table, Err(Error::UnitFailed), "and it stays failed");
        assert!(machine.unit.dma(DEVICE.0, 0x5000, true).is_err());
    }
}

#[test]
fn fw_07_features_are_judged_before_they_are_used() {
    let probe = |can, behaviour| {
        let machine = Machine::new(can);
        machine.unit.behave(behaviour);
        let seam = UnitSeam::new(&machine.unit, &machine.memory, &machine.clock);
        iommu::Unit::probe(AmdviArm::description(Traits::default()), seam)
    };
    let with = |levels| Capabilities {
        levels,
        ..Capabilities::default()
    };
    for levels in [4, 5, 6] {
        let unit = probe(with(levels), Behaviour::Good).unwrap();
        assert!(unit.geometry().levels.contains(levels));
        assert!(!unit.geometry().levels.contains(levels + 1));
        assert!(unit.remaps_interrupts());
    }
    let reserved = probe(with(7), Behaviour::Good).map(drop);
    assert_eq!(reserved, Err(ProbeError::Lacks(Feature::TableDepth)));
    let gone = probe(with(6), Behaviour::Dead).map(drop);
    assert_eq!(gone, Err(ProbeError::Absent), "all ones");
    for (x2apic, wide_entries) in [(false, true), (true, false), (false, false)] {
        let can = Capabilities {
            x2apic,
            wide_entries,
            ..Capabilities::default()
        };
        let unit = probe(can, Behaviour::Good).unwrap();
        assert!(!unit.remaps_interrupts(), "not to every processor");
        assert!(unit.guards_interrupts(), "but none passes by itself");
    }
}

#[test]
fn names_and_memory_that_are_none_are_refused() {
    let mut machine = Machine::new(Capabilities::default());
    let mut unit = machine.probe();
    for (base, frames) in [
        (0x1000_0000, 256),
        (0x1000_1000, 512),
        (1 << 51, 512),
        (0x1000_0000, 511),
    ] {
        let base = Spa::new(base);
        let memory = UnitMemory { base, frames };
        let made = unit.enable(&mut machine.pool, memory);
        assert_eq!(made, Err(Error::Target), "{base} {frames}");
    }
    assert_eq!(machine.pool.taken(), 0);
    machine.enable(&mut unit).unwrap();
    assert_eq!(machine.enable(&mut unit), Err(Error::State));
    let all = iommu::FlushRange::All;
    // The name of all that is blocked.
    assert_eq!(
        unit.flush_domain(DomainName(0), all),
        Err(Error::DomainName)
    );
    assert_eq!(unit.flush_domain(DomainName(1), all), Ok(()));
}

#[test]
fn fw_07_a_unit_that_does_not_take_its_formats_is_not_used() {
    // What the register took is read back: here the formats stay off although the features promise them.
    let mut machine = Machine::new(Capabilities {
        takes_formats: false,
        ..Capabilities::default()
    });
    let mut unit = machine.probe();
    assert_eq!(machine.enable(&mut unit), Err(Error::UnitFailed));
    assert_eq!(machine.unit.read32(0x18) & 1, 1, "still blocking");
}

#[test]
fn dma_14_a_table_is_walked_as_it_was_made_or_not_at_all() {
    let with = |levels| Capabilities {
        levels,
        ..Capabilities::default()
    };
    let (mut deep, mut flat) = (Machine::new(with(6)), Machine::new(with(4)));
    let (mut deep_unit, mut flat_unit) = (deep.probe(), flat.probe());
    deep.enable(&mut deep_unit).unwrap();
    flat.enable(&mut flat_unit).unwrap();
    let mut table = |geometry: Geometry, bits| {
        let tables = TableSeam(flat.memory.clone());
        let dialect = flat_unit.dialect();
        DomainTable::new(dialect, geometry, bits, &tables, &mut flat.pool).unwrap()
    };
    let fitting = table(deep_unit.geometry(), 36);
    let wide = Geometry {
        input_bits: 57,
        ..deep_unit.geometry()
    };
    let (too_deep, name) = (table(wide, 57), DomainName(3));
    let refused = flat_unit.attach(DEVICE, name, &too_deep);
    assert_eq!(refused, Err(Error::Geometry));
    assert_eq!(flat.unit.entry(DEVICE.0), BLOCKED);
    let far = Geometry {
        output_bits: 52,
        ..flat_unit.geometry()
    };
    let mut far_pool = Pool::new(0x300, 8);
    let tables = TableSeam(flat.memory.clone());
    let far = DomainTable::new(flat_unit.dialect(), far, 36, &tables, &mut far_pool).unwrap();
    assert_eq!(flat_unit.attach(DEVICE, name, &far), Err(Error::Geometry));
    assert_eq!(
        flat_unit.attach(DEVICE, DomainName(0), &fitting),
        Err(Error::DomainName)
    );
    assert_eq!(flat_unit.attach(DEVICE, name, &fitting), Ok(()));
    // Who is attached is blocked first, whoever asks.
    let again = flat_unit.attach(DEVICE, DomainName(4), &fitting);
    assert_eq!(again, Err(Error::NotBlocked));
    flat_unit.block(DEVICE).unwrap();
    assert_eq!(flat_unit.attach(DEVICE, DomainName(4), &fitting), Ok(()));
}
