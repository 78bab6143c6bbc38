//! Hypercalls: from the registers of a VP to a handler and back.
//!
//! One place decodes, one place writes the result and steps the instruction pointer. A handler is a function from the
//! caller and its parameters, copied in once, to an [`Outcome`].

pub mod bar;
mod config;
pub mod deposit;
pub mod device;
pub mod domain;
pub mod gpa_map;
pub mod gpa_unmap;
pub mod interrupt;
pub mod inventory;
pub mod lifecycle;
pub mod property;
pub mod removed;
#[cfg(feature = "test-calls")]
mod test_message;
pub mod vendor;
pub mod vp;

use core::sync::atomic::Ordering;

use abi::call::Form;
use abi::{Call, CallInput, CallResult, Status};
use address::{Gpa, PAGE_SIZE, PartitionId, VpIndex};
use guest::{Event, Gpr, Vcpu};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::Kernel;
use crate::gva::writable;
use crate::memory::Holder;
use crate::seams::Machine;
use crate::vp::VpSlot;
use crate::vp::run::Running;
use removed::RemovedList;

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

/// Who calls.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// Its partition.
    pub partition: PartitionId,
    /// Slot of its partition.
    pub holder: Holder,
    /// The VP.
    pub vp: VpIndex,
    /// Slot of the VP.
    pub slot: VpSlot,
    /// What its partition may do.
    pub privileges: u64,
}

impl Caller {
    /// The partition that an argument names: SELF is the caller's.
    #[must_use]
    pub const fn resolve(&self, id: u64) -> PartitionId {
        if id == PartitionId::SELF.0 {
            self.partition
        } else {
            PartitionId(id)
        }
    }

    /// Whether the caller has all of these privileges.
    ///
    /// # Errors
    /// ACCESS_DENIED where it has not.
    pub const fn needs(&self, privileges: u64) -> Result<(), Status> {
        if self.privileges & privileges == privileges {
            Ok(())
        } else {
            Err(Status::ACCESS_DENIED)
        }
    }
}

/// A decoded call with its parameters.
#[derive(Debug)]
pub struct Request<'a> {
    /// The caller.
    pub caller: Caller,
    /// The input value.
    pub control: CallInput,
    input: &'a [u8],
    header: usize,
    output: &'a mut [u64; WORDS],
    removed: &'a mut RemovedList,
}

