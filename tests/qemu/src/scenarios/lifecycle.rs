//! The life of a child partition without devices.

use anyhow::{Result, ensure};

use crate::child::{Child, Order};
use crate::config::Config;
use crate::machine::Machine;
use crate::protocol::Fields;
use crate::scenario::Scenario;

use super::{E0, SHORT, full};

/// Lives in a row. PORTCULLIS_LIVES asks for another number.
const LIVES: u32 = 1000;

pub fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new("child_life", Config::default(), life).anywhere(),
        Scenario::new("child_console_line", Config::default(), console_line)
            .payload("hello.elf")
            .anywhere()
            .smoke(),
        Scenario::new("child_life_repeated", full(), repeated).payload("edu.elf"),
        Scenario::new("child_wrong_commands", Config::default(), wrong_commands).anywhere(),
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

/// What must be as before when a child is gone: memory, domains, interrupts, devices, partitions.
pub fn balance(machine: &Machine) -> Result<String> {
    let mut text = String::new();
    let memory = machine.command("memory")?.result;
    for key in ["free", "reserve-free", "kept"] {
        text += &format!("{key}={} ", memory.get(key).unwrap_or_default());
    }
    let root = machine.command("counters root")?.result;
    for key in [
        "mapped-pages",
        "domain-pages",
        "frames-in-use",
        "frames-free",
        "vps",
        "devices",
    ] {
        text += &format!("{key}={} ", root.get(key).unwrap_or_default());
    }
    let kept = |row: &Fields, keys: &[&str]| -> String {
        let each = keys.iter().map(|key| row.get(key).unwrap_or_default());
        each.collect::<Vec<_>>().join(":") + " "
    };
    for (command, keys) in [
        ("partitions", &["name"][..]),
        ("domains", &["partition", "id", "pages"]),
        ("interrupts", &["device", "partition", "vector"]),
        ("devices", &["device", "owner", "state", "domain"]),
    ] {
        let rows = machine.command(command)?.data;
        text += &rows.iter().map(|row| kept(row, keys)).collect::<String>();
    }
    Ok(text)
}

/// One life: 64 MiB mapped, a device attached, a VP that ran, an interrupt received.
fn live(machine: &Machine) -> Result<()> {
    let child = Child::start(
        machine,
        &Order {
            payload: "edu.elf",
            options: "memory=64M",
            words: "msi count=1",
            devices: &[E0],
        },
    )?;
    let outcome = child.ended(SHORT)?;
    ensure!(
        outcome.reason == "exit" && outcome.code == 1,
        "the child ended by {} {}: {:?}",
        outcome.reason,
        outcome.code,
        outcome.lines
    );
    child.delete()
}

/// Many lives leave nothing behind.
fn repeated(machine: &mut Machine) -> Result<()> {
    // The first one may make the agent's own tables grow.
    live(machine)?;
    let before = balance(machine)?;
    let asked = std::env::var("PORTCULLIS_LIVES").ok();
    let lives = asked
        .and_then(|number| number.parse().ok())
        .unwrap_or(LIVES);
    for number in 1..=lives {
        live(machine)?;
        if number % 50 == 0 || number < 3 {
            let after = balance(machine)?;
            ensure!(
                before == after,
                "after {number} lives\n{after}\nand not\n{before}"
            );
        }
    }
    Ok(())
}
