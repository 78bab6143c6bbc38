//! The life of a device: between owners, and when its owner ends.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::dma::TRANSFER;
use super::interrupts::device_name;
use super::{E0, E1, IGB, full};
use crate::child::Child;
use crate::config::Config;
use crate::machine::Machine;
use crate::scenario::Scenario;

const MARK: u64 = 0x1a7e_1a7e_0ff5_1de5;
/// The device begins its transfer so long after the command; what is judged must lie well before.
const IN_TIME: Duration = Duration::from_millis(80);
/// Tries to be in time on a busy host.
const TRIES: usize = 20;

pub fn scenarios() -> Vec<Scenario> {
    let edu = |name, run| Scenario::new(name, full(), run).payload("edu.elf");
    vec![
        edu("rst_01_transfer_outlives_its_partition", outlives),
        edu("rst_01_control_transfer_lands_while_it_lives", lands)
            .control_of("rst_01_transfer_outlives_its_partition"),
        edu("rst_11_device_attached_twice", twice),
        edu("rst_11_control_attached_once_works", once).control_of("rst_11_device_attached_twice"),
        edu("device_given_to_another_child", given_on),
        edu("two_devices_in_one_domain", two_devices),
        Scenario::new("device_reset_between_owners", full(), reset_between).payload("net.elf"),
    ]
}

/// A transfer is under way when its partition is deleted: it never arrives in the freed frame.
fn outlives(machine: &mut Machine) -> Result<()> {
    let mut took = Vec::new();
    for _ in 0..TRIES {
        let child = Child::interactive(machine, "edu.elf", &[E0])?;
        let page = child.ask_good("where")?.number("page")?;
        let place = child.place(page)?;
        child.ask_good(&format!("load={MARK:#x}"))?;
        child.tell("start=write addr=own bytes=4096 loaded")?;
        child.line(|line| line == "edu: begins")?;
        let begun = Instant::now();
        // The next thing that the child does; it gets several slices for it.
        std::thread::sleep(Duration::from_millis(10));
        child.delete()?;
        let early = found(machine, place)?;
        let deleted = begun.elapsed();
        ensure!(!early || deleted > IN_TIME, "it landed before its time");
        if deleted > IN_TIME {
            took.push(deleted);
            continue;
        }
        std::thread::sleep(TRANSFER.saturating_sub(begun.elapsed()));
        ensure!(
            !found(machine, place)?,
            "the write of a deleted partition's device landed at {place:#x}"
        );
        return Ok(());
    }
    anyhow::bail!("no partition was deleted within {IN_TIME:?} in {TRIES} tries: {took:?}")
}

fn found(machine: &Machine, place: u64) -> Result<bool> {
    Ok(machine.physical(place, 8)? == MARK.to_le_bytes())
}

/// The same transfer, left alone, is there after that time.
fn lands(machine: &mut Machine) -> Result<()> {
    let child = Child::interactive(machine, "edu.elf", &[E0])?;
    let page = child.ask_good("where")?.number("page")?;
    let place = child.place(page)?;
    child.ask_good(&format!("start=write addr=own value={MARK:#x} bytes=4096"))?;
    std::thread::sleep(TRANSFER);
    ensure!(found(machine, place)?, "the write did not land");
    child.ask_good(&format!("check={MARK:#x}")).map(|_| ())
}

fn attach(machine: &Machine, partition: u64, device: usize) -> Result<String> {
    let line = format!(
        "hypercall 0x0082 {partition:#x} {:#x} 0 0 0",
        device_name(device)
    );
    let made = machine.command(&line)?;
    Ok(made.result.get("status").unwrap_or_default().to_string())
}

fn id(machine: &Machine, child: &Child) -> Result<u64> {
    let listed = machine.command("partitions")?.data;
    let row = listed
        .iter()
        .find(|row| row.get("name") == Some(child.name()));
    let id = row.and_then(|row| row.number("id"));
    id.ok_or_else(|| anyhow::anyhow!("{} is not listed", child.name()))
}