impl Request<'_> {
    /// The fixed parameters.
    ///
    /// # Errors
    /// INVALID_HYPERCALL_INPUT where the call has fewer; that would be a mistake in the table of calls.
    pub fn parameters<T: FromBytes + KnownLayout + Immutable>(&self) -> Result<T, Status> {
        let (parameters, _) =
            T::read_from_prefix(self.input).map_err(|_| Status::INVALID_HYPERCALL_INPUT)?;
        Ok(parameters)
    }

    /// The list behind the header: one element per repetition.
    ///
    /// # Errors
    /// As [`Request::parameters`].
    pub fn list<T: FromBytes + KnownLayout + Immutable>(&self) -> Result<&[T], Status> {
        let bytes = self
            .input
            .get(self.header..)
            .ok_or(Status::INVALID_HYPERCALL_INPUT)?;
        <[T]>::ref_from_bytes(bytes).map_err(|_| Status::INVALID_HYPERCALL_INPUT)
    }

    /// The part of the list that is still to do.
    ///
    /// # Errors
    /// As [`Request::parameters`].
    pub fn rest<T: FromBytes + KnownLayout + Immutable>(&self) -> Result<&[T], Status> {
        self.list()?
            .get(usize::from(self.control.start())..)
            .ok_or(Status::INVALID_HYPERCALL_INPUT)
    }

    /// Repetitions still to do.
    #[must_use]
    pub const fn left(&self) -> u16 {
        self.control.count() - self.control.start()
    }

    /// Puts the result, or one element of the result list at its index.
    pub fn answer<T: IntoBytes + Immutable>(&mut self, index: usize, value: &T) {
        let bytes = value.as_bytes();
        let at = index * bytes.len();
        if let Some(to) = self.output.as_mut_bytes().get_mut(at..at + bytes.len()) {
            to.copy_from_slice(bytes);
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
        vcpu.advance();
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

    /// Copies the parameters in, once. What the guest does to them afterwards does not count (HC-02).
    fn copy_in(
        &self,
        running: &Running<'_, M>,
        registers: &Registers,
        to: &mut [u8],
    ) -> Result<(), Status> {
        if registers.control.is_fast() {
            for (to, from) in to.chunks_mut(8).zip([registers.input, registers.output]) {
                to.copy_from_slice(&from.to_le_bytes()[..to.len()]);
            }
            return Ok(());
        }
        if to.is_empty() {
            return Ok(());
        }
        let from = list_start(registers.input, to.len())?;
        let body = running.partition.body.lock();
        let slat = body.slat.live().ok_or(Status::INVALID_PARTITION_STATE)?;
        let (spa, _) = self.ram_at(slat, from).ok_or(Status::INVALID_PARAMETER)?;
        self.machine.read(spa, to);
        Ok(())
    }

    /// Whether the result can be written, before anything is done.
    fn check_output(
        &self,
        running: &Running<'_, M>,
        registers: &Registers,
        sizes: &Sizes,
    ) -> Result<(), Status> {
        if sizes.output == 0 {
            return Ok(());
        }
        let to = list_start(registers.output, sizes.output)?;
        let end = |start: u64, length: usize| start.saturating_add(length as u64);
        if !registers.control.is_fast()
            && sizes.input > 0
            && to.as_u64() < end(registers.input, sizes.input)
            && registers.input < end(to.as_u64(), sizes.output)
        {
            return Err(Status::INVALID_ALIGNMENT);
        }
        self.output_at(running, to).map(|_| ())
    }

    fn output_at(&self, running: &Running<'_, M>, to: Gpa) -> Result<address::Spa, Status> {
        let body = running.partition.body.lock();
        let slat = body.slat.live().ok_or(Status::INVALID_PARTITION_STATE)?;
        let found = self
            .ram_at(slat, to)
            .filter(|(_, access)| writable(*access));
        found.map(|(spa, _)| spa).ok_or(Status::INVALID_PARAMETER)
    }

    /// Writes what the call produced, and no byte more.
    fn copy_out(
        &self,
        running: &Running<'_, M>,
        registers: &Registers,
        sizes: &Sizes,
        outcome: Outcome,
        output: &[u64; WORDS],
    ) -> Result<(), Status> {
        let from = usize::from(registers.control.start()) * sizes.element_out;
        let produced = match outcome {
            Outcome::Done => sizes.output,
            Outcome::Reps(done, _) | Outcome::Again(done) => {
                from + usize::from(done) * sizes.element_out
            }
            Outcome::Retry => 0,
        };
        let Some(bytes) = output
            .as_bytes()
            .get(from..produced)
            .filter(|bytes| !bytes.is_empty())
        else {
            return Ok(());
        };
        let to = self.output_at(running, list_start(registers.output, sizes.output)?)?;
        if let Some(to) = to.checked_add(from as u64) {
            self.machine.write(to, bytes);
        }
        Ok(())
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

/// A parameter list's address, checked: aligned to 8 bytes, in one page.
fn list_start(gpa: u64, length: usize) -> Result<Gpa, Status> {
    if !gpa.is_multiple_of(8) || gpa % PAGE_SIZE + length as u64 > PAGE_SIZE {
        return Err(Status::INVALID_ALIGNMENT);
    }
    Ok(Gpa::new(gpa))
}

/// Sizes of a call's parameters, in bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Sizes {
    /// Fixed input, where the list begins.
    header: usize,
    /// All input.
    input: usize,
    /// All output.
    output: usize,
    /// One output element.
    element_out: usize,
}

impl Sizes {
    /// Checks the control word against the call's form (HC-05, HC-06).
    fn check(call: Call, control: CallInput) -> Result<Self, Status> {
        let signature = call.signature();
        let wrong = control.has_reserved_bits() || (control.is_fast() && !signature.fast);
        let (count, start) = (usize::from(control.count()), usize::from(control.start()));
        let variable = usize::from(control.variable_header()) * 8;
        let header = usize::from(signature.input);
        let (input, output, element_out, fits) = match signature.form {
            Form::Simple => (
                header,
                usize::from(signature.output),
                0,
                count == 0 && start == 0 && variable == 0,
            ),
            Form::Variable => (
                header + variable,
                usize::from(signature.output),
                0,
                count == 0 && start == 0,
            ),
            Form::Rep {
                element_in,
                element_out,
            } => {
                let element_out = usize::from(element_out);
                let input = header + count * usize::from(element_in);
                (
                    input,
                    count * element_out,
                    element_out,
                    count > 0 && start < count && variable == 0,
                )
            }
        };
        let page = PAGE_SIZE as usize;
        if wrong || !fits || input > page || output > page {
            return Err(Status::INVALID_HYPERCALL_INPUT);
        }
        Ok(Self {
            header,
            input,
            output,
            element_out,
        })
    }
}

/// Where the parameters are: three registers in 64-bit mode, three pairs otherwise.
struct Registers {
    control: CallInput,
    input: u64,
    output: u64,
    long_mode: bool,
}

impl Registers {
    fn read(vcpu: &impl Vcpu) -> Self {
        let pair = |high, low| vcpu.gpr(high) << 32 | vcpu.gpr(low) & 0xffff_ffff;
        if vcpu.long_mode() {
            Self {
                control: CallInput(vcpu.gpr(Gpr::Rcx)),
                input: vcpu.gpr(Gpr::Rdx),
                output: vcpu.gpr(Gpr::R8),
                long_mode: true,
            }
        } else {
            Self {
                control: CallInput(pair(Gpr::Rdx, Gpr::Rax)),
                input: pair(Gpr::Rbx, Gpr::Rcx),
                output: pair(Gpr::Rdi, Gpr::Rsi),
                long_mode: false,
            }
        }
    }

    fn write_pair(vcpu: &mut impl Vcpu, value: u64) {
        vcpu.set_gpr(Gpr::Rdx, value >> 32);
        vcpu.set_gpr(Gpr::Rax, value & 0xffff_ffff);
    }

    fn write_control(&self, vcpu: &mut impl Vcpu, control: CallInput) {
        if self.long_mode {
            vcpu.set_gpr(Gpr::Rcx, control.0);
        } else {
            Self::write_pair(vcpu, control.0);
        }
    }

    fn write_result(&self, vcpu: &mut impl Vcpu, result: CallResult) {
        if self.long_mode {
            vcpu.set_gpr(Gpr::Rax, result.0);
        } else {
            Self::write_pair(vcpu, result.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(call: Call, control: CallInput) -> Option<Status> {
        Sizes::check(call, control).err()
    }

    #[test]
    fn hc_05_control_words_that_do_not_fit_the_call_are_refused() {
        let refused = Some(Status::INVALID_HYPERCALL_INPUT);
        let simple = CallInput::simple(0x40);
        assert_eq!(status(Call::CreatePartition, simple), None);
        assert_eq!(
            status(Call::CreatePartition, CallInput(simple.0 | 1 << 27)),
            refused
        );
        assert_eq!(
            status(Call::CreatePartition, CallInput::fast(0x40)),
            refused
        );
        assert_eq!(
            status(Call::CreatePartition, simple.with_variable_header(1)),
            refused
        );
        assert_eq!(
            status(Call::CreatePartition, CallInput::rep(0x40, 1, 0)),
            refused
        );
        assert_eq!(
            status(Call::InitializePartition, CallInput::fast(0x41)),
            None
        );
    }

    #[test]
    fn hc_06_repetition_counts_stay_in_their_page() {
        let refused = Some(Status::INVALID_HYPERCALL_INPUT);
        let map = |count, start| status(Call::MapGpaPages, CallInput::rep(0x4b, count, start));
        assert_eq!(map(0, 0), refused);
        assert_eq!(map(1, 1), refused);
        assert_eq!(map(509, 508), None);
        assert_eq!(map(510, 0), refused);
        assert_eq!(map(4095, 0), refused);
        assert_eq!(
            status(Call::UnmapGpaPages, CallInput::rep(0x4c, 4095, 4094)),
            None
        );
    }

    #[test]
    fn hc_03_parameter_lists_are_aligned_and_in_one_page() {
        assert_eq!(list_start(0x1001, 8), Err(Status::INVALID_ALIGNMENT));
        assert_eq!(list_start(0x1ff8, 16), Err(Status::INVALID_ALIGNMENT));
        assert_eq!(list_start(0x1ff8, 8), Ok(Gpa::new(0x1ff8)));
    }
}
