//! Commands about partitions.

use alloc::string::String;
use alloc::vec::Vec;

use super::Outcome;
use super::arguments::{Arguments, parse_lps, parse_size};
use crate::agent::Agent;
use crate::calls;
use crate::failure::Failure;
use crate::machine::Machine;
use crate::partition::create::{Plan, VPS_MAX};
use crate::partition::load::Order;
use crate::partition::{self, Life, Partition};
use crate::protocol::event::Stop;
use crate::protocol::reply::{Reply, Row};

const DEFAULT_MEMORY: u64 = 64 << 20;

pub fn list<M: Machine>(agent: &Agent<M>) -> Result<Reply, Failure> {
    let partitions = agent.partitions();
    let mut reply = Reply::of(partitions.iter().map(|partition| row(partition)));
    reply.result = Row::new().with("count", partitions.len());
    Ok(reply)
}

fn row(partition: &Partition) -> Row {
    let lps: Vec<String> = partition
        .vps
        .iter()
        .map(|lp| alloc::format!("{lp}"))
        .collect();
    let devices = partition.board.lock().bus.devices().count();
    Row::new()
        .with("name", &partition.name)
        .with("id", partition.id)
        .with("state", partition.life.lock().word())
        .with("memory", partition.memory.size())
        .with("vps", partition.vps.len())
        .with("lps", lps.join(","))
        .with("devices", devices)
}

pub fn create<M: Machine>(agent: &Agent<M>, arguments: &Arguments) -> Result<Reply, Failure> {
    let memory = match arguments.value("memory") {
        Some(text) => parse_size(text)?,
        None => DEFAULT_MEMORY,
    };
    let lps = match arguments.value("lps") {
        Some(text) => parse_lps(text)?,
        None => (0..agent.facts.lps.min(u32::from(u16::MAX)) as u16).collect(),
    };
    let count = arguments.number("vps")?;
    let count = count.unwrap_or(match arguments.value("lps") {
        Some(_) => lps.len() as u64,
        None => 1,
    });
    if count == 0 || count > u64::from(VPS_MAX) {
        let sentence = alloc::format!("1 to {VPS_MAX} VPs were expected, found {count}");
        return Err(Failure::usage(sentence));
    }
    if let Some(image) = arguments.value("image") {
        // One that load would refuse is refused here, before anything is made.
        partition::load::check(agent, image, memory)?;
    }
    let x2apic = match arguments.optional_word(1) {
        None => true,
        Some("without-x2apic") => false,
        Some(other) => return Err(arguments.unexpected(other)),
    };
    let plan = Plan {
        name: arguments.word(0)?.into(),
        memory,
        vps: lps.iter().copied().cycle().take(count as usize).collect(),
        x2apic,
    };
    let partition = partition::create::create(agent, plan)?;
    Ok(Reply::result(row(&partition)))
}

pub fn load<M: Machine>(agent: &Agent<M>, arguments: &Arguments) -> Result<Reply, Failure> {
    let partition = agent.partition(arguments.word(0)?)?;
    let order = Order {
        image: arguments.word(1)?.into(),
        command_line: arguments.value("cmdline").unwrap_or("").into(),
        modules: arguments.values("module").map(Into::into).collect(),
    };
    let kind = partition::load::load(agent, &partition, &order)?;
    Ok(Reply::result(
        Row::new()
            .with("name", &partition.name)
            .with("kind", kind.name())
            .with("modules", order.modules.len()),
    ))
}

pub fn start<M: Machine>(agent: &Agent<M>, arguments: &Arguments) -> Result<Reply, Failure> {
    let partition = agent.partition(arguments.word(0)?)?;
    partition::run::start(agent, &partition)?;
    Ok(named(&partition))
}

pub fn stop<M: Machine>(agent: &Agent<M>, arguments: &Arguments) -> Result<Reply, Failure> {
    let partition = agent.partition(arguments.word(0)?)?;
    partition::run::pause(agent, &partition)?;
    Ok(named(&partition))
}

pub fn delete<M: Machine>(agent: &Agent<M>, arguments: &Arguments) -> Result<Reply, Failure> {
    let partition = agent.partition(arguments.word(0)?)?;
    partition::delete::delete(agent, &partition)?;
    Ok(named(&partition))
}

fn named(partition: &Partition) -> Reply {
    Reply::result(Row::new().with("name", &partition.name))
}

pub fn show<M: Machine>(agent: &Agent<M>, arguments: &Arguments) -> Result<Reply, Failure> {
    let partition = agent.partition(arguments.word(0)?)?;
    let mut reply = Reply::new();
    for (vp, lp) in partition.vps.iter().enumerate() {
        reply.push(Row::new().with("vp", vp).with("lp", lp).with("apic", vp));
    }
    let mut guest = 0;
    for piece in partition.memory.pieces() {
        reply.push(
            Row::new()
                .with("guest", alloc::format!("{guest:#x}"))
                .with("root", alloc::format!("{:#x}", piece.start))
                .with("bytes", alloc::format!("{:#x}", piece.length)),
        );
        guest += piece.length;
    }
    let board = partition.board.lock();
    for (device, slot) in board.bus.devices() {
        let place = alloc::format!("0000:00:{slot:02x}.0");
        reply.push(
            Row::new()
                .with("device", device)
                .with("guest-device", place),
        );
    }
    let (ports, memory) = (board.unknown_ports, board.unknown_memory);
    drop(board);
    let balance = calls::memory::balance(&agent.machine, partition.id).unwrap_or_default();
    let mut result = row(&partition)
        .with("unknown-ports", ports)
        .with("unknown-memory", memory)
        .with("frames-used", balance.in_use)
        .with("frames-free", balance.available);
    if let Life::Ended(stop) = &*partition.life.lock() {
        result = result
            .with("reason", stop.reason.word())
            .with("code", stop.code)
            .with("detail", &stop.detail);
    }
    reply.result = result;
    Ok(reply)
}

pub fn wait<M: Machine>(agent: &Agent<M>, arguments: &Arguments) -> Result<Outcome, Failure> {
    let name = arguments.word(0)?;
    agent.partition(name)?;
    match waited(agent, name) {
        Some(result) => result.map(Outcome::Done),
        None => Ok(Outcome::Wait(name.into())),
    }
}

/// How a partition ended, once it has. One that was deleted meanwhile has ended as well.
pub fn waited<M: Machine>(agent: &Agent<M>, name: &str) -> Option<Result<Reply, Failure>> {
    let Ok(partition) = agent.partition(name) else {
        let result = Row::new().with("reason", "deleted").with("code", 0);
        return Some(Ok(Reply::result(result)));
    };
    match &*partition.life.lock() {
        Life::Ended(Stop {
            reason,
            code,
            detail,
        }) => Some(Ok(Reply::result(
            Row::new()
                .with("reason", reason.word())
                .with("code", code)
                .with("detail", detail),
        ))),
        Life::Empty => Some(Err(Failure::state(alloc::format!(
            "{name} has no image: it will never stop"
        )))),
        _ => None,
    }
}
