//! A register block that records what it is asked.

extern crate std;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

use address::{PageSize, RequesterId, Spa};
use paging::{FrameSource, TableMemory};

use super::super::{Vtd, registers};
use crate::{
    Clock, Dialect, DomainName, DomainTable, Error, Geometry, Levels, Registers, UnitMemory,
    WideMemory,
};

/// 48 bits, three and four levels, all page sizes, 16-bit names, mask 18, two records at 220h, draining, page-selective.
pub const CAPABILITY: u64 = 0x00d2_018c_222f_0606;
pub const CACHING: u64 = 1 << 7;
pub const WRITE_BUFFERS: u64 = 1 << 4;
pub const PROTECTED: u64 = 3 << 5;
pub const PAGE_SELECTIVE: u64 = 1 << 39;
/// Coherent, queued, remapping to x2APIC ids, snoop control.
pub const EXTENDED: u64 = 0x00f0_0f9b;
pub const COHERENT: u64 = 1;
pub const RECORDS: usize = 0x220;

pub const REQUESTER: RequesterId = RequesterId(0x0318);
pub const NAME: DomainName = DomainName(5);

const INTERRUPTS: UnitMemory = UnitMemory {
    base: Spa::new(0x20_0000),
    frames: 2,
};

/// What the unit saw, in order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    Command(u32),
    Descriptor(u64, u64),
    Register(usize, u64),
    Store(u64, usize, u64),
    /// Two words at once.
    Wide(u64, usize, u64, u64),
}

/// How the unit misbehaves.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Trouble {
    #[default]
    None,
    /// Reads as all ones once so many reads were made.
    GoneAfter(usize),
    /// Commands are ignored.
    Deaf,
    /// Descriptors are not taken.
    QueueStuck,
    /// Descriptors are refused with these status bits.
    QueueError(u32),
}

pub struct Mock {
    pub registers: RefCell<BTreeMap<usize, u32>>,
    pub memory: RefCell<BTreeMap<u64, Vec<u64>>>,
    dirty: RefCell<BTreeSet<(u64, usize)>>,
    pub events: RefCell<Vec<Event>>,
    pub trouble: Cell<Trouble>,
    pub ticks: Cell<u64>,
    reads: Cell<usize>,
    head: Cell<u64>,
    buffered: Cell<bool>,
    /// Stores were in a write buffer, or lines in a cache, when the unit was told to look.
    pub unseen: Cell<usize>,
}

impl Mock {
    pub fn new(capability: u64, extended: u64) -> Self {
        let mock = Self {
            registers: RefCell::default(),
            memory: RefCell::default(),
            dirty: RefCell::default(),
            events: RefCell::default(),
            trouble: Cell::default(),
            ticks: Cell::default(),
            reads: Cell::default(),
            head: Cell::default(),
            buffered: Cell::default(),
            unseen: Cell::default(),
        };
        mock.set(registers::VERSION, 0x10);
        mock.set64(registers::CAPABILITY, capability);
        mock.set64(registers::EXTENDED_CAPABILITY, extended);
        for frame in 0..64 {
            let frames = &mut mock.memory.borrow_mut();
            frames.insert(0x1000 + frame, std::vec![0xdead_0007; 512]);
            frames.insert(INTERRUPTS.base.page() + frame, std::vec![0xdead_0007; 512]);
        }
        mock
    }

    pub fn set(&self, offset: usize, value: u32) {
        self.registers.borrow_mut().insert(offset, value);
    }

    pub fn set64(&self, offset: usize, value: u64) {
        self.set(offset, value as u32);
        self.set(offset + 4, (value >> 32) as u32);
    }

    pub fn get(&self, offset: usize) -> u32 {
        self.registers.borrow().get(&offset).copied().unwrap_or(0)
    }

    pub fn get64(&self, offset: usize) -> u64 {
        u64::from(self.get(offset)) | u64::from(self.get(offset + 4)) << 32
    }

    /// What happened since the last call.
    pub fn take_events(&self) -> Vec<Event> {
        self.events.take()
    }

    /// The descriptors among them, without waits.
    pub fn take_descriptors(&self) -> Vec<(u64, u64)> {
        let events = self.take_events().into_iter();
        events
            .filter_map(|event| match event {
                Event::Descriptor(low, high) if low & 0xf != 5 => Some((low, high)),
                _ => None,
            })
            .collect()
    }

    pub fn word(&self, table: Spa, index: usize) -> u64 {
        self.memory.borrow()[&table.page()][index]
    }

