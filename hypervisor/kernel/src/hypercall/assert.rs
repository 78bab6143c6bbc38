//! Interrupts that a parent asserts.

use abi::Status;
use abi::interrupt::{Assert, interrupt_type};
use address::{ApicId, Vector};
use guest::apic::{Destination, IpiKind, IpiRequest};

use super::{Outcome, Request};
use crate::Kernel;
use crate::seams::Machine;

impl<M: Machine> Kernel<M> {
    pub(super) fn assert_virtual_interrupt(
        &self,
        request: &mut Request<'_>,
    ) -> Result<Outcome, Status> {
        let input: Assert = request.parameters()?;
        let cell = self.child(request, input.partition)?;
        let id = cell.body.lock().id;
        let level_or_unknown = input.control & !2 != 0;
        let address = u32::try_from(input.destination).map_err(|_| Status::INVALID_PARAMETER)?;
        if level_or_unknown || input.vtl != 0 || input.reserved != [0; 3] {
            return Err(Status::INVALID_PARAMETER);
        }
        let vector = u8::try_from(input.vector).map_err(|_| Status::INVALID_PARAMETER)?;
        let kind = match input.interrupt_type {
            interrupt_type::FIXED if vector >= 16 => IpiKind::Fixed(Vector(vector)),
            interrupt_type::NMI => IpiKind::Nmi,
            interrupt_type::INIT => IpiKind::Init,
            interrupt_type::SIPI => IpiKind::Startup(vector),
            _ => return Err(Status::INVALID_PARAMETER),
        };
        let destination = Destination::from_address(address, input.control & 2 != 0);
        let reached = self.send_interrupt(
            cell,
            id,
            ApicId(u32::MAX),
            &IpiRequest { kind, destination },
        );
        if reached == 0 {
            Err(Status::INVALID_VP_INDEX)
        } else {
            Ok(Outcome::Done)
        }
    }
}
