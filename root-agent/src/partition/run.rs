//! Starting, stopping and ending a partition.

use abi::register::{self, activity};
use alloc::format;

use super::{Life, Partition};
use crate::agent::Agent;
use crate::calls::vp::word;
use crate::calls::{self, vp};
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
    let begin = || {
        if before == Life::Loaded {
            release(machine, partition)?;
        }
        calls::partition::suspend(machine, partition.id, false)
    };
    begin().map_err(|status| {
        *partition.life.lock() = before.clone();
        refused(status)
    })
}

/// VP 0 begins; the others wait for a start-up IPI.
fn release<M: Machine>(machine: &M, partition: &Partition) -> Result<(), abi::Status> {
    for index in (0..partition.vps.len() as u32).rev() {
        if index != 0 {
            let waiting = word(register::INTERNAL_ACTIVITY_STATE, activity::STARTUP_SUSPEND);
            vp::write(machine, partition.id, index, &[waiting])?;
        }
        let go = word(register::EXPLICIT_SUSPEND, 0);
        vp::write(machine, partition.id, index, &[go])?;
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
    calls::partition::suspend(&agent.machine, partition.id, true)
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
    let _ = calls::partition::suspend(&agent.machine, partition.id, true);
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
