//! A remapping unit. AMD I/O Virtualization Technology (IOMMU) Specification, revision 3: chapters 2 (architecture), 2.4
//! (commands), 2.5 (event logging), 3 (registers). Facts are from the specification as the Linux driver and QEMU's device read
//! it, not from the encoders.

mod caches;
mod fault;
mod interrupt;
mod queue;
mod registers;
mod translate;

use std::cell::RefCell;
use std::rc::Rc;

use address::Spa;

use crate::{Behaviour, Delivered, Flight, Memory, Refused, Unit};
use caches::Caches;

/// What a unit is capable of.
#[derive(Clone, Copy, Debug)]
pub struct Capabilities {
    /// Most levels of a host table: 4, 5 or 6.
    pub levels: u8,
    /// Interrupt entries can have 128 bits.
    pub wide_entries: bool,
    /// Interrupt entries can name 32-bit processors.
    pub x2apic: bool,
    /// There is a command that invalidates everything.
    pub invalidate_all: bool,
    /// Caches what is not present.
    pub caches_absent: bool,
    /// The control register takes the formats that the features promise.
    pub takes_formats: bool,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self {
            levels: 6,
            wide_entries: true,
            x2apic: true,
            invalidate_all: true,
            caches_absent: false,
            takes_formats: true,
        }
    }
}

/// What happened, for tests that ask about order and number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    /// A device table entry was invalidated.
    DeviceEntry(u16),
    /// Translations of a domain: first page, pages, and whether pointers to tables went as well.
    Pages(u16, u64, u64, bool),
    /// A requester's interrupt table was invalidated.
    InterruptTable(u16),
    /// Everything was.
    All,
    /// A completion wait was confirmed.
    Wait,
}

/// Values of registers.
#[derive(Clone, Debug, Default)]
struct Values {
    devices: u64,
    commands: u64,
    command_head: u64,
    command_tail: u64,
    log: u64,
    log_head: u64,
    log_tail: u64,
    control: u64,
    status: u64,
    exclusion: [u64; 2],
    own_interrupt: u64,
    /// A command was illegal: no more are taken until the buffer is enabled anew.
    halted: bool,
}

/// A unit.
pub struct Amdvi {
    can: Capabilities,
    memory: Rc<Memory>,
    state: RefCell<State>,
}

#[derive(Clone, Debug, Default)]
struct State {
    values: Values,
    caches: Caches,
    behaviour: Behaviour,
    events: Vec<Event>,
    flights: Vec<(u64, u16, u64)>,
    /// Domains whose requests under way the next completion wait must see through; `None` all.
    draining: Vec<Option<u16>>,
    flown: u64,
    landed: Vec<u64>,
    /// Interrupts of its own that it raised.
    raised: u64,
}

const ENABLED: u64 = 1;

impl Amdvi {
    /// A unit as it comes out of reset.
    pub fn new(can: Capabilities, memory: Rc<Memory>) -> Self {
        Self {
            can,
            memory,
            state: RefCell::default(),
        }
    }

    /// What it did since the last time it was asked.
    pub fn events(&self) -> Vec<Event> {
        std::mem::take(&mut self.state.borrow_mut().events)
    }

    /// A requester's device table entry, read from memory.
    pub fn entry(&self, requester: u16) -> [u64; 4] {
        let at = (self.state.borrow().values.devices & 0x000f_ffff_ffff_f000)
            + u64::from(requester) * 32;
        [0, 8, 16, 24].map(|word| self.memory.read(at + word))
    }

    /// Exclusion range registers, base and limit.
    pub fn exclusion(&self) -> [u64; 2] {
        self.state.borrow().values.exclusion
    }

    /// Where the unit's own interrupt goes, if it raises one: local APIC and vector.
    pub fn own_interrupt(&self) -> Option<(u32, u8)> {
        let state = self.state.borrow();
        let values = &state.values;
        let on = values.control >> 3 & 1 != 0 && values.control >> 51 & 1 != 0;
        let raw = values.own_interrupt;
        let apic = (raw >> 8 & 0xff_ffff | raw >> 56 << 24) as u32;
        on.then_some((apic, (raw >> 32) as u8))
    }

    /// How often it raised it.
    pub fn raised(&self) -> u64 {
        self.state.borrow().raised
    }

    /// An event of the unit's own, as hardware that fails logs it: with this code, about this requester.
    pub fn complain(&self, code: u8, requester: u16) {
        self.log(code, requester, 0, 0, 0x5000);
    }

    fn is_enabled(&self) -> bool {
        self.state.borrow().values.control & ENABLED != 0
    }
}

impl Unit for Amdvi {
    fn dma(&self, requester: u16, iova: u64, write: bool) -> Result<Spa, Refused> {
        if !self.is_enabled() {
            return Ok(Spa::new(iova));
        }
        self.translate(requester, iova, write)
            .map(|(spa, _)| Spa::new(spa))
    }

    fn interrupt(&self, requester: u16, address: u64, data: u32) -> Result<Delivered, Refused> {
        self.remap(requester, address, data)
    }

    fn behave(&self, behaviour: Behaviour) {
        self.state.borrow_mut().behaviour = behaviour;
    }

    fn launch(&self, requester: u16, iova: u64) -> Result<Flight, Refused> {
        let (spa, domain) = self.translate(requester, iova, true)?;
        let mut state = self.state.borrow_mut();
        state.flown += 1;
        let id = state.flown;
        state.flights.push((id, domain, spa));
        Ok(Flight { id })
    }

    fn land(&self, flight: Flight) -> bool {
        let mut state = self.state.borrow_mut();
        let at = state.flights.iter().position(|it| it.0 == flight.id);
        if let Some(at) = at {
            let (_, _, spa) = state.flights.remove(at);
            state.landed.push(spa);
        }
        at.is_some()
    }

    /// On, in x2APIC mode, and no entry of the 65,536 forwards anything.
    fn guards(&self) -> bool {
        let control = self.state.borrow().values.control;
        let size = self.state.borrow().values.devices & 0x1ff;
        let on = control & ENABLED != 0 && control >> 17 & 1 != 0 && control >> 50 & 1 != 0;
        on && size == 511
            && (0..=u16::MAX).all(|requester| {
                let [low, high, interrupts, _] = self.entry(requester);
                let passes = 0b1100_0111 << 56;
                low & 3 == 3
                    && high >> 32 & 0x1ff == high >> 32 & 4
                    && interrupts & 1 != 0
                    && interrupts & passes == 0
                    && interrupts >> 60 & 3 != 1
            })
    }

    fn afresh<T>(&self, look: impl FnOnce(&Self) -> T) -> T {
        let before = self.state.borrow().clone();
        self.state.borrow_mut().caches = Caches::default();
        self.state.borrow_mut().values.status &= !fault::LOG_RUNS;
        let found = look(self);
        self.state.replace(before);
        found
    }

    fn invalidations(&self) -> usize {
        let events = self.events();
        events.iter().filter(|it| **it != Event::Wait).count()
    }
}
