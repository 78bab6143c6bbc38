//! Commands about the console of a child.

use super::arguments::Arguments;
use crate::agent::Agent;
use crate::failure::Failure;
use crate::machine::Machine;
use crate::protocol::reply::{Reply, Row};

pub fn attach<M: Machine>(agent: &Agent<M>, arguments: &Arguments) -> Result<Reply, Failure> {
    let name = match arguments.word(0)? {
        "detach" => None,
        name => Some(agent.partition(name)?.name.clone()),
    };
    let shown = name.clone().unwrap_or_else(|| "-".into());
    agent.attach_console(name);
    Ok(Reply::result(Row::new().with("console", shown)))
}

pub fn input<M: Machine>(agent: &Agent<M>, arguments: &Arguments) -> Result<Reply, Failure> {
    let partition = agent.partition(arguments.word(0)?)?;
    let text = arguments.word(1)?;
    let mut board = partition.board.lock();
    text.bytes().for_each(|byte| board.uart.receive(byte));
    Ok(Reply::result(Row::new().with("bytes", text.len())))
}
