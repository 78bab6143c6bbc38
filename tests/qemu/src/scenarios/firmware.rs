//! Firmware tables that lie, and machines that cannot remap interrupts.

use anyhow::{Result, ensure};

use crate::config::{Config, DeviceKind, Iommu, Network};
use crate::machine::Machine;
use crate::scenario::Scenario;

use super::SHORT;

/// Host address width less one, and flags (VT-d specification 4.1, section 8.1).
const REMAPS_INTERRUPTS: u8 = 1;
const X2APIC_OPT_OUT: u8 = 2;

pub fn scenarios() -> Vec<Scenario> {
    let hello = |name, config, run| Scenario::new(name, config, run).payload("hello.elf");
    let table = |bytes| edu().content("/acpi/dmar.aml", bytes);
    vec![
        hello(
            "fw_01_dmar_structure_of_no_length",
            table(endless()),
            refused,
        ),
        hello("fw_01_dmar_cut_short", table(cut()), refused),
        hello(
            "fw_01_dmar_two_units_in_one_place",
            table(overlapping()),
            refused,
        ),
        hello(
            "fw_01_dmar_without_units",
            table(dmar(REMAPS_INTERRUPTS, &[])),
            refused,
        ),
        hello(
            "fw_01_control_good_dmar",
            table(dmar(REMAPS_INTERRUPTS, &unit(BASE, 0))),
            assigned,
        )
        .control_of("fw_01_dmar_structure_of_no_length"),
        hello(
            "fw_06_unit_without_interrupt_remapping",
            without_remapping(),
            refused,
        ),
        hello(
            "fw_06_dmar_says_no_interrupt_remapping",
            table(dmar(0, &unit(BASE, 0))),
            refused,
        ),
        hello(
            "fw_06_dmar_opts_out_of_x2apic",
            table(dmar(REMAPS_INTERRUPTS | X2APIC_OPT_OUT, &unit(BASE, 0))),
            refused,
        ),
        hello("fw_06_control_with_interrupt_remapping", edu(), assigned)
            .control_of("fw_06_unit_without_interrupt_remapping"),
        hello("no_iommu_no_assignment", edu().iommu(Iommu::None), refused),
    ]
}

fn edu() -> Config {
    Config::default().device(DeviceKind::Edu, Network::Unplugged)
}

fn without_remapping() -> Config {
    edu().iommu(Iommu::WithoutRemapping)
}

/// Where the emulated unit is.
const BASE: u64 = 0xfed9_0000;

/// A remapping unit with what is on bus 0 of the machine, and its I/O APIC.
fn unit(base: u64, include_all: u8) -> Vec<u8> {
    let mut scopes = vec![3, 8, 0, 0, 0, 0xff, 0, 0];
    for (device, function) in [(0, 0), (4, 0), (0x1f, 0), (0x1f, 2), (0x1f, 3)] {
        scopes.extend([1, 8, 0, 0, 0, 0, device, function]);
    }
    let length = 16 + scopes.len() as u8;
    let mut bytes = vec![0, 0, length, 0, include_all, 0, 0, 0];
    bytes.extend(base.to_le_bytes());
    bytes.extend(scopes);
    bytes
}

/// The whole table (ACPI specification 6.5, section 5.2.6), its checksum good.
fn dmar(flags: u8, structures: &[u8]) -> Vec<u8> {
    let mut bytes = b"DMAR\0\0\0\0\x01\0PORTCUTEST    \x01\0\0\0TEST\x01\0\0\0".to_vec();
    bytes.extend([47, flags, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend(structures);
    let length = (bytes.len() as u32).to_le_bytes();
    bytes.splice(4..8, length);
    let sum = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    if let Some(checksum) = bytes.get_mut(9) {
        *checksum = 0u8.wrapping_sub(sum);
    }
    bytes
}

/// A parser that steps by a structure's length would never end.
fn endless() -> Vec<u8> {
    dmar(
        REMAPS_INTERRUPTS,
        &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    )
}

/// A structure that says it is longer than the table.
fn cut() -> Vec<u8> {
    let mut structure = unit(BASE, 0);
    structure.truncate(20);
    dmar(REMAPS_INTERRUPTS, &structure)
}

fn overlapping() -> Vec<u8> {
    dmar(REMAPS_INTERRUPTS, &[unit(BASE, 0), unit(BASE, 0)].concat())
}

/// The system runs and a child works; the device stays nobody's, with a reason.
fn refused(machine: &mut Machine) -> Result<()> {
    let outcome = machine.run("hello.elf", "greeting=moin", "memory=16M", SHORT)?;
    ensure!(
        outcome.reason == "exit",
        "the child ended by {}",
        outcome.reason
    );
    let device = Config::device_id(0);
    let why = machine.command(&format!("whynot {device}"))?.result;
    ensure!(
        why.get("assignable") == Some("no"),
        "it can be assigned: {why}"
    );
    let reason = why.get("reason").unwrap_or_default();
    ensure!(reason.len() > 10, "no reason is given: {why}");
    let name = machine.name("victim");
    machine.command(&format!("create {name} memory=16M"))?;
    let status = machine.refused(&format!("assign {name} {device} without-reset"))?;
    ensure!(status == "FEATURE_UNAVAILABLE", "refused with {status}");
    // And the hypervisor itself, not only the agent.
    let id = machine.command("partitions")?.data;
    let id = id
        .iter()
        .find(|row| row.get("name") == Some(&name))
        .and_then(|row| row.number("id"));
    let name = super::interrupts::device_name(0);
    machine.command(&format!("hypercall 0xf004 {:#x} {name:#x}", u64::MAX))?;
    let made = machine.command(&format!(
        "hypercall 0x0082 {:#x} {name:#x} 0 0 0",
        id.unwrap_or(0)
    ))?;
    let status = made.result.get("status").unwrap_or_default();
    ensure!(status != "SUCCESS", "the hypervisor attached it");
    Ok(())
}

/// The same machine, its table good: the device can be assigned.
fn assigned(machine: &mut Machine) -> Result<()> {
    let outcome = machine.run("hello.elf", "greeting=moin", "memory=16M", SHORT)?;
    ensure!(
        outcome.reason == "exit",
        "the child ended by {}",
        outcome.reason
    );
    let child = crate::child::Child::interactive(machine, "edu.elf", &[super::E0])?;
    child.ask_good("self")?;
    child.ask_good("msi count=2").map(|_| ())
}
