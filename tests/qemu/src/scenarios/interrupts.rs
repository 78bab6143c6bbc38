//! Interrupts that a hostile child or device would forge.

use anyhow::{Context, Result, ensure};

use super::{E0, E1, IGB, full};
use crate::child::Child;
use crate::config::{Config, Dialect};
use crate::machine::Machine;
use crate::protocol::Fields;
use crate::scenario::Scenario;

pub fn scenarios() -> Vec<Scenario> {
    let edu = |name, run| Scenario::new(name, full(), run).payload("edu.elf");
    vec![
        edu("int_01_raw_message_in_msi", raw_message),
        edu("int_01_control_own_message_arrives", own_message)
            .control_of("int_01_raw_message_in_msi"),
        Scenario::new("int_02_raw_message_in_msix_table", full(), raw_table).payload("probe.elf"),
        edu("int_03_message_of_another_device", foreign_message),
        edu("int_03_control_its_own_message", its_own_message)
            .control_of("int_03_message_of_another_device"),
        edu("int_03_a_refused_message_is_told", refused_message_is_told),
        edu("int_07_messages_that_are_not_fixed", not_fixed),
        edu("int_07_control_fixed_messages_arrive", its_own_message)
            .control_of("int_07_messages_that_are_not_fixed"),
        edu("int_08_vectors_that_are_none", vectors),
        edu("int_08_control_a_good_vector", own_message).control_of("int_08_vectors_that_are_none"),
    ]
}

/// Whether a message is a handle of the hypervisor's: on VT-d the remappable format (specification 4.1, section 5.1.2.2: bit 4 of
/// FEExxxxxh); on AMD-Vi (specification, "Interrupt Remapping") an index in the data, in fixed delivery mode, to the first address.
fn is_handle(machine: &Machine, (address, data): (u32, u32)) -> bool {
    match machine.dialect() {
        Dialect::Intel => address >> 20 == 0xfee && address >> 4 & 1 == 1,
        Dialect::Amd => address == 0xfee0_0000 && data < HANDLES,
    }
}

/// No table of an edu device or a network card has more entries.
const HANDLES: u32 = 16;

/// Offset of a capability of the device with this index, and its header.
fn capability(machine: &Machine, device: usize, id: u8) -> Result<(u16, u32)> {
    let mut at = machine.config_register(device, 0x34)? as u16 & 0xfc;
    for _ in 0..48 {
        let header = machine.config_register(device, at)?;
        if header as u8 == id {
            return Ok((at, header));
        }
        at = (header >> 8) as u16 & 0xfc;
    }
    anyhow::bail!("device {device} has no capability {id:#x}")
}

/// Address and data in the physical MSI capability.
fn physical_msi(machine: &Machine, device: usize) -> Result<(u32, u32)> {
    let (at, header) = capability(machine, device, 5)?;
    let data = if header >> 23 & 1 == 1 { 12 } else { 8 };
    let data = machine.config_register(device, at + data)? & 0xffff;
    Ok((machine.config_register(device, at + 4)?, data))
}

/// The row of `interrupts` about a device.
fn granted(machine: &Machine, device: usize) -> Result<Fields> {
    let id = Config::device_id(device);
    let listed = machine.command("interrupts")?.data;
    let found = listed
        .into_iter()
        .find(|row| row.get("device") == Some(&id));
    found.with_context(|| format!("{id} has no interrupt"))
}

/// Whatever the child writes into its capability, hardware holds the hypervisor's handle.
fn raw_message(machine: &mut Machine) -> Result<()> {
    let child = Child::interactive(machine, "edu.elf", &[E0])?;
    child.ask_good("msi count=1")?;
    let before = physical_msi(machine, E0.0)?;
    ensure!(is_handle(machine, before), "hardware has {before:#x?}");
    // A physical destination that the child has no VP for, an NMI, and the hypervisor's own vectors.
    for (address, data) in [
        (0xfee0_5000_u32, 0x61),
        (0xfee0_0000, 0x400),
        (0xfee0_1000, 0xf0),
        (0xfee0_0008, 0x30),
    ] {
        child.ask(&format!(
            "msi=raw addr={address:#x} data={data:#x} expect=blocked"
        ))?;
        let (now, now_data) = physical_msi(machine, E0.0)?;
        let off = now == 0 || machine_masks(machine)?;
        ensure!(
            is_handle(machine, (now, now_data)) || off,
            "hardware has {now:#x} {now_data:#x} after {address:#x} {data:#x}"
        );
        ensure!(
            (now, now_data) != (address, data),
            "the child's message went to hardware"
        );
    }
    child.ask_good("msi count=3").map(|_| ())
}

