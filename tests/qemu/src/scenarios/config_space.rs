//! Configuration space: a child sees virtual registers of its own functions and nothing else.

use anyhow::{Result, ensure};

use super::interrupts::device_name;
use super::{E0, E1, full};
use crate::child::Child;
use crate::machine::Machine;
use crate::scenario::Scenario;

pub fn scenarios() -> Vec<Scenario> {
    let probe = |name, run| Scenario::new(name, full(), run).payload("probe.elf");
    let edu = |name, run| Scenario::new(name, full(), run).payload("edu.elf");
    vec![
        probe("cfg_01_03_decoding_and_bars_are_virtual", bars),
        edu("cfg_01_03_control_registers_answer", registers)
            .control_of("cfg_01_03_decoding_and_bars_are_virtual"),
        probe("cfg_11_no_function_but_its_own", nothing_else),
        probe("cfg_11_control_its_own_function_answers", own_function)
            .control_of("cfg_11_no_function_but_its_own"),
        edu("cfg_14_root_writes_what_a_child_owns", owned_by_a_child),
        edu("cfg_14_control_root_writes_before_and_after", not_owned)
            .control_of("cfg_14_root_writes_what_a_child_owns"),
    ]
}

const COMMAND: u16 = 4;
const BAR0: u16 = 0x10;

/// The child turns decoding off and moves its BAR over memory, the local APIC and ECAM; the physical ones stay.
fn bars(machine: &mut Machine) -> Result<()> {
    let child = Child::interactive(machine, "probe.elf", &[E0])?;
    let before = (
        machine.config_register(E0.0, BAR0)?,
        machine.config_register(E0.0, COMMAND)? & 2,
    );
    ensure!(before.1 == 2, "the device does not decode memory");
    child.ask_good("bar")?;
    let after = (
        machine.config_register(E0.0, BAR0)?,
        machine.config_register(E0.0, COMMAND)? & 2,
    );
    ensure!(
        before == after,
        "BAR and decoding were {before:#x?} and are {after:#x?}"
    );
    Ok(())
}

/// With decoding on, the registers behind the BAR are the device's: its liveness register inverts.
fn registers(machine: &mut Machine) -> Result<()> {
    let child = Child::interactive(machine, "edu.elf", &[E0])?;
    child.ask_good("self").map(|_| ())
}

/// A scan of all 65,536 functions finds the one that is its own, and the virtual host bridge.
fn nothing_else(machine: &mut Machine) -> Result<()> {
    let child = Child::interactive(machine, "probe.elf", &[E0])?;
    child.ask_good("config expect=2")?;
    let listed = machine.command("devices")?.data.len();
    ensure!(
        listed > 4,
        "the machine has only {listed} functions to be hidden"
    );
    Ok(())
}

/// A child with two devices finds both, and the virtual host bridge.
fn own_function(machine: &mut Machine) -> Result<()> {
    let child = Child::interactive(machine, "probe.elf", &[E0, E1])?;
    child.ask_good("config expect=3 buses=2").map(|_| ())
}

/// The status with which a write of 4 bytes by the root ends.
fn write(machine: &Machine, offset: u16, value: u32) -> Result<String> {
    let (device, size) = (device_name(E0.0), u64::from(offset) | 4 << 32);
    let line = format!("hypercall 0xf003 {device:#x} {size:#x} {value:#x}");
    let made = machine.command(&line)?;
    Ok(made.result.get("status").unwrap_or_default().to_string())
}

/// BAR, decoding and message of a device stand still while a child owns it.
fn owned_by_a_child(machine: &mut Machine) -> Result<()> {
    let child = Child::interactive(machine, "edu.elf", &[E0])?;
    child.ask_good("msi count=1")?;
    let registers = [COMMAND, BAR0, 0x3c];
    let look = |machine: &Machine| -> Result<Vec<u32>> {
        let each = registers.iter();
        each.map(|&at| machine.config_register(E0.0, at)).collect()
    };
    let before = look(machine)?;
    for (offset, value) in [(BAR0, 0), (BAR0, 0xfed9_0000), (COMMAND, 0)] {
        let status = write(machine, offset, value)?;
        ensure!(
            status != "SUCCESS" || look(machine)? == before,
            "a write of {value:#x} at {offset:#x} was done"
        );
    }
    ensure!(
        write(machine, BAR0, 0xfed9_0000)? != "SUCCESS",
        "the BAR may be moved"
    );
    ensure!(look(machine)? == before, "a register changed: {before:x?}");
    child.ask_good("self")?;
    child.ask_good("msi count=2").map(|_| ())
}

/// The same register is the root's to write while nobody owns the device, and the child then works with it.
fn not_owned(machine: &mut Machine) -> Result<()> {
    let home = machine.config_register(E0.0, BAR0)?;
    let decoding = write_word(machine, COMMAND, 0)?;
    ensure!(decoding == "SUCCESS", "decoding off: {decoding}");
    let status = write(machine, BAR0, home)?;
    ensure!(status == "SUCCESS", "the BAR, written as it is: {status}");
    let child = Child::interactive(machine, "edu.elf", &[E0])?;
    child.ask_good("self").map(|_| ())
}

fn write_word(machine: &Machine, offset: u16, value: u32) -> Result<String> {
    let (device, size) = (device_name(E0.0), u64::from(offset) | 2 << 32);
    let line = format!("hypercall 0xf003 {device:#x} {size:#x} {value:#x}");
    let made = machine.command(&line)?;
    Ok(made.result.get("status").unwrap_or_default().to_string())
}