    fn log(&self, event: Event) {
        self.events.borrow_mut().push(event);
    }

    /// The unit looks at memory now: all that was written must be there.
    fn look(&self) {
        let coherent = self.get64(registers::EXTENDED_CAPABILITY) & COHERENT != 0;
        if !coherent {
            self.unseen
                .set(self.unseen.get() + self.dirty.borrow().len());
        }
        if self.buffered.get() && self.get64(registers::CAPABILITY) & WRITE_BUFFERS != 0 {
            self.unseen.set(self.unseen.get() + 1);
        }
    }

    fn command(&self, value: u32) {
        self.log(Event::Command(value));
        if self.trouble.get() == Trouble::Deaf {
            return;
        }
        let one_shot = 1 << 30 | 1 << 27 | 1 << 24;
        if value & 1 << 27 != 0 {
            self.buffered.set(false);
        }
        if value & (1 << 30 | 1 << 24) != 0 {
            self.look();
        }
        let kept = self.get(registers::GLOBAL_STATUS) & one_shot;
        let status = value & !(1 << 27) | kept;
        self.set(registers::GLOBAL_STATUS, status);
    }

    /// Takes the descriptors up to the new tail.
    fn run_queue(&self) {
        let base = self.get64(registers::QUEUE_ADDRESS) >> 12;
        self.look();
        while self.head.get() != self.get64(registers::QUEUE_TAIL) {
            match self.trouble.get() {
                Trouble::QueueStuck => return,
                Trouble::QueueError(bits) => return self.set(registers::FAULT_STATUS, bits),
                _ => (),
            }
            let word = (self.head.get() / 8) as usize;
            let low = self.memory.borrow()[&base][word];
            let high = self.memory.borrow()[&base][word + 1];
            self.log(Event::Descriptor(low, high));
            if low & 0xf == 5 {
                assert_eq!(low & 0x20, 0x20, "the wait asks for a status write");
                let mut memory = self.memory.borrow_mut();
                memory.get_mut(&(high >> 12)).unwrap()[(high as usize & 0xfff) / 8] = low >> 32;
            }
            self.head.set((self.head.get() + 16) % 4096);
            self.set64(registers::QUEUE_HEAD, self.head.get());
        }
    }
}

impl Registers for Mock {
    fn read32(&self, offset: usize) -> u32 {
        assert_eq!(offset % 4, 0);
        self.reads.set(self.reads.get() + 1);
        match self.trouble.get() {
            Trouble::GoneAfter(reads) if self.reads.get() > reads => u32::MAX,
            _ => self.get(offset),
        }
    }

    fn read64(&self, offset: usize) -> u64 {
        assert_eq!(offset % 8, 0);
        u64::from(self.read32(offset)) | u64::from(self.read32(offset + 4)) << 32
    }

    fn write32(&self, offset: usize, value: u32) {
        assert_eq!(offset % 4, 0);
        if let Trouble::GoneAfter(reads) = self.trouble.get()
            && self.reads.get() >= reads
        {
            return;
        }
        match offset {
            registers::GLOBAL_COMMAND => self.command(value),
            registers::FAULT_STATUS => self.set(offset, self.get(offset) & !(value & 0x71)),
            registers::PROTECTED_MEMORY => {
                self.log(Event::Register(offset, value.into()));
                self.set(offset, value & 1 << 31 | value >> 31);
            }
            _ if offset >= RECORDS && offset % 16 == 12 => {
                self.set(offset, self.get(offset) & !(value & 1 << 31));
                let used = [RECORDS + 12, RECORDS + 28].map(|at| self.get(at) >> 31);
                let status = self.get(registers::FAULT_STATUS) & !0xff02;
                let pending = u32::from(used != [0, 0]) * 2;
                let first = u32::from(used[0] == 0 && used[1] == 1) << 8;
                self.set(registers::FAULT_STATUS, status | pending | first);
            }
            _ => {
                self.log(Event::Register(offset, value.into()));
                self.set(offset, value);
            }
        }
    }

    fn write64(&self, offset: usize, value: u64) {
        assert_eq!(offset % 8, 0);
        if let Trouble::GoneAfter(reads) = self.trouble.get()
            && self.reads.get() >= reads
        {
            return;
        }
        self.set64(offset, value);
        if offset == registers::QUEUE_TAIL {
            if self.get(registers::GLOBAL_STATUS) & 1 << 26 == 0 {
                self.head.set(0);
                self.set64(registers::QUEUE_HEAD, 0);
            } else {
                self.run_queue();
            }
        } else {
            self.log(Event::Register(offset, value));
        }
    }
}

