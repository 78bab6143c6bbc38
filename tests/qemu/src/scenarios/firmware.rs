//! Firmware tables that lie, and machines that cannot remap interrupts.

use anyhow::{Result, ensure};

use crate::config::{Config, DeviceKind, Dialect, Iommu, Network};
use crate::machine::Machine;
use crate::scenario::Scenario;

use super::SHORT;

pub fn scenarios() -> Vec<Scenario> {
    let hello = |name, config, run| Scenario::new(name, config, run).payload("hello.elf");
    // The same lie, in the table of each kind of IOMMU.
    let table = |name, lie: Lie, run| {
        hello(name, with_table(Dialect::Intel, lie), run).on_amd(with_table(Dialect::Amd, lie))
    };
    vec![
        table("fw_01_table_structure_of_no_length", Lie::Endless, refused),
        table("fw_01_table_cut_short", Lie::Cut, refused),
        table(
            "fw_01_table_two_units_in_one_place",
            Lie::Overlapping,
            refused,
        ),
        table("fw_01_table_without_units", Lie::Empty, refused),
        table("fw_01_control_good_table", Lie::None, assigned)
            .control_of("fw_01_table_structure_of_no_length"),
        table(
            "fw_04_reserved_memory_is_kept_where_it_is_firmwares",
            Lie::Reserved,
            reserved,
        ),
        hello(
            "fw_06_unit_without_interrupt_remapping",
            edu().iommu(Iommu::WithoutRemapping),
            refused,
        ),
        table(
            "fw_06_table_promises_no_interrupt_remapping",
            Lie::NoRemapping,
            refused,
        ),
        hello(
            "fw_06_no_x2apic_destinations",
            with_table(Dialect::Intel, Lie::X2apicOptOut),
            refused,
        )
        .on_amd(edu().iommu(Iommu::WithoutX2apic)),
        hello("fw_06_control_with_interrupt_remapping", edu(), assigned)
            .control_of("fw_06_unit_without_interrupt_remapping"),
        table(
            "fw_05_an_io_apic_that_no_unit_names",
            Lie::NoIoApic,
            without_pins,
        ),
        hello("no_iommu_no_assignment", edu().iommu(Iommu::None), refused),
    ]
}

fn edu() -> Config {
    Config::default().device(DeviceKind::Edu, Network::Unplugged)
}

/// What a table says that is not so.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lie {
    /// Nothing.
    None,
    /// A parser that steps by a structure's length would never end.
    Endless,
    /// A structure that says it is longer than the table.
    Cut,
    Overlapping,
    /// No unit at all.
    Empty,
    /// The I/O APIC is no unit's.
    NoIoApic,
    /// VT-d: the flag is missing. AMD-Vi, which has none: the device is named by no unit.
    NoRemapping,
    /// VT-d only.
    X2apicOptOut,
    /// Memory is reserved for the device: of firmware's own, of the root's, and of nobody's.
    Reserved,
}

/// What [`Lie::Reserved`] reserves, first byte and bytes: page 0, which the memory map always reserves, RAM, and what is not there.
const RESERVED: [(u64, u64); 3] = [
    (0, 0x1000),
    (0x10_0000, 0x10_0000),
    (0x40_0000_0000, 0x1000),
];

fn with_table(dialect: Dialect, lie: Lie) -> Config {
    let (name, bytes) = match dialect {
        Dialect::Intel => ("/acpi/dmar.aml", dmar::table(lie)),
        Dialect::Amd => ("/acpi/ivrs.aml", ivrs::table(lie)),
    };
    edu().content(name, bytes)
}

/// The whole table (ACPI specification 6.5, section 5.2.6), its checksum good.
fn sealed(signature: &[u8; 4], revision: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = signature.to_vec();
    bytes.extend((36 + body.len() as u32).to_le_bytes());
    bytes.extend([revision, 0]);
    bytes.extend(b"PORTCUTEST    \x01\0\0\0TEST\x01\0\0\0");
    bytes.extend(body);
    let sum = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    if let Some(checksum) = bytes.get_mut(9) {
        *checksum = 0u8.wrapping_sub(sum);
    }
    bytes
}

/// VT-d specification 4.1, chapter 8.
mod dmar {
    use super::{Lie, RESERVED, sealed};

    const REMAPS_INTERRUPTS: u8 = 1;
    const X2APIC_OPT_OUT: u8 = 2;
    /// Where the emulated unit is.
    const BASE: u64 = 0xfed9_0000;
    /// MADT id 0, requester ff:00.0.
    const IO_APIC: [u8; 8] = [3, 8, 0, 0, 0, 0xff, 0, 0];

    pub fn table(lie: Lie) -> Vec<u8> {
        let flags = match lie {
            Lie::NoRemapping => 0,
            Lie::X2apicOptOut => REMAPS_INTERRUPTS | X2APIC_OPT_OUT,
            _ => REMAPS_INTERRUPTS,
        };
        let structures = match lie {
            Lie::Endless => vec![0; 16],
            Lie::Cut => unit(&IO_APIC)[..20].to_vec(),
            Lie::Overlapping => unit(&IO_APIC).repeat(2),
            Lie::Empty => Vec::new(),
            Lie::NoIoApic => unit(&[]),
            Lie::Reserved => [unit(&IO_APIC), RESERVED.map(region).concat()].concat(),
            _ => unit(&IO_APIC),
        };
        // Host address width less one, flags.
        let mut body = vec![47, flags];
        body.resize(12, 0);
        body.extend(structures);
        sealed(b"DMAR", 1, &body)
    }

