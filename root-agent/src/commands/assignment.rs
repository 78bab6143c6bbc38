//! Commands that give devices to partitions and take them back.

use super::arguments::Arguments;
use crate::agent::{Agent, parse_device};
use crate::failure::Failure;
use crate::machine::Machine;
use crate::partition::assign as assignment;
use crate::protocol::reply::{Reply, Row};

pub fn assign<M: Machine>(agent: &Agent<M>, arguments: &Arguments) -> Result<Reply, Failure> {
    let partition = agent.partition(arguments.word(0)?)?;
    let device = parse_device(arguments.word(1)?)?;
    let anyway = match arguments.optional_word(2) {
        None => false,
        Some("without-reset") => true,
        Some(other) => return Err(arguments.unexpected(other)),
    };
    let slot = assignment::assign(agent, &partition, device, anyway)?;
    Ok(Reply::result(
        Row::new()
            .with("name", &partition.name)
            .with("device", device)
            .with("guest-device", alloc::format!("0000:00:{slot:02x}.0")),
    ))
}

pub fn unassign<M: Machine>(agent: &Agent<M>, arguments: &Arguments) -> Result<Reply, Failure> {
    let partition = agent.partition(arguments.word(0)?)?;
    let device = parse_device(arguments.word(1)?)?;
    assignment::unassign(agent, &partition, device)?;
    let state = assignment::find(agent, device)
        .map_or("unknown", |info| super::devices::state_name(info.state));
    Ok(Reply::result(
        Row::new()
            .with("name", &partition.name)
            .with("device", device)
            .with("state", state),
    ))
}
