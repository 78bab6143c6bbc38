//! Registers of VPs, read and written by those who may.

use abi::Status;
use abi::partition::privilege;
use abi::register;
use abi::vp::{RegisterValue, Registers, VP_SELF};
use guest::Vcpu;

use super::vp::slot_of;
use super::{Outcome, Request};
use crate::Kernel;
use crate::seams::Machine;
use crate::vp::inbox::Request as Left;
use crate::vp::run::Running;
use crate::vp::{Activity, Vp, VpCell, VpSlot, local_apic};

impl<M: Machine> Kernel<M> {
    /// The VP whose registers a call names: a child's, or the caller's own partition's.
    fn registers_of(
        &self,
        request: &Request<'_>,
        input: &Registers,
    ) -> Result<(VpSlot, bool), Status> {
        if input.vtl != 0 || input.reserved != [0; 3] {
            return Err(Status::INVALID_PARAMETER);
        }
        let id = request.caller.resolve(input.partition);
        let own = id == request.caller.partition;
        let needs = if own {
            privilege::ACCESS_VP_REGISTERS
        } else {
            privilege::CREATE_PARTITIONS
        };
        request.caller.needs(needs)?;
        let cell = self
            .partitions
            .get(id)
            .ok_or(Status::INVALID_PARTITION_ID)?;
        let vp = if input.vp == VP_SELF && own {
            request.caller.vp.0
        } else {
            input.vp
        };
        let slot = slot_of(cell, vp)?;
        Ok((slot, slot == request.caller.slot))
    }

    pub(super) fn get_vp_registers(
        &self,
        request: &mut Request<'_>,
        running: &mut Running<'_, M>,
    ) -> Result<Outcome, Status> {
        let (slot, own) = self.registers_of(request, &request.parameters()?)?;
        let start = usize::from(request.control.start());
        let mut other = if own {
            None
        } else {
            self.vp_cell(slot).body.try_lock()
        };
        let vp = match &mut other {
            Some(body) => body
                .as_mut()
                .filter(|vp| vp.is_suspended())
                .ok_or(Status::INVALID_VP_STATE)?,
            None if own => &mut *running.vp,
            None => return Err(Status::INVALID_VP_STATE),
        };
        for done in 0..request.left() {
            let at = start + usize::from(done);
            let name = request.list::<u32>()?[at];
            let Some(value) = read_register(vp, name) else {
                return Ok(Outcome::Reps(done, Status::UNKNOWN_REGISTER_NAME));
            };
            request.answer(at, &value);
        }
        Ok(Outcome::Done)
    }

    pub(super) fn set_vp_registers(
        &self,
        request: &mut Request<'_>,
        running: &mut Running<'_, M>,
    ) -> Result<Outcome, Status> {
        let (slot, own) = self.registers_of(request, &request.parameters()?)?;
        let values: &[RegisterValue] = request.rest()?;
        if own {
            return Ok(set_all(running.cell, running.vp, values));
        }
        let suspend =
            |value: &RegisterValue| value.name == register::EXPLICIT_SUSPEND && value.value[0] == 1;
        let cell = self.vp_cell(slot);
        let Some(mut body) = cell.body.try_lock() else {
            if values.first().is_some_and(suspend) {
                // It runs: it is asked to leave, and the call is executed again until it has.
                self.notify(slot, Left::Suspend);
                return Ok(Outcome::Retry);
            }
            return Err(Status::INVALID_VP_STATE);
        };
        let vp = body.as_mut().ok_or(Status::INVALID_VP_INDEX)?;
        if !vp.is_suspended() && !values.first().is_some_and(suspend) {
            return Err(Status::INVALID_VP_STATE);
        }
        let outcome = set_all(cell, vp, values);
        let runnable = vp.is_runnable();
        drop(body);
        if runnable {
            self.wake(slot);
        }
        Ok(outcome)
    }
}