/// To a second partition, to the same one, to the root, to none, to one that does not exist: refused each time, by the
/// hypervisor and by the agent, and the owner notices nothing.
fn twice(machine: &mut Machine) -> Result<()> {
    let owner = Child::interactive(machine, "edu.elf", &[E0])?;
    let other = Child::interactive(machine, "edu.elf", &[E1])?;
    let before = machine.command("devices")?.data;
    for partition in [
        id(machine, &other)?,
        id(machine, &owner)?,
        u64::MAX,
        0,
        0x7777,
    ] {
        let status = attach(machine, partition, E0.0)?;
        ensure!(status != "SUCCESS", "attached to partition {partition:#x}");
    }
    let device = Config::device_id(E0.0);
    let status = machine.refused(&format!("assign {} {device} without-reset", other.name()))?;
    ensure!(!status.is_empty(), "refused without a status");
    let after = machine.command("devices")?.data;
    let held = |rows: &[crate::protocol::Fields]| -> Vec<String> {
        let word =
            |row: &crate::protocol::Fields, key| row.get(key).unwrap_or_default().to_string();
        let each = rows.iter();
        each.map(|row| word(row, "owner") + " " + &word(row, "state"))
            .collect()
    };
    ensure!(held(&before) == held(&after), "{before:?} became {after:?}");
    owner.ask_good("self")?;
    other.ask_good("self").map(|_| ())
}

/// The same call for a device that is free and reset: it is attached, once, and works.
fn once(machine: &mut Machine) -> Result<()> {
    let child = Child::interactive(machine, "edu.elf", &[E0])?;
    ensure!(
        machine.command("devices")?.data.iter().any(|row| {
            row.get("owner") == Some(child.name()) && row.get("state") == Some("attached")
        }),
        "the device is not listed as attached"
    );
    child.ask_good("self").map(|_| ())
}

/// Detached and given to another child, the device reaches the new owner's memory and interrupts it, not the old one's.
fn given_on(machine: &mut Machine) -> Result<()> {
    let device = Config::device_id(E0.0);
    let first = Child::interactive(machine, "edu.elf", &[E0])?;
    first.ask_good("self")?;
    first.ask_good("msi count=2")?;
    let page = first.ask_good("where")?.number("page")?;
    let place = first.place(page)?;
    first.command(&format!("unassign {{}} {device}"))?;
    let second = Child::interactive(machine, "edu.elf", &[E0])?;
    second.ask_good("self")?;
    second.ask_good("msi count=5")?;
    second.ask_good(&format!("dma=write addr=own value={MARK:#x}"))?;
    ensure!(
        !found(machine, place)?,
        "the device wrote to its last owner's page"
    );
    first.tell("where")?;
    first.ready()
}

/// One identity domain, two devices: both write to and read from the same memory.
fn two_devices(machine: &mut Machine) -> Result<()> {
    let child = Child::interactive(machine, "edu.elf", &[E0, E1])?;
    child.ask_good("self")?;
    child.ask_good("msi count=2")?;
    child.ask_good("device=1 self")?;
    child.ask_good("msi count=2")?;
    child.ask_good("device=0 self")?;
    let domains = child.command("domains {}")?.data;
    let both = domains.iter().any(|row| row.number("devices") == Some(2));
    ensure!(both, "no domain has both devices: {domains:?}");
    Ok(())
}

/// A device with a function-level reset gets one, unasked, on its way from one owner to the next.
fn reset_between(machine: &mut Machine) -> Result<()> {
    let device = Config::device_id(IGB.0);
    let base = super::interrupts::memory_base(machine, IGB.0, 0x10)?;
    let order = crate::child::Order {
        payload: "net.elf",
        options: "memory=16M",
        words: "ip=10.7.0.2/24",
        devices: &[IGB],
    };
    let child = Child::start(machine, &order)?;
    child.line(|line| line == "net: serving")?;
    let ring = machine.register(base + 0xc000)?;
    ensure!(ring != 0, "the driver gave the adapter no ring");
    child.command(&format!("unassign {{}} {device}"))?;
    let listed = machine.command("devices")?.data;
    let row = listed.iter().find(|row| row.get("device") == Some(&device));
    let state = row.and_then(|row| row.get("state")).unwrap_or_default();
    ensure!(state == "blocked", "after its reset the device is {state}");
    let master = machine.config_register(IGB.0, 4)? & 4;
    ensure!(master == 0, "a blocked device masters the bus");
    Ok(())
}
