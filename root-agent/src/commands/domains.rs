//! Commands about device domains.

use alloc::format;
use alloc::vec::Vec;

use super::arguments::{Arguments, parse_number};
use crate::agent::{Agent, parse_device};
use crate::calls::{Progress, device, domain, vendor};
use crate::failure::Failure;
use crate::machine::Machine;
use crate::partition::deposit;
use crate::protocol::reply::{Reply, Row};

/// Pages of one line of a command.
const PAGES_MAX: u64 = 0xfff;
/// Page numbers in one query.
const QUERY_MAX: usize = 256;

pub fn list<M: Machine>(agent: &Agent<M>, arguments: &Arguments) -> Result<Reply, Failure> {
    let only = match arguments.optional_word(0) {
        Some(name) => Some(agent.partition(name)?.id),
        None => None,
    };
    let fitting =
        vendor::domains(&agent.machine).filter(|info| only.is_none_or(|id| info.partition == id));
    let mut reply = Reply::of(fitting.map(|info| {
        Row::new()
            .with("partition", agent.name_of(info.partition))
            .with("id", info.id)
            .with("devices", info.devices)
            .with("pages", info.pages)
            .with("hardware-id", info.hardware_id)
            .with("levels", info.levels)
    }));
    reply.result = Row::new().with("count", reply.rows.len());
    Ok(reply)
}

pub fn change<M: Machine>(agent: &Agent<M>, arguments: &Arguments) -> Result<Reply, Failure> {
    let verb = arguments.word(0)?;
    let partition = agent.partition(arguments.word(1)?)?;
    let machine = &agent.machine;
    let id = partition.id;
    if verb == "block" {
        let device = parse_device(arguments.word(2)?)?;
        return device::block(machine, id, device)
            .map(|()| Reply::new())
            .map_err(|status| Failure::refused(status, "to block the device"));
    }
    let number = parse_number("the domain's id", arguments.word(2)?)?;
    let domain_id = u32::try_from(number)
        .map_err(|_| Failure::usage("a domain id of at most 32 bits was expected"))?;
    let call = |result: Result<(), abi::Status>, what: &str| {
        let done = result.map(|()| Reply::new());
        done.map_err(|status| Failure::refused(status, what))
    };
    match verb {
        "create" => {
            let create = || domain::create(machine, id, domain_id);
            call(
                deposit::while_needed(machine, id, create),
                "to make the domain",
            )
        }
        "delete" => call(
            domain::delete(machine, id, domain_id),
            "to delete the domain",
        ),
        "flush" => call(domain::flush(machine, id, domain_id), "to flush the domain"),
        "attach" => {
            let device = parse_device(arguments.word(3)?)?;
            let attach = || domain::attach(machine, id, domain_id, device);
            call(
                deposit::while_needed(machine, id, attach),
                "to attach the device",
            )
        }
        "map" => map(agent, (id, domain_id), arguments),
        "unmap" => {
            let (iova, pages) = range(arguments)?;
            let result = domain::unmap(machine, (id, domain_id), iova, pages as usize);
            call(result, "to unmap the pages")
        }
        "query" => query(agent, (id, domain_id), arguments),
        other => Err(arguments.unexpected(other)),
    }
}

/// First IOVA and number of pages.
fn range(arguments: &Arguments) -> Result<(u64, u64), Failure> {
    let iova = arguments.needed_number("iova")?;
    let pages = arguments.number("pages")?.unwrap_or(1);
    let last = pages.checked_mul(4096).and_then(|b| iova.checked_add(b));
    if pages == 0 || pages > PAGES_MAX || last.is_none() {
        let sentence = format!("pages=1 to {PAGES_MAX} behind an IOVA were expected");
        return Err(Failure::usage(sentence));
    }
    Ok((iova, pages))
}

fn map<M: Machine>(
    agent: &Agent<M>,
    target: (u64, u32),
    arguments: &Arguments,
) -> Result<Reply, Failure> {
    let (iova, pages) = range(arguments)?;
    let first = arguments.needed_number("page")?;
    let flags = if arguments.number("write")?.unwrap_or(1) != 0 {
        3
    } else {
        1
    };
    let numbers: Vec<u64> = (0..pages).filter_map(|at| first.checked_add(at)).collect();
    let mut done = 0;
    for chunk in numbers.chunks(abi::domain::MAP_MAX) {
        let at = iova.saturating_add(done * 4096);
        let mut progress = Progress::new(chunk.len());
        let result = deposit::while_needed(&agent.machine, target.0, || {
            domain::map(&agent.machine, target, at, chunk, flags, &mut progress)
        });
        done += progress.done as u64;
        result.map_err(|status| {
            Failure::refused(status, &format!("to map page {done} of {pages}"))
        })?;
    }
    Ok(Reply::result(Row::new().with("pages", done)))
}

fn query<M: Machine>(
    agent: &Agent<M>,
    target: (u64, u32),
    arguments: &Arguments,
) -> Result<Reply, Failure> {
    let (iova, pages) = range(arguments)?;
    let iovas: Vec<u64> = (0..pages)
        .filter_map(|at| iova.checked_add(at * 4096))
        .collect();
    let mut reply = Reply::new();
    for chunk in iovas.chunks(QUERY_MAX) {
        let found = domain::query(&agent.machine, target, chunk)
            .map_err(|status| Failure::refused(status, "to query the domain"))?;
        for (iova, page) in chunk.iter().zip(found) {
            let row = Row::new().with("iova", format!("{iova:#x}"));
            reply.push(match page {
                u64::MAX => row.with("page", "-"),
                page => row.with("page", format!("{page:#x}")),
            });
        }
    }
    Ok(reply)
}
