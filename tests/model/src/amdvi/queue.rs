//! The command buffer (section 2.4).

use super::fault::{COMMAND_ERROR, ILLEGAL_COMMAND};
use super::{Amdvi, Event, State};
use crate::Behaviour;

pub(super) const COMMANDS_RUN: u64 = 1 << 4;

impl Amdvi {
    /// Does what stands between head and tail.
    pub(super) fn run_commands(&self) {
        loop {
            let (at, behaviour) = {
                let state = self.state.borrow();
                let values = &state.values;
                let stopped =
                    values.status & COMMANDS_RUN == 0 || values.command_head == values.command_tail;
                if stopped || matches!(state.behaviour, Behaviour::Silent | Behaviour::Dead) {
                    return;
                }
                let base = values.commands & 0x000f_ffff_ffff_f000;
                (base + values.command_head, state.behaviour)
            };
            match behaviour {
                Behaviour::QueueError => return self.halt(ILLEGAL_COMMAND, at),
                Behaviour::TimeoutError => return self.halt(COMMAND_ERROR, at),
                _ => (),
            }
            let (low, high) = (self.memory.read(at), self.memory.read(at + 8));
            let done = {
                let mut state = self.state.borrow_mut();
                self.carry_out(&mut state, low, high)
            };
            if done.is_none() {
                return self.halt(ILLEGAL_COMMAND, at);
            }
            let values = &mut self.state.borrow_mut().values;
            let size = 16u64 << (values.commands >> 56 & 0xf);
            values.command_head = (values.command_head + 16) % size;
        }
    }

    /// Tells of a command that cannot be done; no more are taken.
    fn halt(&self, code: u8, at: u64) {
        self.log(code, 0, 0, 0, at);
        let values = &mut self.state.borrow_mut().values;
        values.halted = true;
        values.status &= !COMMANDS_RUN;
    }

    /// One command; `None` where it is illegal.
    fn carry_out(&self, state: &mut State, low: u64, high: u64) -> Option<()> {
        let requester = low as u16;
        let of_requester = low & 0x0fff_ffff_ffff_0000 == 0 && high == 0;
        match low >> 60 {
            1 if low >> 52 & 0xff == 0 => self.wait(state, low, high),
            2 if of_requester => {
                state.caches.devices.remove(&requester);
                state.events.push(Event::DeviceEntry(requester));
            }
            3 if low & 0x0fff_0000_fff0_0000 == 0 && high & 0xff8 == 0 => pages(state, low, high),
            5 if of_requester => {
                state.caches.interrupts.retain(|key, _| key.0 != requester);
                state.events.push(Event::InterruptTable(requester));
            }
            8 if low << 4 == 0 && high == 0 && self.can.invalidate_all => {
                state.caches = super::Caches::default();
                state.draining.push(None);
                state.events.push(Event::All);
            }
            _ => return None,
        }
        Some(())
    }

    /// Requests under way under what was invalidated are through; then the word is written.
    fn wait(&self, state: &mut State, low: u64, high: u64) {
        let draining = std::mem::take(&mut state.draining);
        let hit = |it: &(u64, u16, u64)| {
            draining
                .iter()
                .any(|domain| domain.is_none_or(|domain| domain == it.1))
        };
        let drained: Vec<u64> = state
            .flights
            .iter()
            .filter(|it| hit(it))
            .map(|it| it.2)
            .collect();
        state.landed.extend(drained);
        state.flights.retain(|it| !hit(it));
        if low & 1 != 0 {
            let at = low & 0x000f_ffff_ffff_fff8;
            self.memory.device_write32(at, high as u32);
            self.memory.device_write32(at + 4, (high >> 32) as u32);
        }
        state.events.push(Event::Wait);
    }
}

/// INVALIDATE_IOMMU_PAGES: with S the lowest zero bit of the address, from bit 12 on, says how many pages.
fn pages(state: &mut State, low: u64, high: u64) {
    let domain = (low >> 32) as u16;
    let page = high >> 12;
    let (first, count) = if high & 1 == 0 {
        (page, 1)
    } else {
        let ones = page.trailing_ones();
        if ones >= 39 {
            (0, u64::MAX)
        } else {
            let count = 2u64 << ones;
            (page & !(count - 1), count)
        }
    };
    let tables = high & 2 != 0;
    state.caches.forget(domain, first, count, tables);
    state.draining.push(Some(domain));
    state
        .events
        .push(Event::Pages(domain, first, count, tables));
}