impl TableMemory for Mock {
    fn read(&self, table: Spa, index: usize) -> u64 {
        self.word(table, index)
    }

    fn write(&self, table: Spa, index: usize, value: u64) {
        self.log(Event::Store(table.page(), index, value));
        self.memory.borrow_mut().get_mut(&table.page()).unwrap()[index] = value;
        self.dirty.borrow_mut().insert((table.page(), index));
        // The queue is not behind the write buffer, which is flushed before it is written.
        if table.page() != self.get64(registers::QUEUE_ADDRESS) >> 12 {
            self.buffered.set(true);
        }
    }

    fn zero(&self, table: Spa) {
        let mut memory = self.memory.borrow_mut();
        memory.get_mut(&table.page()).unwrap().fill(0);
        let mut dirty = self.dirty.borrow_mut();
        dirty.extend((0..512).map(|index| (table.page(), index)));
        self.buffered.set(true);
    }

    fn clean(&self, table: Spa, first: usize, count: usize) {
        for index in first..first + count {
            self.dirty.borrow_mut().remove(&(table.page(), index));
        }
    }
}

impl WideMemory for Mock {
    fn write_wide(&self, table: Spa, index: usize, low: u64, high: u64) {
        assert_eq!(index % 2, 0);
        self.log(Event::Wide(table.page(), index, low, high));
        let mut memory = self.memory.borrow_mut();
        memory.get_mut(&table.page()).unwrap()[index..index + 2].copy_from_slice(&[low, high]);
        let halves = [index, index + 1].map(|index| (table.page(), index));
        self.dirty.borrow_mut().extend(halves);
        self.buffered.set(true);
    }
}

impl Clock for Mock {
    fn now(&self) -> u64 {
        self.ticks.set(self.ticks.get() + 1);
        self.ticks.get()
    }

    fn ticks_per_us(&self) -> u64 {
        1
    }
}

/// Frames 1000h to 103Fh, so many of them.
pub struct Frames(pub u64, pub u64);

impl Frames {
    pub const fn new() -> Self {
        Self(0, 64)
    }
}

impl FrameSource for Frames {
    fn take(&mut self) -> Option<Spa> {
        (self.0 < self.1).then(|| {
            self.0 += 1;
            Spa::new((0x1000 + self.0 - 1) << 12)
        })
    }

    fn put(&mut self, _frame: Spa) {
        self.1 += 1;
    }
}

/// An enabled unit that knows bus 3, and the rest of its frames.
pub fn enabled(capability: u64, extended: u64) -> (Vtd<Mock>, Frames) {
    let mut frames = Frames::new();
    let mut unit = Vtd::probe(46, Mock::new(capability, extended)).unwrap();
    enable(&mut unit, &mut frames).unwrap();
    unit.add_bus(3, &mut frames).unwrap();
    unit.hardware.take_events();
    (unit, frames)
}

pub fn enable(unit: &mut Vtd<Mock>, frames: &mut Frames) -> Result<(), Error> {
    unit.enable(frames, INTERRUPTS)
}

/// A table of four levels that suits the unit.
pub fn table(unit: &Vtd<Mock>, frames: &mut Frames) -> DomainTable {
    let geometry = unit.geometry();
    DomainTable::new(Dialect::RootTable, geometry, 48, &unit.hardware, frames).unwrap()
}

/// A table for any unit of the given kind.
pub fn table_for(geometry: Geometry, unit: &Vtd<Mock>, frames: &mut Frames) -> DomainTable {
    DomainTable::new(Dialect::RootTable, geometry, 39, &unit.hardware, frames).unwrap()
}

pub const PLAIN: Geometry = Geometry {
    levels: Levels::NONE.with(3),
    input_bits: 39,
    output_bits: 36,
    largest: PageSize::Size4K,
    coherent: false,
    snoop: false,
    caches_absent: false,
};

/// Words of the interrupt entry with this index.
pub fn interrupt_words(unit: &Vtd<Mock>, index: u16) -> (u64, u64) {
    let frame = Spa::from_page(INTERRUPTS.base.page() + u64::from(index / 256)).unwrap();
    let word = usize::from(index % 256) * 2;
    let mock = &unit.hardware;
    (mock.word(frame, word), mock.word(frame, word + 1))
}
