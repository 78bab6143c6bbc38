//! Commands about PCI devices.

use abi::domain::NULL;
use abi::vendor::{DeviceInfo, device_state};
use alloc::format;
use alloc::string::{String, ToString};

use super::arguments::Arguments;
use crate::agent::{Agent, device_text, parse_device};
use crate::calls::vendor;
use crate::failure::Failure;
use crate::machine::Machine;
use crate::partition::assign;
use crate::pci::config::RealConfig;
use crate::pci::reset;
use crate::protocol::reply::{Reply, Row};

pub fn list<M: Machine>(agent: &Agent<M>) -> Result<Reply, Failure> {
    let mut reply = Reply::of(vendor::devices(&agent.machine).map(|info| row(agent, &info)));
    reply.result = Row::new().with("count", reply.rows.len());
    Ok(reply)
}

fn row<M: Machine>(agent: &Agent<M>, info: &DeviceInfo) -> Row {
    Row::new()
        .with("device", device_text(info.device))
        .with(
            "ids",
            format!("{:04x}:{:04x}", info.ids & 0xffff, info.ids >> 16),
        )
        .with("class", format!("{:06x}", info.class >> 8))
        .with("owner", agent.name_of(info.owner))
        .with("state", state_name(info.state))
        .with("domain", domain_text(info.domain))
        .with("iommu", index_text(info.iommu))
        .with("group", info.group)
        .with("assignable", if info.reason == 0 { "yes" } else { "no" })
        .with("interrupts", info.interrupts)
        .with("pages", info.pages)
        .with("faults", info.faults)
}

pub fn why_not<M: Machine>(agent: &Agent<M>, arguments: &Arguments) -> Result<Reply, Failure> {
    let device = parse_device(arguments.word(0)?)?;
    let info = assign::find(agent, device)?;
    let config = RealConfig::new(&agent.machine, &agent.facts, device);
    let can_reset = reset::method(&config).is_some();
    let (assignable, reason) = match assign::obstacle(agent, &info) {
        Some(reason) => ("no", reason),
        None if can_reset => ("yes", "it can be assigned".to_string()),
        None => (
            "without-reset",
            "it has no function-level reset: it can be assigned with the word without-reset"
                .to_string(),
        ),
    };
    Ok(Reply::result(
        Row::new()
            .with("device", device)
            .with("assignable", assignable)
            .with("reason", reason)
            .with("reset", if can_reset { "function-level" } else { "none" })
            .with("state", state_name(info.state))
            .with("owner", agent.name_of(info.owner))
            .with("group", info.group),
    ))
}

/// The word for a device's state.
pub const fn state_name(state: u32) -> &'static str {
    match state {
        device_state::NEEDS_RESET => "needs-reset",
        device_state::BLOCKED => "blocked",
        device_state::ATTACHED => "attached",
        device_state::DETACHED => "detached",
        device_state::FAILED => "failed",
        _ => "unknown",
    }
}

fn domain_text(domain: u32) -> String {
    match domain {
        NULL => "-".to_string(),
        domain => domain.to_string(),
    }
}

fn index_text(index: u32) -> String {
    match index {
        u32::MAX => "-".to_string(),
        index => index.to_string(),
    }
}
