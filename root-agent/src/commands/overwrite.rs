//! The command that writes into a partition's memory, perhaps behind its back: what a person needs who wants to see that a page
//! which was taken away is gone.

use super::arguments::{Arguments, parse_number};
use crate::agent::Agent;
use crate::calls::memory;
use crate::failure::Failure;
use crate::machine::Machine;
use crate::partition::deposit;
use crate::protocol::reply::{Reply, Row};

const PAGE: u64 = 4096;

/// Writes eight bytes. With `unmap=1` the page has left the partition's GPA map before: no VP can see what is written.
pub fn run<M: Machine>(agent: &Agent<M>, arguments: &Arguments) -> Result<Reply, Failure> {
    let partition = agent.partition(arguments.word(0)?)?;
    let address = parse_number("the address", arguments.word(1)?)?;
    let value = parse_number("the value", arguments.word(2)?)?;
    let unmap = arguments.number("unmap")?.unwrap_or(0) != 0;
    let bytes = value.to_le_bytes();
    if !address.is_multiple_of(8) || address.saturating_add(8) > partition.memory.size() {
        return Err(Failure::usage(
            "a multiple of eight inside the partition's memory was expected",
        ));
    }
    if unmap {
        deposit::while_needed(&agent.machine, partition.id, || {
            memory::unmap(&agent.machine, partition.id, address / PAGE, 1)
        })
        .map_err(|status| Failure::refused(status, "to unmap the page"))?;
    }
    let mut reply = Reply::new();
    let written = partition.memory.write(&agent.machine, address, &bytes);
    reply.result = Row::new().with("written", u32::from(written));
    Ok(reply)
}
