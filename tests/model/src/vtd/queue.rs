//! Queued invalidation (chapter 6, "Queued invalidation interface").

use super::{Event, State, Vtd};
use crate::Behaviour;

const QUEUE_ENABLED: u32 = 1 << 26;
const QUEUE_ERROR: u32 = 1 << 4;
const TIMEOUT_ERROR: u32 = 1 << 6;

impl Vtd {
    /// Does what stands between head and tail.
    pub(super) fn run_queue(&self) {
        loop {
            let (low, high) = {
                let mut state = self.state.borrow_mut();
                let values = &state.values;
                let stopped = values.status & QUEUE_ENABLED == 0
                    || values.fault_status & (QUEUE_ERROR | TIMEOUT_ERROR) != 0
                    || values.head == values.tail;
                if stopped {
                    return;
                }
                match state.behaviour {
                    Behaviour::Good => (),
                    Behaviour::QueueError => state.values.fault_status |= QUEUE_ERROR,
                    Behaviour::TimeoutError => state.values.fault_status |= TIMEOUT_ERROR,
                    Behaviour::Silent | Behaviour::Dead => return,
                }
                if state.behaviour != Behaviour::Good {
                    return;
                }
                let at = (state.values.queue & !0xfff) + state.values.head;
                (self.memory.read(at), self.memory.read(at + 8))
            };
            let mut state = self.state.borrow_mut();
            if self.carry_out(&mut state, low, high).is_none() {
                state.values.fault_status |= QUEUE_ERROR;
                return;
            }
            let size = 4096u64 << (state.values.queue & 7);
            state.values.head = (state.values.head + 16) % size;
        }
    }

    /// One descriptor; `None` where it is invalid.
    fn carry_out(&self, state: &mut State, low: u64, high: u64) -> Option<()> {
        match low & 0xf {
            1 if high == 0 => context(state, low),
            2 => self.iotlb(state, low, high),
            4 if high == 0 => interrupts(state, low),
            5 => self.wait(state, low, high),
            _ => None,
        }
    }

    fn iotlb(&self, state: &mut State, low: u64, high: u64) -> Option<()> {
        if low & 0xffff_ffff_0000_ff00 != 0 {
            return None;
        }
        let (granularity, domain) = ((low >> 4 & 3) as u8, (low >> 16) as u16);
        let (first, pages) = (high >> 12, 1u64 << (high & 0x3f));
        let state = &mut *state;
        match granularity {
            1 => state.caches.translations.clear(),
            2 => state.caches.forget_domain(domain),
            3 => {
                let widest = self.can.page_selective?;
                if high & 0x3f > widest.into() || high & 0xf80 != 0 {
                    return None;
                }
                // The address is rounded down to the mask: what is below it is not the software's wish, and not its luck.
                let first = first & !(pages - 1);
                state
                    .caches
                    .forget_pages(domain, first, pages, high & 0x40 == 0);
            }
            _ => return None,
        }
        if granularity == 1 {
            state.caches.tables.clear();
        }
        if low & 0x40 != 0 {
            let hit = |it: &(u64, u16, u64)| granularity == 1 || it.1 == domain;
            let drained: Vec<u64> = state
                .flights
                .iter()
                .filter(|it| hit(it))
                .map(|it| it.2)
                .collect();
            state.landed.extend(drained);
            state.flights.retain(|it| !hit(it));
        }
        state
            .events
            .push(Event::Iotlb(granularity, domain, first, pages));
        Some(())
    }

    fn wait(&self, state: &mut State, low: u64, high: u64) -> Option<()> {
        if low & 0xffff_ff00 != 0 || high & 3 != 0 {
            return None;
        }
        if low & 0x20 != 0 {
            self.memory.device_write32(high, (low >> 32) as u32);
        }
        state.events.push(Event::Wait);
        Some(())
    }
}

fn context(state: &mut State, low: u64) -> Option<()> {
    let (granularity, domain, source) =
        ((low >> 4 & 3) as u8, (low >> 16) as u16, (low >> 32) as u16);
    let mask = match low >> 48 & 3 {
        0 => 0u16,
        1 => 4,
        2 => 6,
        _ => 7,
    };
    match granularity {
        1 => state.caches.contexts.clear(),
        2 => state
            .caches
            .contexts
            .retain(|_, it| it.0 & 1 == 0 || (it.1 >> 8) as u16 != domain),
        3 => state.caches.contexts.retain(|&of, it| {
            // Entries that are not present are tagged with domain 0.
            let tag = if it.0 & 1 == 0 { 0 } else { (it.1 >> 8) as u16 };
            of & !mask != source & !mask || tag != domain
        }),
        _ => return None,
    }
    state
        .events
        .push(Event::Context(granularity, domain, source));
    Some(())
}

fn interrupts(state: &mut State, low: u64) -> Option<()> {
    if low >> 4 & 1 == 0 {
        state.caches.interrupts.clear();
        state.events.push(Event::Entries(None));
        return Some(());
    }
    let (index, count) = ((low >> 32) as u16, 1u32 << (low >> 27 & 0x1f));
    state.caches.interrupts.retain(|&of, _| {
        let inside = u32::from(of).checked_sub(u32::from(index));
        inside.is_none_or(|it| it >= count)
    });
    state.events.push(Event::Entries(Some((index, count))));
    Some(())
}
