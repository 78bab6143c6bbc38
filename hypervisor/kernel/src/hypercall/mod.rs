//! Hypercalls: from the registers of a VP to a handler and back.
//!
//! One place decodes, one place writes the result and steps the instruction pointer. A handler is a function from the
//! caller and its parameters, copied in once, to an [`Outcome`].

mod assert;
pub mod bar;
mod config;
mod convention;
pub mod deposit;
pub mod device;
pub mod domain;
pub mod gpa_map;
pub mod gpa_unmap;
pub mod interrupt;
pub mod inventory;
pub mod lifecycle;
mod parameters;
pub mod property;
pub mod removed;
mod request;
mod sizes;
#[cfg(feature = "test-calls")]
mod test_message;
mod translate;
pub mod vendor;
pub mod vp;
mod vp_registers;
mod vp_start;

use core::sync::atomic::Ordering;

use abi::{Call, CallResult, Status};
use address::PAGE_SIZE;
use guest::{Event, Vcpu, length};
use zerocopy::IntoBytes;

use crate::Kernel;
use crate::seams::Machine;
use crate::vp::run::Running;
use convention::Registers;
use removed::RemovedList;
pub use request::{Caller, Request};
use sizes::Sizes;

const WORDS: usize = PAGE_SIZE as usize / 8;

/// Copies of the parameter pages of the call that an LP is working on.
#[derive(Debug)]
pub struct Scratch {
    input: [u64; WORDS],
    output: [u64; WORDS],
    /// What an unmapping took out, until its flush is confirmed.
    pub(crate) removed: RemovedList,
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            input: [0; WORDS],
            output: [0; WORDS],
            removed: RemovedList::default(),
        }
    }
}

/// How a call ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// All is done.
    Done,
    /// This many repetitions are done, those before the start index not counted, and then this happened.
    Reps(u16, Status),
    /// This many more repetitions are done, and there is more to do: the VP executes the call again.
    Again(u16),
    /// Nothing to report yet: the VP executes the same call again. Its progress is in the object.
    Retry,
}

impl<M: Machine> Kernel<M> {
    /// Handles VMCALL or VMMCALL.
    #[inline(never)]
    pub(crate) fn hypercall(&self, running: &mut Running<'_, M>, scratch: &mut Scratch) {
        let vcpu = &mut running.vp.vcpu;
        if vcpu.cpl() != 0 || !vcpu.protected_mode() {
            vcpu.inject(Event::INVALID_OPCODE);
            return;
        }
        let registers = Registers::read(vcpu);
        let result = self.decode_and_call(running, scratch, &registers);
        let control = registers.control;
        let (status, reps) = match result {
            Ok(Outcome::Done) => (Status::SUCCESS, control.count()),
            Ok(Outcome::Reps(done, status)) => (status, control.start() + done),
            Ok(Outcome::Again(done)) => {
                let control = control.with_start(control.start() + done);
                registers.write_control(&mut running.vp.vcpu, control);
                return;
            }
            Ok(Outcome::Retry) => return,
            Err(status) => (status, control.start()),
        };
        if status == Status::OPERATION_FAILED {
            self.stop_failed();
        }
        let vcpu = &mut running.vp.vcpu;
        registers.write_result(vcpu, CallResult::new(status, reps));
        vcpu.advance_over(length::HYPERCALL);
    }

    fn decode_and_call(
        &self,
        running: &mut Running<'_, M>,
        scratch: &mut Scratch,
        registers: &Registers,
    ) -> Result<Outcome, Status> {
        let control = registers.control;
        #[cfg(feature = "test-calls")]
        if control.code() == abi::vendor::TEST_MESSAGE {
            return self.test_message(running, registers);
        }
        let call = Call::from_code(control.code()).ok_or(Status::INVALID_HYPERCALL_CODE)?;
        let sizes = Sizes::check(call, control)?;
        let caller = Caller {
            partition: running.vp.partition,
            holder: running.vp.holder,
            vp: running.vp.index,
            slot: running.vp.slot,
            privileges: running.partition.privileges.load(Ordering::Relaxed),
        };
        let Scratch {
            input,
            output,
            removed,
        } = scratch;
        let bytes = input
            .as_mut_bytes()
            .get_mut(..sizes.input)
            .ok_or(Status::INVALID_HYPERCALL_INPUT)?;
        self.copy_in(running, registers, bytes)?;
        let mut request = Request {
            caller,
            control,
            input: bytes,
            header: sizes.header,
            output,
            removed,
        };
        self.check_output(running, registers, &sizes)?;
        let outcome = self.call(call, &mut request, running)?;
        self.copy_out(running, registers, &sizes, outcome, output)?;
        Ok(outcome)
    }

