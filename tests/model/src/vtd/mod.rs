//! A remapping unit. Intel Virtualization Technology for Directed I/O, revision 4.1: chapters 3 (DMA remapping), 5
//! (interrupt remapping), 6 (caching), 7 (faults), 11 (registers).

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
    /// Table depths, as SAGAW has them: bit 1 three levels, bit 2 four, bit 3 five.
    pub sagaw: u8,
    /// Widest guest address, in bits.
    pub mgaw: u8,
    /// Superpages: bit 0 2 MiB, bit 1 1 GiB.
    pub superpages: u8,
    /// Number of domains, as CAP.ND: 4 + 2n bits.
    pub nd: u8,
    /// Caches entries that are not present.
    pub caching_mode: bool,
    /// Wants its write buffers flushed.
    pub write_buffer: bool,
    /// Walker snoops.
    pub coherent: bool,
    /// Snoop control.
    pub snoop: bool,
    /// Page-selective invalidation, and its widest mask.
    pub page_selective: Option<u8>,
    /// Fault records.
    pub records: u8,
    /// Interrupt remapping.
    pub interrupts: bool,
    /// Extended interrupt mode.
    pub extended: bool,
    /// Interrupt posting.
    pub posts: bool,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self {
            sagaw: 0b0110,
            mgaw: 48,
            superpages: 0b11,
            nd: 6,
            caching_mode: false,
            write_buffer: false,
            coherent: true,
            snoop: true,
            page_selective: Some(18),
            records: 4,
            interrupts: true,
            extended: true,
            posts: false,
        }
    }
}

/// Values of registers, as far as software can see.
#[derive(Clone, Debug, Default)]
struct Values {
    status: u32,
    root: u64,
    queue: u64,
    head: u64,
    tail: u64,
    interrupts: u64,
    fault_status: u32,
    fault_control: u32,
    fault_data: u32,
    fault_address: u64,
    /// Latched by the set-pointer commands: changing the register alone changes nothing.
    live_root: u64,
    live_interrupts: u64,
    records: Vec<(u64, u64)>,
    next_record: usize,
}

/// What happened, for tests that ask about order and number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    /// A context-cache invalidation (granularity, domain, source).
    Context(u8, u16, u16),
    /// An IOTLB invalidation (granularity, domain, first page, pages).
    Iotlb(u8, u16, u64, u64),
    /// An interrupt-entry invalidation: all, or an index and how many.
    Entries(Option<(u16, u32)>),
    /// A wait was confirmed.
    Wait,
    /// Write buffers were flushed.
    Buffers,
}

/// A unit.
pub struct Vtd {
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
    flown: u64,
    landed: Vec<u64>,
}

impl Vtd {
    /// A unit as it comes out of reset.
    pub fn new(can: Capabilities, memory: Rc<Memory>) -> Self {
        let state = State {
            values: Values {
                records: vec![(0, 0); usize::from(can.records)],
                fault_control: 1 << 31,
                ..Values::default()
            },
            ..State::default()
        };
        Self {
            can,
            memory,
            state: RefCell::new(state),
        }
    }

    /// What it did since the last time it was asked.
    pub fn events(&self) -> Vec<Event> {
        std::mem::take(&mut self.state.borrow_mut().events)
    }

    /// Global status bits: translation, interrupt remapping, compatibility-format interrupts.
    pub fn enabled(&self) -> (bool, bool, bool) {
        let status = self.state.borrow().values.status;
        (
            status >> 31 & 1 != 0,
            status >> 25 & 1 != 0,
            status >> 23 & 1 != 0,
        )
    }

    /// Whether destinations of interrupts are 32 bits wide.
    pub fn extended_interrupts(&self) -> bool {
        self.state.borrow().values.live_interrupts >> 11 & 1 != 0
    }

    /// Present context entries, by requester id, read from memory as a walker would.
    pub fn contexts(&self) -> Vec<(u16, u64, u64)> {
        let root = self.state.borrow().values.live_root & !0xfff;
        let mut found = Vec::new();
        for bus in 0..256u64 {
            let entry = self.memory.walk(root + bus * 16);
            if entry & 1 == 0 {
                continue;
            }
            for function in 0..256u64 {
                let at = (entry & !0xfff) + function * 16;
                let low = self.memory.walk(at);
                if low & 1 != 0 {
                    found.push(((bus << 8 | function) as u16, low, self.memory.walk(at + 8)));
                }
            }
        }
        found
    }

    /// Present interrupt entries, by index, read from memory.
    pub fn entries(&self) -> Vec<(u16, u64, u64)> {
        let table = self.state.borrow().values.live_interrupts;
        let count = 1u64 << ((table & 0xf) + 1);
        let read = |index: u64| {
            let at = (table & !0xfff) + index * 16;
            (index as u16, self.memory.walk(at), self.memory.walk(at + 8))
        };
        (0..count)
            .map(read)
            .filter(|entry| entry.1 & 1 != 0)
            .collect()
    }
}

impl Unit for Vtd {
    fn dma(&self, requester: u16, iova: u64, write: bool) -> Result<Spa, Refused> {
        if self.state.borrow().values.status >> 31 & 1 == 0 {
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

    fn guards(&self) -> bool {
        self.enabled() == (true, true, false) && self.extended_interrupts()
    }

    fn afresh<T>(&self, look: impl FnOnce(&Self) -> T) -> T {
        let before = self.state.borrow().clone();
        self.state.borrow_mut().caches = Caches::default();
        let found = look(self);
        self.state.replace(before);
        found
    }

    fn invalidations(&self) -> usize {
        let events = self.events();
        let counts = |event: &&Event| !matches!(event, Event::Wait | Event::Buffers);
        events.iter().filter(counts).count()
    }
}