/// Whether the physical MSI capability of the first edu device is off.
fn machine_masks(machine: &Machine) -> Result<bool> {
    let (_, header) = capability(machine, E0.0, 5)?;
    Ok(header >> 16 & 1 == 0)
}

/// A message that the child may send arrives each time.
fn own_message(machine: &mut Machine) -> Result<()> {
    let child = Child::interactive(machine, "edu.elf", &[E0])?;
    let arrived = child.ask_good("msi count=20")?.number("arrived")?;
    ensure!(arrived == 20, "{arrived} of 20 arrived");
    ensure!(
        granted(machine, E0.0)?.number("count").unwrap_or(0) >= 20,
        "the hypervisor counted fewer"
    );
    Ok(())
}

/// The table of MSI-X is trapped: the child reads back what it wrote, hardware has none of it.
fn raw_table(machine: &mut Machine) -> Result<()> {
    let child = Child::interactive(machine, "probe.elf", &[IGB])?;
    child.ask_good("msix addr=0xfee05000 data=0x4fe")?;
    let (at, _) = capability(machine, IGB.0, 0x11)?;
    let place = machine.config_register(IGB.0, at + 4)?;
    let bar = 0x10 + 4 * (place & 7) as u16;
    let base = memory_base(machine, IGB.0, bar)?;
    let table = base + u64::from(place & !7);
    for entry in 0..10 {
        let address = machine.register(table + entry * 16)?;
        let data = machine.register(table + entry * 16 + 8)?;
        let masked = machine.register(table + entry * 16 + 12)? & 1 == 1;
        ensure!(
            masked || is_handle(machine, (address, data)),
            "entry {entry} of the physical table at {table:#x} has {address:#x} {data:#x}"
        );
        ensure!(
            data != 0x4fe,
            "entry {entry} of the physical table has the child's data"
        );
    }
    Ok(())
}

/// Where the memory BAR at an offset of configuration space stands.
pub fn memory_base(machine: &Machine, device: usize, offset: u16) -> Result<u64> {
    let low = machine.config_register(device, offset)?;
    let wide = low & 6 == 4;
    let high = if wide {
        machine.config_register(device, offset + 4)?
    } else {
        0
    };
    Ok(u64::from(high) << 32 | u64::from(low & !0xf))
}

/// Two children, each with an edu device whose message works; the second device's capability then gets the message of the
/// device `of`, its data so much higher.
fn with_message<'m>(
    machine: &'m Machine,
    of: usize,
    higher: u32,
) -> Result<(Child<'m>, Child<'m>)> {
    let victim = Child::interactive(machine, "edu.elf", &[E0])?;
    let thief = Child::interactive(machine, "edu.elf", &[E1])?;
    victim.ask_good("msi count=2")?;
    thief.ask_good("msi count=2")?;
    let (address, data) = physical_msi(machine, of)?;
    put_message(machine, (address, data + higher))?;
    Ok((victim, thief))
}

/// Puts a message into the second edu device's capability, behind everybody's back.
fn put_message(machine: &Machine, (address, data): (u32, u32)) -> Result<()> {
    let message = u64::from(data) << 32 | u64::from(address);
    let device = device_name(E1.0);
    let made = machine.command(&format!("hypercall 0xf0f0 {device:#x} {message:#x}"))?;
    ensure!(
        made.result.get("status") == Some("SUCCESS"),
        "the test call gave {}",
        made.result
    );
    ensure!(
        physical_msi(machine, E1.0)? == (address, data),
        "the message is not in the device's capability"
    );
    Ok(())
}

/// A device's name in hypercalls: type 1 (PCI) in bits 63:62, segment in 31:16, requester id in 15:0.
pub fn device_name(device: usize) -> u64 {
    1 << 62 | u64::from(Config::slot(device)) << 3
}

fn count(machine: &Machine, device: usize) -> Result<u64> {
    Ok(granted(machine, device)?.number("count").unwrap_or(0))
}

