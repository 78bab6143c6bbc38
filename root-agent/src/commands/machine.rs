//! Commands about the machine itself.

use abi::root_info::range_kind;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::arguments::{Arguments, parse_number};
use crate::agent::Agent;
use crate::calls::vendor;
use crate::emulation::map::EXIT;
use crate::failure::Failure;
use crate::machine::Machine;
use crate::protocol::reply::{Reply, Row};

/// Rounds in which the log is read: more than the ring can hold.
const LOG_ROUNDS: usize = 4096;

pub fn lps<M: Machine>(agent: &Agent<M>) -> Result<Reply, Failure> {
    let mut reply = Reply::new();
    for lp in 0..u64::from(agent.facts.lps) {
        let info = vendor::system(&agent.machine, lp)
            .map_err(|status| Failure::refused(status, "to describe an LP"))?;
        let counters = vendor::lp_counters(&agent.machine, lp).unwrap_or_default();
        reply.push(
            Row::new()
                .with("lp", lp)
                .with("apic", info.apic_id)
                .with("vps", info.vps)
                .with("hypercalls", counters.hypercalls)
                .with("interrupts", counters.device_interrupts)
                .with("preemptions", counters.preemptions)
                .with("nmis", info.nmis),
        );
    }
    let info = vendor::system(&agent.machine, 0)
        .map_err(|status| Failure::refused(status, "to describe the machine"))?;
    let dialect = if info.processor_dialect == 0 {
        "svm"
    } else {
        "vmx"
    };
    reply.result = Row::new()
        .with("count", info.lps)
        .with("dialect", dialect)
        .with("tsc-hz", info.tsc_hz)
        .with("apic-hz", info.apic_hz)
        .with("slice-us", info.slice_us)
        .with("boot-ticks", info.boot_ticks);
    Ok(reply)
}

pub fn memory<M: Machine>(agent: &Agent<M>) -> Result<Reply, Failure> {
    let info = vendor::system(&agent.machine, 0)
        .map_err(|status| Failure::refused(status, "to describe the machine"))?;
    let ranges = agent.facts.ranges.iter().map(|(span, kind)| {
        Row::new()
            .with("start", format!("{:#x}", span.start))
            .with("bytes", format!("{:#x}", span.length))
            .with("kind", kind_name(*kind))
    });
    let mut reply = Reply::of(ranges);
    reply.result = Row::new()
        .with("ram", info.ram_bytes)
        .with("kept", info.kept_bytes)
        .with("text", info.text_bytes)
        .with("reserve-free", info.reserve_free)
        .with("free", agent.machine.free_memory());
    Ok(reply)
}

const fn kind_name(kind: u64) -> &'static str {
    match kind {
        range_kind::FREE => "free",
        range_kind::LOADED => "loaded",
        range_kind::ACPI => "acpi",
        range_kind::MMIO => "mmio",
        range_kind::ECAM => "ecam",
        _ => "reserved",
    }
}

pub fn iommus<M: Machine>(agent: &Agent<M>) -> Result<Reply, Failure> {
    let system = vendor::system(&agent.machine, 0).unwrap_or_default();
    let rows = (0..).zip(vendor::iommus(&agent.machine));
    let mut reply = Reply::of(rows.map(|(index, info): (u32, _)| {
        let name = info.dialect.split(|&byte| byte == 0).next().unwrap_or(&[]);
        let bit = |bit: u32| u32::from(info.features & 1 << bit != 0);
        Row::new()
            .with("iommu", index)
            .with("dialect", String::from_utf8_lossy(name))
            .with("segment", info.segment)
            .with("base", format!("{:#x}", info.base))
            .with("state", if info.failed == 0 { "works" } else { "failed" })
            .with("address-bits", info.address_bits)
            .with("pages-2m", bit(0))
            .with("pages-1g", bit(1))
            .with("coherent", bit(2))
            .with("interrupts", bit(3))
            .with("devices", info.devices)
            .with("flushes", info.flushes)
            .with("faults", info.faults)
    }));
    reply.result = Row::new()
        .with("count", reply.rows.len())
        .with("dma-remapping", system.assignment & 1)
        .with("interrupt-remapping", system.assignment >> 1 & 1);
    Ok(reply)
}

pub fn log<M: Machine>(agent: &Agent<M>) -> Result<Reply, Failure> {
    let mut text: Vec<u8> = Vec::new();
    let mut position = 0;
    for _ in 0..LOG_ROUNDS {
        let part = vendor::log(&agent.machine, position)
            .map_err(|status| Failure::refused(status, "to read the log"))?;
        let count = (part.count as usize).min(part.bytes.len());
        if count == 0 {
            break;
        }
        text.extend_from_slice(part.bytes.get(..count).unwrap_or(&[]));
        position = part.position;
    }
    let text = String::from_utf8_lossy(&text);
    Ok(Reply::of(
        text.lines().map(|line| Row::new().with("text", line)),
    ))
}

pub fn power<M: Machine>(agent: &Agent<M>, reset: bool) -> Result<Reply, Failure> {
    vendor::power(&agent.machine, reset)
        .map(|()| Reply::new())
        .map_err(|status| Failure::refused(status, "to change the power state"))
}

pub fn exit<M: Machine>(agent: &Agent<M>, arguments: &Arguments) -> Result<Reply, Failure> {
    let number = parse_number("the exit value", arguments.word(0)?)?;
    let value = u8::try_from(number)
        .map_err(|_| Failure::usage("an exit value of 0 to 255 was expected"))?;
    agent.machine.write_port(EXIT, value);
    // Who reads this is on a machine without an exit port.
    Ok(Reply::result(Row::new().with("written", value)))
}
