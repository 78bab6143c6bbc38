//! Running machines, each lent to one scenario at a time.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use anyhow::Result;

use crate::config::Config;
use crate::emulator::Console;
use crate::machine::{Kit, Machine};

/// Boots machines on demand and keeps sound ones for the next scenario with the same configuration.
///
/// The number of machines never exceeds the number of threads that borrow by more than the idle ones, and
/// before a boot every idle machine of another configuration is ended, unless a coming scenario wants it.
#[derive(Debug)]
pub struct Pool {
    kit: Kit,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    idle: Vec<(Config, Machine)>,
    /// Configurations that further scenarios will ask for, one entry for each.
    wanted: Vec<Config>,
}

impl Pool {
    /// An empty pool; `wanted` names the configuration of every scenario that will come.
    pub fn new(kit: Kit, wanted: Vec<Config>) -> Self {
        Self {
            kit,
            state: Mutex::new(State {
                idle: Vec::new(),
                wanted,
            }),
        }
    }

    /// What the machines are made from.
    pub fn kit(&self) -> &Kit {
        &self.kit
    }

    /// An idle machine of this configuration, or a freshly booted one (always so with `fresh`).
    pub fn borrow(&self, config: &Config, fresh: bool) -> Result<Machine> {
        let (found, surplus) = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.forget_one(config);
            let place = state
                .idle
                .iter()
                .position(|(idle, _)| idle == config && !fresh);
            let found = place.map(|place| state.idle.swap_remove(place).1);
            (found, state.take_surplus())
        };
        // Ended outside the lock: waiting for a process may take a moment.
        drop(surplus);
        match found {
            Some(machine) => Ok(machine),
            None => Machine::boot(&self.kit, config),
        }
    }

    /// A machine whose boot is the scenario's own affair.
    pub fn started(&self, config: &Config) -> Result<Machine> {
        let surplus = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.forget_one(config);
            state.take_surplus()
        };
        drop(surplus);
        Machine::start(&self.kit, config, Console::Log)
    }

    /// Takes back a machine that is fit for the next scenario.
    pub fn give_back(&self, config: &Config, machine: Machine) {
        let surplus = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.idle.push((config.clone(), machine));
            state.take_surplus()
        };
        drop(surplus);
    }
}

impl State {
    /// One scenario fewer will ask for this configuration.
    fn forget_one(&mut self, config: &Config) {
        if let Some(place) = self.wanted.iter().position(|wanted| wanted == config) {
            self.wanted.swap_remove(place);
        }
    }

    /// Idle machines that no coming scenario asks for.
    fn take_surplus(&mut self) -> Vec<Machine> {
        let wanted: HashSet<&Config> = self.wanted.iter().collect();
        let (kept, surplus) = std::mem::take(&mut self.idle)
            .into_iter()
            .partition(|(config, _)| wanted.contains(config));
        self.idle = kept;
        surplus.into_iter().map(|(_, machine)| machine).collect()
    }
}