    fn call(
        &self,
        call: Call,
        request: &mut Request<'_>,
        running: &mut Running<'_, M>,
    ) -> Result<Outcome, Status> {
        match call {
            Call::CreatePartition => self.create_partition(request),
            Call::InitializePartition => self.initialize_partition(request),
            Call::FinalizePartition => self.finalize_partition(request),
            Call::DeletePartition => self.delete_partition(request),
            Call::GetPartitionProperty => self.get_property(request),
            Call::SetPartitionProperty => self.set_property(request),
            Call::GetPartitionId => self.get_partition_id(request),
            Call::GetNextChildPartition => self.get_next_child(request),
            Call::DepositMemory => self.deposit_memory(request),
            Call::WithdrawMemory => self.withdraw_memory(request),
            Call::GetMemoryBalance => self.get_memory_balance(request),
            Call::MapGpaPages => self.map_gpa_pages(request),
            Call::UnmapGpaPages => self.unmap_gpa_pages(request),
            Call::CreateVp => self.create_vp(request),
            Call::DeleteVp => self.delete_vp(request),
            Call::GetVpRegisters => self.get_vp_registers(request, running),
            Call::SetVpRegisters => self.set_vp_registers(request, running),
            Call::TranslateVirtualAddress => self.translate_virtual_address(request),
            Call::StartVirtualProcessor => self.start_virtual_processor(request),
            Call::AssertVirtualInterrupt => self.assert_virtual_interrupt(request),
            _ => self.device_call(call, request),
        }
    }

    fn device_call(&self, call: Call, request: &mut Request<'_>) -> Result<Outcome, Status> {
        match call {
            Call::MapDeviceInterrupt => self.map_device_interrupt(request),
            Call::UnmapDeviceInterrupt => self.unmap_device_interrupt(request),
            Call::RetargetDeviceInterrupt => self.retarget_device_interrupt(request),
            Call::AttachDevice => self.attach_device(request),
            Call::DetachDevice => self.detach_device(request),
            Call::CreateDeviceDomain => self.create_device_domain(request),
            Call::AttachDeviceDomain => self.attach_device_domain(request),
            Call::MapDeviceGpaPages => self.map_device_gpa_pages(request),
            Call::UnmapDeviceGpaPages => self.unmap_device_gpa_pages(request),
            Call::DetachDeviceDomain => self.detach_device_domain(request),
            Call::DeleteDeviceDomain => self.delete_device_domain(request),
            Call::QueryDeviceDomain => self.query_device_domain(request),
            Call::FlushDeviceDomain => self.flush_device_domain(request),
            Call::VendorReadLog => self.vendor_read_log(request),
            Call::VendorSystemInfo => self.vendor_system_info(request),
            Call::VendorWriteConfig => self.vendor_write_config(request),
            Call::VendorDeclareReset => self.vendor_declare_reset(request),
            Call::VendorDeviceInfo => self.vendor_device_info(request),
            Call::VendorIommuInfo => self.vendor_iommu_info(request),
            Call::VendorTakeFault => self.vendor_take_fault(request),
            Call::VendorCounters => self.vendor_counters(request),
            Call::VendorPower => self.vendor_power(request),
            Call::VendorDomainInfo => self.vendor_domain_info(request),
            Call::VendorInterruptInfo => self.vendor_interrupt_info(request),
            Call::VendorWhyNot => self.vendor_why_not(request),
            Call::VendorBarInfo => self.vendor_bar_info(request),
            // Named in the interface for their messages and events, which nobody here has a port for yet.
            _ => Err(Status::INVALID_HYPERCALL_CODE),
        }
    }
}
