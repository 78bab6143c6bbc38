//! Giving a device to a partition and taking it back, with a reset between owners.

use abi::Status;
use abi::vendor::{DeviceInfo, device_state};
use address::DeviceId;
use alloc::format;
use alloc::string::String;

use super::hardware::ChildDevices;
use super::{Life, Partition, deposit};
use crate::agent::Agent;
use crate::calls::{device as call, vendor};
use crate::emulation::pci::bus::HardwareOf;
use crate::failure::Failure;
use crate::machine::Machine;
use crate::pci::config::{ConfigSpace, RealConfig, command, register};
use crate::pci::description::{Description, Unusable};
use crate::pci::reset;

/// What the hypervisor knows of a device.
pub fn find<M: Machine>(agent: &Agent<M>, device: DeviceId) -> Result<DeviceInfo, Failure> {
    let name = call::name(device);
    let found = vendor::devices(&agent.machine).find(|info| info.device == name);
    found.ok_or_else(|| Failure::not_found(format!("there is no device {device}")))
}

/// Why a device cannot be assigned; `None` where it can.
#[must_use]
pub fn obstacle<M: Machine>(agent: &Agent<M>, info: &DeviceInfo) -> Option<String> {
    if info.reason == 0 {
        return None;
    }
    let sentence = vendor::why_not(&agent.machine, info.device).unwrap_or_default();
    if sentence.is_empty() {
        return Some("for a reason that the hypervisor does not tell".into());
    }
    Some(sentence)
}

/// Gives a device to a partition; returns its device number on the child's bus. `anyway` lets a device without a
/// reset pass.
pub fn assign<M: Machine>(
    agent: &Agent<M>,
    partition: &Partition,
    device: DeviceId,
    anyway: bool,
) -> Result<u8, Failure> {
    let info = find(agent, device)?;
    if let Some(reason) = obstacle(agent, &info) {
        return Err(Failure::new(
            Status::FEATURE_UNAVAILABLE.name(),
            format!("{device} cannot be assigned: {reason}"),
        ));
    }
    if matches!(info.state, device_state::ATTACHED | device_state::DETACHED) {
        let owner = agent.name_of(info.owner);
        let sentence = format!("{device} belongs to {owner}: unassign it first");
        return Err(Failure::new(Status::INVALID_DEVICE_STATE.name(), sentence));
    }
    if *partition.life.lock() == Life::Deleted {
        return Err(Failure::state("the partition is being deleted"));
    }
    let config = RealConfig::new(&agent.machine, &agent.facts, device);
    if info.state != device_state::BLOCKED {
        make_clean(agent, &config, device, anyway)?;
    }
    let bars = vendor::bars(&agent.machine, device)
        .map_err(|status| Failure::refused(status, &format!("where the memory of {device} is")))?;
    let description = Description::read(&config, &bars).map_err(|why| unusable(device, why))?;
    let decoding = u32::from(command::MEMORY | command::NO_INTX);
    config
        .write(register::COMMAND, 2, decoding)
        .map_err(|status| Failure::refused(status, "to turn the device on"))?;
    let machine = &agent.machine;
    deposit::while_needed(machine, partition.id, || {
        call::attach(machine, partition.id, device)
    })
    .map_err(|status| Failure::refused(status, &format!("to attach {device}")))?;
    let slot = partition.board.lock().bus.add(device, &description);
    slot.ok_or_else(|| {
        // Not half assigned: the hypervisor has it back, in need of a reset.
        let _ = call::detach(machine, partition.id, device);
        Failure::state(format!("the partition has no room for {device}"))
    })
}

/// Takes a device back, and resets it where that is possible.
pub fn unassign<M: Machine>(
    agent: &Agent<M>,
    partition: &Partition,
    device: DeviceId,
) -> Result<(), Failure> {
    let mut devices = ChildDevices {
        agent,
        partition: partition.id,
    };
    let mut hardware = devices.of(device);
    if !partition.board.lock().bus.remove(device, &mut hardware) {
        let name = &partition.name;
        return Err(Failure::not_found(format!("{name} has no device {device}")));
    }
    call::detach(&agent.machine, partition.id, device)
        .map_err(|status| Failure::refused(status, &format!("to detach {device}")))?;
    let config = RealConfig::new(&agent.machine, &agent.facts, device);
    // A device without a reset stays "needing reset": the next assignment says so.
    let _ = make_clean(agent, &config, device, false);
    Ok(())
}

/// Resets a device and declares it; a device that cannot be reset is declared only when told so.
fn make_clean<M: Machine>(
    agent: &Agent<M>,
    config: &impl ConfigSpace,
    device: DeviceId,
    anyway: bool,
) -> Result<(), Failure> {
    match reset::method(config) {
        Some(method) => reset::reset(config, method, |ms| agent.wait_ms(ms))
            .map_err(|status| Failure::refused(status, &format!("the reset of {device}")))?,
        None if anyway => {}
        None => {
            return Err(Failure::new(
                Status::OPERATION_DENIED.name(),
                format!(
                    "{device} has no function-level reset: what its last owner left in it would stay; \
                     say without-reset to assign it all the same"
                ),
            ));
        }
    }
    call::declare_reset(&agent.machine, device)
        .map_err(|status| Failure::refused(status, &format!("the reset of {device}")))
}

fn unusable(device: DeviceId, why: Unusable) -> Failure {
    let sentence = match why {
        Unusable::Silent => "nothing answers in its configuration space",
        Unusable::Msix => "its MSI-X structures are not where they were at boot",
    };
    let status = Status::INVALID_DEVICE_STATE.name();
    Failure::new(status, format!("{device} cannot be assigned: {sentence}"))
}