fn read_register<M: Machine>(vp: &Vp<M>, name: u32) -> Option<u128> {
    Some(match name {
        register::EXPLICIT_SUSPEND => u128::from(vp.explicit_suspend),
        register::INTERCEPT_SUSPEND => u128::from(vp.intercept_suspend),
        register::INTERNAL_ACTIVITY_STATE => match vp.activity {
            Activity::Running => 0,
            Activity::Halted => u128::from(register::activity::HALT_SUSPEND),
            Activity::WaitForStartup => u128::from(register::activity::STARTUP_SUSPEND),
        },
        register::APIC_BASE => u128::from(vp.apic.base()),
        _ => return vp.vcpu.register(name),
    })
}

/// Writes registers in order, as far as they can be.
fn set_all<M: Machine>(cell: &VpCell<M>, vp: &mut Vp<M>, values: &[RegisterValue]) -> Outcome {
    let mut outcome = Outcome::Reps(values.len() as u16, Status::SUCCESS);
    for (done, value) in values.iter().enumerate() {
        if let Err(status) = write_register(vp, value) {
            outcome = Outcome::Reps(done as u16, status);
            break;
        }
    }
    // One of them may have been the mode of its local APIC.
    local_apic::publish(cell, vp);
    outcome
}

fn write_register<M: Machine>(vp: &mut Vp<M>, entry: &RegisterValue) -> Result<(), Status> {
    if entry.reserved != [0; 3] {
        return Err(Status::INVALID_PARAMETER);
    }
    let [low, high] = entry.value;
    match entry.name {
        register::EXPLICIT_SUSPEND
        | register::INTERCEPT_SUSPEND
        | register::INTERNAL_ACTIVITY_STATE => write_state(vp, entry.name, low),
        register::APIC_BASE => vp
            .set_apic_base(low)
            .map_err(|_| Status::INVALID_REGISTER_VALUE),
        name => vp
            .vcpu
            .set_register(name, u128::from(high) << 64 | u128::from(low))
            .map_err(status_of),
    }
}

/// Writes what says whether the VP runs. Registers may be written in any order while it does not; what they come to is
/// looked at when it is to go on, before the processor does.
fn write_state<M: Machine>(vp: &mut Vp<M>, name: u32, value: u64) -> Result<(), Status> {
    let before = (vp.explicit_suspend, vp.intercept_suspend, vp.activity);
    match (name, value) {
        (register::EXPLICIT_SUSPEND, 0 | 1) => vp.explicit_suspend = value == 1,
        (register::INTERCEPT_SUSPEND, 0 | 1) => vp.intercept_suspend = value == 1,
        (register::INTERNAL_ACTIVITY_STATE, 0) => vp.activity = Activity::Running,
        (register::INTERNAL_ACTIVITY_STATE, register::activity::STARTUP_SUSPEND) => {
            vp.activity = Activity::WaitForStartup;
        }
        (register::INTERNAL_ACTIVITY_STATE, register::activity::HALT_SUSPEND) => {
            vp.activity = Activity::Halted;
        }
        _ => return Err(Status::INVALID_REGISTER_VALUE),
    }
    let sleeps = vp.explicit_suspend || vp.intercept_suspend;
    if sleeps || vp.activity == Activity::WaitForStartup {
        return Ok(());
    }
    enterable(&vp.vcpu).inspect_err(|_| {
        (vp.explicit_suspend, vp.intercept_suspend, vp.activity) = before;
    })
}

/// Whether the processor would take the registers as they stand together.
pub(super) fn enterable(vcpu: &impl Vcpu) -> Result<(), Status> {
    if vcpu.can_enter() {
        Ok(())
    } else {
        Err(Status::INVALID_REGISTER_VALUE)
    }
}

pub(super) const fn status_of(unknown: bool) -> Status {
    if unknown {
        Status::UNKNOWN_REGISTER_NAME
    } else {
        Status::INVALID_REGISTER_VALUE
    }
}
