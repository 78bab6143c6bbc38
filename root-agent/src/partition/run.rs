//! Starting, stopping and ending a partition.

use abi::{Status, register};
use alloc::format;

use super::{Life, Partition};
use crate::agent::Agent;
use crate::calls::vp::{self, word};
use crate::failure::Failure;
use crate::machine::Machine;
use crate::protocol::event::{Event, Stop};

/// Lets a loaded partition begin, or a paused one go on.
pub fn start<M: Machine>(agent: &Agent<M>, partition: &Partition) -> Result<(), Failure> {
    let machine = &agent.machine;
    let name = &partition.name;
    let refused = |status| Failure::refused(status, "to start the partition");
    // Before the first VP runs: it may end before this call does.
    let before = {
        let mut life = partition.life.lock();
        match *life {
            Life::Loaded | Life::Paused => core::mem::replace(&mut *life, Life::Running),
            Life::Empty => return Err(Failure::state(format!("{name} has no image: load one"))),
            _ => return Err(Failure::state(format!("{name} is {}", life.word()))),
        }
    };
    release(machine, partition, before == Life::Loaded).map_err(|status| {
        // None of its VPs goes on alone.
        let _ = hold(machine, partition);
        *partition.life.lock() = before.clone();
        refused(status)
    })
}

/// Lets the VPs go on. At first VP 0 begins; the others wait for a start-up IPI, as they were made.
fn release<M: Machine>(machine: &M, partition: &Partition, first: bool) -> Result<(), Status> {
    if first {
        let runs = word(register::INTERNAL_ACTIVITY_STATE, 0);
        vp::write(machine, partition.id, 0, &[runs])?;
    }
    // VP 0 last: when it runs, the others can be started.
    for index in (0..partition.vps.len() as u32).rev() {
        vp::suspend(machine, partition.id, index, false)?;
    }
    Ok(())
}

/// Holds all VPs of a partition.
pub fn hold<M: Machine>(machine: &M, partition: &Partition) -> Result<(), Status> {
    for index in 0..partition.vps.len() as u32 {
        vp::suspend(machine, partition.id, index, true)?;
    }
    Ok(())
}

/// Holds a running partition.
pub fn pause<M: Machine>(agent: &Agent<M>, partition: &Partition) -> Result<(), Failure> {
    if *partition.life.lock() != Life::Running {
        let life = partition.life.lock().word();
        let sentence = format!("{} does not run: it is {life}", partition.name);
        return Err(Failure::state(sentence));
    }
    hold(&agent.machine, partition)
        .map_err(|status| Failure::refused(status, "to stop the partition"))?;
    let mut life = partition.life.lock();
    if *life == Life::Running {
        *life = Life::Paused;
    }
    Ok(())
}

/// Notes that a partition is over, once, and tells so.
pub fn end<M: Machine>(agent: &Agent<M>, partition: &Partition, stop: Stop) {
    {
        let mut life = partition.life.lock();
        if !matches!(*life, Life::Running | Life::Paused) {
            return;
        }
        *life = Life::Ended(stop.clone());
    }
    // It does not run any more in any case: a VP that has not answered its intercept stays suspended.
    let _ = hold(&agent.machine, partition);
    if let Some(line) = partition.board.lock().uart.take_rest() {
        agent.tell(Event::Console {
            partition: partition.name.clone(),
            line,
        });
    }
    agent.tell(Event::Stopped {
        partition: partition.name.clone(),
        stop,
    });
}
