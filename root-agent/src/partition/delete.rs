//! Removing a partition.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Life, Partition, assign, deposit, run};
use crate::agent::Agent;
use crate::calls;
use crate::failure::Failure;
use crate::machine::Machine;
use crate::protocol::event::{Event, Stop, StopReason};

/// Stops a partition, takes its devices and removes it.
pub fn delete<M: Machine>(agent: &Agent<M>, partition: &Arc<Partition>) -> Result<(), Failure> {
    let machine = &agent.machine;
    run::hold(machine, partition)
        .map_err(|status| Failure::refused(status, "to stop the partition"))?;
    let before = core::mem::replace(&mut *partition.life.lock(), Life::Deleted);
    let devices: Vec<_> = partition.board.lock().bus.devices().collect();
    for (device, _) in devices {
        assign::unassign(agent, partition, device)?;
    }
    if matches!(before, Life::Running | Life::Paused) {
        agent.tell(Event::Stopped {
            partition: partition.name.clone(),
            stop: Stop {
                reason: StopReason::Deleted,
                code: 0,
                detail: alloc::string::String::new(),
            },
        });
    }
    agent.forget(partition.id);
    dismantle(machine, partition)
}

/// Takes a partition apart in the hypervisor, and takes back all memory that it had.
pub fn dismantle<M: Machine>(machine: &M, partition: &Partition) -> Result<(), Failure> {
    let id = partition.id;
    // Memory of a partition that the hypervisor still maps is never used again.
    calls::partition::finalize(machine, id)
        .map_err(|status| Failure::refused(status, "to finalize the partition"))?;
    deposit::withdraw_all(machine, id);
    partition.memory.give(machine);
    calls::partition::delete(machine, id)
        .map_err(|status| Failure::refused(status, "to delete the partition"))
}
