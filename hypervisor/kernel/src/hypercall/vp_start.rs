//! Starting a VP from a whole initial state.

use abi::Status;
use abi::partition::privilege;
use abi::register;
use abi::vp::{Context, Segment, StartVp, Table};
use address::LpIndex;
use guest::Vcpu;
use zerocopy::IntoBytes;

use super::vp::slot_of;
use super::vp_registers::{enterable, status_of};
use super::{Outcome, Request};
use crate::Kernel;
use crate::seams::Machine;
use crate::vp::Activity;

impl<M: Machine> Kernel<M> {
    /// Starts the root's first VP: `rdi` is its one argument.
    ///
    /// # Errors
    /// Where the processor does not take the state.
    pub fn start_root(&self, context: &Context, rdi: u64) -> Result<(), Status> {
        let slot = self.root_vp(LpIndex(0)).ok_or(Status::INVALID_VP_INDEX)?;
        let mut body = self.vp_cell(slot).body.lock();
        let vp = body.as_mut().ok_or(Status::INVALID_VP_INDEX)?;
        set_context(&mut vp.vcpu, context)?;
        vp.vcpu
            .set_register(register::RDI, u128::from(rdi))
            .map_err(status_of)?;
        enterable(&vp.vcpu)?;
        vp.activity = Activity::Running;
        drop(body);
        self.wake(slot);
        Ok(())
    }

    pub(super) fn start_virtual_processor(
        &self,
        request: &mut Request<'_>,
    ) -> Result<Outcome, Status> {
        let input: StartVp = request.parameters()?;
        request.caller.needs(privilege::START_VIRTUAL_PROCESSOR)?;
        if request.caller.resolve(input.partition) != request.caller.partition || input.vtl != 0 {
            return Err(Status::INVALID_PARAMETER);
        }
        let cell = self
            .partitions
            .get(request.caller.partition)
            .ok_or(Status::INVALID_PARTITION_ID)?;
        let slot = slot_of(cell, input.vp)?;
        let mut body = self
            .vp_cell(slot)
            .body
            .try_lock()
            .ok_or(Status::INVALID_VP_STATE)?;
        let vp = body.as_mut().ok_or(Status::INVALID_VP_INDEX)?;
        if vp.activity != Activity::WaitForStartup {
            return Err(Status::INVALID_VP_STATE);
        }
        set_context(&mut vp.vcpu, &input.context)?;
        enterable(&vp.vcpu)?;
        vp.activity = Activity::Running;
        drop(body);
        self.wake(slot);
        Ok(Outcome::Done)
    }
}

/// Loads a whole initial state.
fn set_context(vcpu: &mut impl Vcpu, context: &Context) -> Result<(), Status> {
    let wide = |bytes: &[u8]| <[u8; 16]>::try_from(bytes).map_or(0, u128::from_le_bytes);
    let segment = |segment: &Segment| wide(segment.as_bytes());
    let table = |table: &Table| wide(table.as_bytes());
    let names = [
        register::CS,
        register::DS,
        register::ES,
        register::FS,
        register::GS,
        register::SS,
        register::TR,
        register::LDTR,
    ];
    // Modes first: what a segment or an address may be depends on them.
    let words = [
        (register::EFER, context.efer),
        (register::CR4, context.cr4),
        (register::CR3, context.cr3),
        (register::CR0, context.cr0),
        (register::PAT, context.pat),
    ];
    for (name, value) in words {
        vcpu.set_register(name, u128::from(value))
            .map_err(status_of)?;
    }
    for (name, value) in names.into_iter().zip(&context.segments) {
        vcpu.set_register(name, segment(value)).map_err(status_of)?;
    }
    for (name, value) in [
        (register::IDTR, &context.idtr),
        (register::GDTR, &context.gdtr),
    ] {
        vcpu.set_register(name, table(value)).map_err(status_of)?;
    }
    for (name, value) in [
        (register::RIP, context.rip),
        (register::RSP, context.rsp),
        (register::RFLAGS, context.rflags),
    ] {
        vcpu.set_register(name, u128::from(value))
            .map_err(status_of)?;
    }
    Ok(())
}
