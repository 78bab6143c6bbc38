//! Making a partition: all of it, or nothing.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use spin::Mutex;

use super::memory::{LARGE, Memory};
use super::{Life, Partition, delete, deposit};
use crate::agent::Agent;
use crate::calls::{partition, vp};
use crate::emulation::board::Board;
use crate::failure::Failure;
use crate::guest_image::placement::MEMORY_MAX;
use crate::machine::Machine;

/// VPs that a partition has at most: an interrupt's target is a mask of 64.
pub const VPS_MAX: u32 = 64;
const NAME_MAX: usize = 32;

/// What a partition shall be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Plan {
    /// Its name.
    pub name: String,
    /// Bytes of RAM.
    pub memory: u64,
    /// The LP of each VP.
    pub vps: Vec<u16>,
    /// Whether they have x2APIC mode.
    pub x2apic: bool,
}

impl Plan {
    /// Checks the plan against the machine.
    pub fn check<M: Machine>(&self, agent: &Agent<M>) -> Result<(), Failure> {
        let letter = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let name = &self.name;
        if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(letter) {
            return Err(Failure::usage(format!(
                "a name of at most {NAME_MAX} letters, digits, - and _ was expected, found \"{name}\""
            )));
        }
        if name == "root" || agent.partition(name).is_ok() {
            let sentence = format!("there is a partition \"{name}\" already");
            return Err(Failure::new("EXISTS", sentence));
        }
        if self.memory < LARGE || self.memory > MEMORY_MAX || !self.memory.is_multiple_of(LARGE) {
            return Err(Failure::usage(format!(
                "memory of 2M to {}M in steps of 2M was expected",
                MEMORY_MAX >> 20
            )));
        }
        if self.vps.is_empty() || self.vps.len() > VPS_MAX as usize {
            return Err(Failure::usage(format!("1 to {VPS_MAX} VPs were expected")));
        }
        match self
            .vps
            .iter()
            .find(|lp| u32::from(**lp) >= agent.facts.lps)
        {
            Some(lp) => Err(Failure::usage(format!(
                "there is no LP {lp}: the machine has {}",
                agent.facts.lps
            ))),
            None => Ok(()),
        }
    }
}

/// Makes a partition.
pub fn create<M: Machine>(agent: &Agent<M>, plan: Plan) -> Result<Arc<Partition>, Failure> {
    plan.check(agent)?;
    let machine = &agent.machine;
    let Some(memory) = Memory::take(machine, plan.memory) else {
        return Err(Failure::new(
            "INSUFFICIENT_MEMORY",
            format!(
                "{} MiB are not free: {} MiB are",
                plan.memory >> 20,
                machine.free_memory() >> 20
            ),
        ));
    };
    let id = match partition::create(machine, plan.x2apic) {
        Ok(id) => id,
        Err(status) => {
            memory.give(machine);
            return Err(Failure::refused(status, "to make a partition"));
        }
    };
    let partition = Arc::new(Partition {
        name: plan.name.to_string(),
        id,
        memory,
        board: Mutex::new(Board::new(plan.vps.len() as u32)),
        vps: plan.vps,
        life: Mutex::new(Life::Empty),
    });
    match furnish(machine, &partition) {
        Ok(()) => {
            agent.add(partition.clone());
            Ok(partition)
        }
        Err(failure) => {
            // What was made is taken apart again; the first failure is the one to tell.
            let _ = delete::dismantle(machine, &partition);
            Err(failure)
        }
    }
}

fn furnish<M: Machine>(machine: &M, partition: &Partition) -> Result<(), Failure> {
    let id = partition.id;
    let refused = |what: &'static str| move |status| Failure::refused(status, what);
    deposit::deposit(machine, id, deposit::FIRST).map_err(refused("the first deposit"))?;
    deposit::while_needed(machine, id, || partition::initialize(machine, id))
        .map_err(refused("to initialize the partition"))?;
    partition
        .memory
        .map(machine, id)
        .map_err(refused("to map the partition's memory"))?;
    for (index, &lp) in (0..).zip(&partition.vps) {
        deposit::while_needed(machine, id, || vp::create(machine, id, index, lp))
            .map_err(refused("to make a VP"))?;
    }
    deposit::deposit(machine, id, deposit::SPARE).map_err(refused("the last deposit"))
}