    /// Memory reserved for the device at slot 4.
    fn region((base, length): (u64, u64)) -> Vec<u8> {
        let mut bytes = vec![1, 0, 32, 0, 0, 0, 0, 0];
        bytes.extend(base.to_le_bytes());
        bytes.extend((base + length - 1).to_le_bytes());
        bytes.extend([1, 8, 0, 0, 0, 0, 4, 0]);
        bytes
    }

    /// A remapping unit with these scopes and what is on bus 0 of the machine.
    fn unit(scopes: &[u8]) -> Vec<u8> {
        let mut scopes = scopes.to_vec();
        for (device, function) in [(0, 0), (4, 0), (0x1f, 0), (0x1f, 2), (0x1f, 3)] {
            scopes.extend([1, 8, 0, 0, 0, 0, device, function]);
        }
        let length = 16 + scopes.len() as u8;
        let mut bytes = vec![0, 0, length, 0, 0, 0, 0, 0];
        bytes.extend(BASE.to_le_bytes());
        bytes.extend(scopes);
        bytes
    }
}

/// AMD I/O Virtualization Technology (IOMMU) Specification, "I/O Virtualization Reporting Structure (IVRS)".
mod ivrs {
    use super::{Lie, RESERVED, sealed};

    /// Where the emulated unit is, its own function (the first free slot), and the capability there.
    const BASE: u64 = 0xfed8_0000;
    const FUNCTION: u16 = 1 << 3;
    const CAPABILITY: u16 = 0x40;

    const EVERYTHING: [u8; 4] = [1, 0, 0, 0];
    /// The chipset's own functions, and not the device at slot 4.
    const CHIPSET: [u8; 8] = [3, 0xf8, 0, 0, 4, 0xff, 0, 0];
    /// Variety 1, MADT id 0, requester 00:14.0.
    const IO_APIC: [u8; 8] = [0x48, 0, 0, 0, 0, 0xa0, 0, 1];

    pub fn table(lie: Lie) -> Vec<u8> {
        let good = || unit(FUNCTION, &[&EVERYTHING[..], &IO_APIC].concat());
        let blocks = match lie {
            Lie::Endless => vec![0x10, 0, 0, 0, 0, 0, 0, 0],
            Lie::Cut => good()[..20].to_vec(),
            Lie::Overlapping => [good(), unit(FUNCTION + 8, &EVERYTHING)].concat(),
            Lie::NoIoApic => unit(FUNCTION, &EVERYTHING),
            Lie::Empty => Vec::new(),
            Lie::NoRemapping => unit(FUNCTION, &[&CHIPSET[..], &IO_APIC].concat()),
            Lie::Reserved => [good(), RESERVED.map(memory).concat()].concat(),
            Lie::None | Lie::X2apicOptOut => good(),
        };
        // Address sizes; eight reserved bytes.
        let mut body = vec![0, 0x28, 0x30, 0];
        body.resize(12, 0);
        body.extend(blocks);
        sealed(b"IVRS", 2, &body)
    }

    /// Memory (type 21h) reserved for the device at slot 4, to read and to write at its own address.
    fn memory((base, length): (u64, u64)) -> Vec<u8> {
        let mut bytes = vec![0x21, 7, 32, 0, 4 << 3, 0];
        bytes.resize(16, 0);
        bytes.extend(base.to_le_bytes());
        bytes.extend(length.to_le_bytes());
        bytes
    }

    /// A remapping unit (type 10h) with these devices.
    fn unit(function: u16, devices: &[u8]) -> Vec<u8> {
        let length = (24 + devices.len()) as u16;
        let mut bytes = vec![0x10, 0];
        bytes.extend(length.to_le_bytes());
        bytes.extend(function.to_le_bytes());
        bytes.extend(CAPABILITY.to_le_bytes());
        bytes.extend(BASE.to_le_bytes());
        bytes.resize(24, 0);
        bytes.extend(devices);
        bytes
    }
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

/// The device keeps the page that is firmware's to reserve, in a domain of no partition, and nothing of what is not.
fn reserved(machine: &mut Machine) -> Result<()> {
    let listed = machine.command("domains")?.data;
    let kept: Vec<_> = listed
        .iter()
        .filter(|row| row.get("partition") == Some("-"))
        .map(|row| (row.number("pages"), row.number("devices")))
        .collect();
    ensure!(kept == [(Some(1), Some(1))], "it keeps {listed:?}");
    refused(machine)
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

/// No pin is mapped; the console is asked now and then instead, and devices work, whose messages are not the I/O APIC's.
fn without_pins(machine: &mut Machine) -> Result<()> {
    let listed = machine.command("interrupts")?.data;
    let pin = listed.iter().any(|row| row.get("kind") == Some("pin"));
    ensure!(!pin, "a pin is mapped: {listed:?}");
    super::boot::console_says(machine, "lps\r", "apic")?;
    assigned(machine)
}
