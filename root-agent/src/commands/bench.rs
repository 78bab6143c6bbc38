//! The agent's own figures: what mapping costs, per page of 4 KiB, with a device in the identity domain that follows.

use abi::Status;
use abi::memory::{MAP_MAX, map_flags};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::agent::Agent;
use crate::calls::{device, memory, vendor};
use crate::facts::Span;
use crate::failure::Failure;
use crate::machine::Machine;
use crate::partition::create::{self, Plan};
use crate::partition::memory::{LARGE, map_chunk};
use crate::partition::{Partition, delete};
use crate::protocol::reply::{Reply, Row};

const PAGE: u64 = 4096;
/// First page of the range that is mapped: above all that a child has.
const GPFN: u64 = 0x10_0000;
const SAMPLES: usize = 1000;
const SIZES: [usize; 3] = [1, 512, 16_384];
/// Steps through the frames, so that no two neighbours follow each other; odd, so that each comes once.
const STRIDE: usize = 7919;

pub fn run<M: Machine>(agent: &Agent<M>) -> Result<Reply, Failure> {
    let plan = Plan {
        name: "agent-bench".into(),
        memory: LARGE,
        vps: alloc::vec![0],
        x2apic: true,
    };
    let partition = create::create(agent, plan)?;
    let attached = attach_any(agent, &partition);
    let length = SIZES.iter().copied().max().unwrap_or(1) as u64 * PAGE;
    let frames = agent.machine.take_memory(length, LARGE);
    let result = match frames {
        Some(frames) => measure(agent, &partition, frames),
        None => Err(Status::INSUFFICIENT_MEMORY),
    };
    if let Some(id) = attached {
        let _ = device::detach(&agent.machine, partition.id, id);
    }
    delete::delete(agent, &partition)?;
    if let Some(frames) = frames {
        agent.machine.give_memory(frames);
    }
    let mut reply = result.map_err(|status| Failure::refused(status, "a measured call"))?;
    reply.result = Row::new().with("device", u32::from(attached.is_some()));
    Ok(reply)
}

/// Attaches the first device that can be, so that the domain has somebody to serve.
fn attach_any<M: Machine>(
    agent: &Agent<M>,
    partition: &Arc<Partition>,
) -> Option<address::DeviceId> {
    let infos: Vec<_> = vendor::devices(&agent.machine).collect();
    infos.iter().find_map(|info| {
        let Some(abi::device::DeviceName::Pci(id)) = abi::device::DeviceName::decode(info.device)
        else {
            return None;
        };
        let free = info.owner <= 1 && info.reason == 0;
        let attach = || {
            device::declare_reset(&agent.machine, id).ok();
            device::attach(&agent.machine, partition.id, id).ok()
        };
        free.then(attach).flatten().map(|()| id)
    })
}

fn measure<M: Machine>(
    agent: &Agent<M>,
    partition: &Partition,
    frames: Span,
) -> Result<Reply, Status> {
    let count = (frames.length / PAGE) as usize;
    let scattered: Vec<u64> = (0..count)
        .map(|index| frames.start / PAGE + (index * STRIDE % count) as u64)
        .collect();
    let mut reply = Reply::new();
    for size in SIZES {
        let pages = scattered.get(..size).unwrap_or(&scattered);
        let (mut mapping, mut unmapping) = (Vec::new(), Vec::new());
        for _ in 0..SAMPLES {
            mapping.push(timed(agent, || map(agent, partition, pages, 0))? / size as u64);
            unmapping.push(timed(agent, || unmap(agent, partition, size))? / size as u64);
        }
        reply.push(figure(&alloc::format!("map_page_{size}"), mapping));
        reply.push(figure(&alloc::format!("unmap_page_{size}"), unmapping));
    }
    let large = [frames.start / PAGE];
    let mut mapping = Vec::new();
    for _ in 0..SAMPLES {
        let flags = map_flags::LARGE_PAGE;
        mapping.push(timed(agent, || map(agent, partition, &large, flags))?);
        unmap(agent, partition, (LARGE / PAGE) as usize)?;
    }
    reply.push(figure("map_2m_page", mapping));
    let system = vendor::system(&agent.machine, 0)?;
    reply.push(figure("boot_to_root_agent", alloc::vec![system.boot_ticks]));
    reply.push(figure("memory_kept_bytes", alloc::vec![system.kept_bytes]));
    Ok(reply)
}

fn timed<M: Machine>(
    agent: &Agent<M>,
    work: impl FnOnce() -> Result<(), Status>,
) -> Result<u64, Status> {
    let begin = agent.machine.ticks();
    work()?;
    Ok(agent.machine.ticks().wrapping_sub(begin))
}

fn map<M: Machine>(
    agent: &Agent<M>,
    partition: &Partition,
    pages: &[u64],
    more: u32,
) -> Result<(), Status> {
    let flags = map_flags::READ | map_flags::WRITE | more;
    let mut gpfn = GPFN;
    for chunk in pages.chunks(MAP_MAX) {
        map_chunk(&agent.machine, partition.id, gpfn, chunk, flags)?;
        gpfn += chunk.len() as u64;
    }
    Ok(())
}

fn unmap<M: Machine>(agent: &Agent<M>, partition: &Partition, pages: usize) -> Result<(), Status> {
    let mut done = 0;
    while done < pages {
        let now = (pages - done).min(0xfff);
        memory::unmap(&agent.machine, partition.id, GPFN + done as u64, now)?;
        done += now;
    }
    Ok(())
}

/// A figure: its median under its name, then how it was found.
fn figure(name: &str, mut samples: Vec<u64>) -> Row {
    samples.sort_unstable();
    let median = samples.get(samples.len() / 2).copied().unwrap_or(0);
    Row::new()
        .with(name, median)
        .with("min", samples.first().copied().unwrap_or(0))
        .with("samples", samples.len())
}
