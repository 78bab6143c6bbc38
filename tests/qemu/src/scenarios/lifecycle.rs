//! The life of a child partition without devices.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::config::Config;
use crate::machine::Machine;
use crate::scenario::Scenario;

/// For a payload that only says something and ends.
const SHORT: Duration = Duration::from_secs(30);

pub fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new("child_life", Config::default(), life),
        Scenario::new("child_console_line", Config::default(), console_line).payload("hello.elf"),
        Scenario::new("child_wrong_commands", Config::default(), wrong_commands),
    ]
}

/// Create, start, stop, delete; the partition is listed as long as it exists, and its name is free afterwards.
fn life(machine: &mut Machine) -> Result<()> {
    let name = machine.name("life");
    for _ in 0..2 {
        machine.prepare(&name, "memory=16M", "halt.elf", "")?;
        ensure!(
            listed(machine, &name)?,
            "{name} was created but is not listed"
        );
        machine.launch(&name)?;
        machine.command(&format!("stop {name}"))?;
        machine.command(&format!("delete {name}"))?;
        ensure!(
            !listed(machine, &name)?,
            "{name} was deleted but is still listed"
        );
    }
    Ok(())
}

/// What a child writes to its 16550 arrives as an event, and its stop code too.
fn console_line(machine: &mut Machine) -> Result<()> {
    let outcome = machine.run("hello.elf", "greeting=moin", "memory=16M", SHORT)?;
    let heard = outcome.lines.iter().any(|line| line.contains("moin"));
    ensure!(
        heard,
        "the child did not repeat its command line; it wrote {:?}",
        outcome.lines
    );
    ensure!(
        outcome.reason == "exit" && outcome.code == 1,
        "the child ended by {} {} {}",
        outcome.reason,
        outcome.code,
        outcome.detail
    );
    Ok(())
}

/// A command about nothing is refused, and the agent goes on.
fn wrong_commands(machine: &mut Machine) -> Result<()> {
    for line in [
        "start nobody",
        "delete nobody",
        "frobnicate",
        "create",
        "create x memory=lots",
    ] {
        let status = machine.refused(line)?;
        ensure!(!status.is_empty(), "{line}: refused without a status");
    }
    machine.command("lps")?;
    Ok(())
}

fn listed(machine: &Machine, name: &str) -> Result<bool> {
    Ok(machine
        .command("partitions")?
        .data
        .iter()
        .any(|line| line.get("name") == Some(name)))
}
