//! Commands about faults and counters.

use abi::vendor::{Counters, EXIT_NAMES};
use alloc::format;

use super::arguments::{Arguments, parse_number};
use crate::agent::{Agent, device_text, fault_text};
use crate::calls::vendor;
use crate::failure::Failure;
use crate::machine::Machine;
use crate::protocol::reply::{Reply, Row};

pub fn faults<M: Machine>(agent: &Agent<M>) -> Result<Reply, Failure> {
    agent.collect_faults();
    let faults = agent.faults();
    let mut reply = Reply::of(faults.iter().map(|(fault, partition)| {
        Row::new()
            .with("device", device_text(fault.device))
            .with("partition", partition)
            .with("address", format!("{:#x}", fault.address))
            .with("what", fault_text(fault))
            .with("lost", fault.lost)
    }));
    reply.result = Row::new().with("count", faults.len());
    Ok(reply)
}

pub fn counters<M: Machine>(agent: &Agent<M>, arguments: &Arguments) -> Result<Reply, Failure> {
    let machine = &agent.machine;
    let refused = |status| Failure::refused(status, "to read the counters");
    let mut reply = Reply::new();
    match (arguments.optional_word(0), arguments.optional_word(1)) {
        (Some("lp"), Some(number)) => {
            let lp = parse_number("the LP", number)?;
            let counters = vendor::lp_counters(machine, lp).map_err(refused)?;
            reply.result = row(Row::new().with("lp", lp), &counters);
        }
        (Some("root"), None) => {
            let counters = vendor::partition_counters(machine, 1).map_err(refused)?;
            reply.result = row(Row::new().with("name", "root"), &counters);
        }
        (Some(name), None) => {
            let partition = agent.partition(name)?;
            let counters = vendor::partition_counters(machine, partition.id).map_err(refused)?;
            let board = partition.board.lock();
            reply.result = row(Row::new().with("name", name), &counters)
                .with("unknown-ports", board.unknown_ports)
                .with("unknown-memory", board.unknown_memory);
        }
        (None, _) => {
            for lp in 0..u64::from(agent.facts.lps) {
                let counters = vendor::lp_counters(machine, lp).map_err(refused)?;
                reply.push(row(Row::new().with("lp", lp), &counters));
            }
        }
        (Some(_), Some(other)) => return Err(arguments.unexpected(other)),
    }
    Ok(reply)
}

fn row(head: Row, counters: &Counters) -> Row {
    let exits = EXIT_NAMES.iter().zip(counters.exits);
    let row = exits.fold(head, |row, (name, count)| {
        row.with(&format!("exit-{name}"), count)
    });
    row.with("hypercalls", counters.hypercalls)
        .with("device-interrupts", counters.device_interrupts)
        .with("injections", counters.injections)
        .with("messages", counters.messages)
        .with("dma-faults", counters.dma_faults)
        .with("mapped-pages", counters.mapped_pages)
        .with("domain-pages", counters.domain_pages)
        .with("frames-in-use", counters.frames_in_use)
        .with("frames-free", counters.frames_free)
        .with("vps", counters.vps)
        .with("devices", counters.devices)
        .with("interrupts", counters.interrupts)
        .with("guest-ticks", counters.guest_ticks)
        .with("preemptions", counters.preemptions)
}
