//! Commands about device interrupts.

use super::arguments::{Arguments, parse_number};
use crate::agent::{Agent, device_text, parse_device};
use crate::calls::{interrupt, vendor};
use crate::failure::Failure;
use crate::machine::Machine;
use crate::protocol::reply::{Reply, Row};

pub fn list<M: Machine>(agent: &Agent<M>) -> Result<Reply, Failure> {
    let mut reply = Reply::of(vendor::interrupts(&agent.machine).map(|info| {
        Row::new()
            .with("device", device_text(info.device))
            .with("partition", agent.name_of(info.partition))
            .with("vp", info.vp)
            .with("vector", info.vector)
            .with("lp", info.lp)
            .with("lp-vector", info.lp_vector)
            .with("index", info.index)
            .with("kind", if info.kind == 0 { "message" } else { "pin" })
            .with("count", info.count)
    }));
    reply.result = Row::new().with("count", reply.rows.len());
    Ok(reply)
}

pub fn retarget<M: Machine>(agent: &Agent<M>, arguments: &Arguments) -> Result<Reply, Failure> {
    let partition = agent.partition(arguments.word(0)?)?;
    let device = parse_device(arguments.word(1)?)?;
    let message = parse_number("the message", arguments.word(2)?)?;
    let vp = arguments.needed_number("vp")?;
    let vector = arguments.needed_number("vector")?;
    let vector = u8::try_from(vector).ok().filter(|vector| *vector >= 16);
    let vector = vector.ok_or_else(|| Failure::usage("vector=16 to 255 was expected"))?;
    let vp = u32::try_from(vp)
        .ok()
        .filter(|vp| (*vp as usize) < partition.vps.len());
    let vp = vp.ok_or_else(|| Failure::usage("vp= with a VP of the partition was expected"))?;
    let board = partition.board.lock();
    let entry = board.bus.interrupt(device, message as usize);
    let entry = entry.ok_or_else(|| {
        Failure::not_found(alloc::format!(
            "{device} has no interrupt for message {message}"
        ))
    })?;
    interrupt::retarget(&agent.machine, partition.id, device, entry, (vp, vector))
        .map(|()| Reply::result(Row::new().with("vp", vp).with("vector", vector)))
        .map_err(|status| Failure::refused(status, "to move the interrupt"))
}
