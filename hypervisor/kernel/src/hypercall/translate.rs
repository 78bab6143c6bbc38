//! A guest's virtual address, translated for its parent.

use abi::Status;
use abi::vp::{Translate, Translation, translate_flags};
use guest::Vcpu;

use super::vp::slot_of;
use super::{Outcome, Request};
use crate::Kernel;
use crate::gva::{Fault, Want};
use crate::seams::Machine;

impl<M: Machine> Kernel<M> {
    pub(super) fn translate_virtual_address(
        &self,
        request: &mut Request<'_>,
    ) -> Result<Outcome, Status> {
        let input: Translate = request.parameters()?;
        let cell = self.child(request, input.partition)?;
        let known = translate_flags::READ | translate_flags::WRITE | translate_flags::EXECUTE;
        if input.reserved != 0 || input.flags & !known != 0 || input.page >> 52 != 0 {
            return Err(Status::INVALID_PARAMETER);
        }
        let slot = slot_of(cell, input.vp)?;
        // The partition first: nobody waits for a partition with another VP's lock in hand.
        let partition = cell.body.lock();
        let mut body = self
            .vp_cell(slot)
            .body
            .try_lock()
            .ok_or(Status::INVALID_VP_STATE)?;
        let vp = body
            .as_mut()
            .filter(|vp| vp.is_suspended())
            .ok_or(Status::INVALID_VP_STATE)?;
        let want = Want {
            write: input.flags & translate_flags::WRITE != 0,
            execute: input.flags & translate_flags::EXECUTE != 0,
            user: vp.vcpu.cpl() == 3,
        };
        let slat = partition
            .slat
            .live()
            .ok_or(Status::INVALID_PARTITION_STATE)?;
        let answer = match self.translate(slat, &vp.vcpu, input.page << 12, want) {
            Ok(gpa) => Translation {
                result: 0,
                gpfn: gpa.page(),
            },
            Err(Fault::NotPresent) => Translation { result: 1, gpfn: 0 },
            Err(Fault::Privilege) => Translation { result: 2, gpfn: 0 },
            Err(Fault::NoMemory) => Translation { result: 4, gpfn: 0 },
        };
        request.answer(0, &answer);
        Ok(Outcome::Done)
    }
}