/// How much higher than its neighbour's message a device's data must be to name nothing of its own: where every device has a
/// table of its own, the same number is its own first entry.
fn beyond(machine: &Machine) -> u32 {
    match machine.dialect() {
        Dialect::Intel => 0,
        Dialect::Amd => 1,
    }
}

/// A device with another one's handle, or with one that is not its own, raises nothing, anywhere.
fn foreign_message(machine: &mut Machine) -> Result<()> {
    let (victim, thief) = with_message(machine, E0.0, beyond(machine))?;
    let before = (count(machine, E0.0)?, count(machine, E1.0)?);
    thief.ask_good("raise count=5 expect=silent")?;
    let after = (count(machine, E0.0)?, count(machine, E1.0)?);
    ensure!(
        before == after,
        "interrupts arrived: {before:?} before, {after:?} after"
    );
    victim.ask_good("msi count=2")?;
    drop((victim, thief));
    if machine.dialect() == Dialect::Intel {
        return Ok(());
    }
    // The very message of its neighbour, which names the device's own entry here.
    let (_victim, thief) = with_message(machine, E0.0, 0)?;
    let before = count(machine, E0.0)?;
    thief.ask_good("raise count=5 expect=arrive")?;
    let after = count(machine, E0.0)?;
    ensure!(
        before == after,
        "{} came as the neighbour's",
        after - before
    );
    Ok(())
}

/// The attempt is recorded, with the device's name on it.
fn refused_message_is_told(machine: &mut Machine) -> Result<()> {
    let (_victim, thief) = with_message(machine, E0.0, beyond(machine))?;
    thief.ask_good("raise count=5 expect=silent")?;
    let id = Config::device_id(E1.0);
    let told = machine.command("faults")?.data;
    let recorded = told.iter().any(|fault| {
        fault.get("device") == Some(&id)
            && fault
                .get("what")
                .is_some_and(|what| what.starts_with("interrupt, reason 0x26"))
    });
    ensure!(
        recorded,
        "no fault of {id} with reason 26h is told: {told:?}"
    );
    Ok(())
}

/// Delivery modes that are neither fixed nor arbitrated: SMI, NMI, INIT, ExtINT, and the ones between that do not exist.
const OTHER_MODES: [u32; 6] = [2, 3, 4, 5, 6, 7];

/// Such a message reaches nobody: no interrupt, and no processor that is gone.
fn not_fixed(machine: &mut Machine) -> Result<()> {
    let thief = Child::interactive(machine, "edu.elf", &[E1])?;
    thief.ask_good("msi count=2")?;
    let own = physical_msi(machine, E1.0)?;
    for mode in OTHER_MODES {
        put_message(machine, (0xfee0_0000, mode << 8 | own.1))?;
        let before = count(machine, E1.0)?;
        thief.ask_good("raise count=3 expect=silent")?;
        let after = count(machine, E1.0)?;
        ensure!(before == after, "delivery mode {mode} arrived");
        let lps = machine.command("lps")?.data.len();
        ensure!(lps == 2, "{lps} processors after delivery mode {mode}");
    }
    put_message(machine, own)?;
    thief.ask_good("raise count=2 expect=arrive").map(|_| ())
}

/// The same call with the device's own handle: its messages arrive.
fn its_own_message(machine: &mut Machine) -> Result<()> {
    let (_victim, thief) = with_message(machine, E1.0, 0)?;
    let before = count(machine, E1.0)?;
    thief.ask_good("raise count=5 expect=arrive")?;
    let after = count(machine, E1.0)?;
    ensure!(after >= before + 5, "{} of 5 arrived", after - before);
    Ok(())
}

/// Every vector that a child may want arrives as itself; the ones that do not exist stay silent; on the machine, vectors
/// come from the hypervisor's own range whatever the child asked for.
fn vectors(machine: &mut Machine) -> Result<()> {
    let child = Child::interactive(machine, "edu.elf", &[E0])?;
    child.ask_good("msi=vectors")?;
    for vector in [0x20, 0x2f, 0xf0, 0xfe] {
        child.ask(&format!("msi=raw addr=0xfee00000 data={vector:#x}"))?;
        let physical = granted(machine, E0.0)?.number("lp-vector").unwrap_or(0);
        ensure!(
            (0x30..=0xef).contains(&physical),
            "the LP takes vector {physical:#x} for the child's {vector:#x}"
        );
    }
    child.ask_good("msi count=2").map(|_| ())
}
