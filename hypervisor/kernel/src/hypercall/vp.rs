//! VPs: making, removing, their registers, interrupts that others assert.

use abi::Status;
use abi::interrupt::{Assert, interrupt_type};
use abi::partition::privilege;
use abi::register;
use abi::vp::{
    Context, CreateVp, DeleteVp, RegisterValue, Registers, Segment, StartVp, Table, Translate,
    Translation, VP_SELF, translate_flags,
};
use address::{ApicId, LpIndex, PartitionId, Spa, Vector, VpIndex};
use arrayvec::ArrayVec;
use core::sync::atomic::Ordering;
use guest::Vcpu;
use guest::apic::{Destination, IpiKind, IpiRequest, LocalApic};
use paging::FrameSource;
use zerocopy::IntoBytes;

use super::lifecycle::Dismantled;
use super::{Outcome, Request};
use crate::gva::{Fault, Want};
use crate::memory::Holder;
use crate::partition::{Partition, PartitionCell, State};
use crate::seams::Machine;
use crate::status::IntoStatus;
use crate::synic::SynIc;
use crate::vp::inbox::Request as Left;
use crate::vp::run::Running;
use crate::vp::{Activity, MAX_VP_FRAMES, Vp, VpSlot};
use crate::{Kernel, MAX_VPS};

impl<M: Machine> Kernel<M> {
    pub(super) fn create_vp(&self, request: &mut Request<'_>) -> Result<Outcome, Status> {
        let input: CreateVp = request.parameters()?;
        let cell = self.child(request, input.partition)?;
        if input.reserved != [0; 3] {
            return Err(Status::INVALID_PARAMETER);
        }
        let lp = u16::try_from(input.flags).map_err(|_| Status::INVALID_LP_INDEX)?;
        self.make_vp(cell, VpIndex(input.vp), LpIndex(lp))?;
        Ok(Outcome::Done)
    }

    /// Makes the root's VP on an LP. The machine calls this once per LP at boot, in LP order, before anything runs.
    ///
    /// # Errors
    /// As CreateVp.
    pub fn make_root_vp(&self, lp: LpIndex) -> Result<(), Status> {
        let cell = self
            .partitions
            .get(PartitionId::ROOT)
            .ok_or(Status::INVALID_PARTITION_ID)?;
        self.make_vp(cell, VpIndex(u32::from(lp.0)), lp)
    }

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
        vp.activity = Activity::Running;
        drop(body);
        self.wake(slot);
        Ok(())
    }

    fn make_vp(&self, cell: &PartitionCell, index: VpIndex, lp: LpIndex) -> Result<(), Status> {
        let lp_state = self
            .lps
            .get(usize::from(lp.0))
            .ok_or(Status::INVALID_LP_INDEX)?;
        let mut body = cell.body.lock();
        if body.state != State::Initialized {
            return Err(Status::INVALID_PARTITION_STATE);
        }
        if body.vps.get(index.0 as usize).is_none_or(Option::is_some) {
            return Err(Status::INVALID_VP_INDEX);
        }
        let slat_root = body
            .slat
            .live()
            .ok_or(Status::INVALID_PARTITION_STATE)?
            .root();
        let (partition, holder, is_root) = (body.id, body.holder, body.is_root());
        let slot = self
            .claim_slot(partition)
            .ok_or(Status::INSUFFICIENT_ROOT_MEMORY)?;
        let frames = self.vp_frames(&mut body, is_root).inspect_err(|_| {
            self.vp_cell(slot).partition.store(0, Ordering::Release);
        })?;
        let (control, overlay) = frames.split_at(M::Vcpu::FRAMES);
        let vcpu = M::Vcpu::new(control, slat_root, u16::from(holder.0));
        let vp = Vp {
            partition,
            holder,
            index,
            slot,
            lp,
            vcpu,
            apic: LocalApic::new(ApicId(index.0)),
            synic: SynIc::new(overlay.first().copied()),
            activity: Activity::WaitForStartup,
            explicit_suspend: !is_root,
            intercept_suspend: false,
            nmi: false,
            message: None,
            frames,
            cpuid: self.cpuid_facts(body.id, index),
            assist_msr: 0,
        };
        let vp_cell = self.vp_cell(slot);
        vp_cell.inbox.clear();
        vp_cell.counters.clear();
        vp_cell.index.store(index.0 as u16, Ordering::Relaxed);
        vp_cell.lp.store(lp.0, Ordering::Relaxed);
        *vp_cell.body.lock() = Some(vp);
        lp_state.bound.insert(slot);
        cell.vp_count.fetch_max(index.0 + 1, Ordering::Relaxed);
        if let Some(place) = body.vps.get_mut(index.0 as usize) {
            *place = Some(slot);
        }
        Ok(())
    }

    /// Frames for a VP: its control structures, and for the root its message page, which its map then shows.
    fn vp_frames(
        &self,
        body: &mut Partition,
        is_root: bool,
    ) -> Result<ArrayVec<Spa, MAX_VP_FRAMES>, Status> {
        let tables = self.machine.tables();
        let Partition { pool, slat, .. } = body;
        let wanted = M::Vcpu::FRAMES + usize::from(is_root);
        let mut frames: ArrayVec<Spa, MAX_VP_FRAMES> = ArrayVec::new();
        let pool = &mut pool.source(tables);
        while frames.len() < wanted {
            let Some(frame) = pool.take() else {
                frames.into_iter().for_each(|frame| pool.put(frame));
                return Err(Status::INSUFFICIENT_MEMORY);
            };
            self.machine.scrub(frame);
            frames.push(frame);
        }
        if let (true, Some(&page), Some(slat)) = (is_root, frames.last(), slat.live_mut()) {
            // An overlay: the SLAT shows it, no domain does (invariant 1).
            let rights = paging::Rights::READ | paging::Rights::WRITE;
            let (_, result) = slat.map_pages(
                tables,
                pool,
                page.as_u64(),
                &[page.page()],
                paging::Access::ram(rights),
            );
            result.map_err(IntoStatus::status)?;
        }
        Ok(frames)
    }

    /// What CPUID shows a VP, as far as that does not change.
    fn cpuid_facts(&self, partition: PartitionId, index: VpIndex) -> guest::cpuid::Facts {
        let devices = self.devices.lock();
        let width = devices
            .unit_info(0)
            .and_then(|unit| unit.geometry)
            .map_or(0, |geometry| geometry.input_bits);
        let privileges = self
            .partitions
            .get(partition)
            .map_or(0, |cell| cell.privileges.load(Ordering::Relaxed));
        guest::cpuid::Facts {
            root: partition == PartitionId::ROOT,
            privileges,
            apic_id: index.0,
            vp_count: 1,
            osxsave: false,
            xstate: guest::xstate::Xstate::supported(M::Vcpu::host_cpuid),
            physical_bits: self.machine.physical_bits(),
            max_vps: crate::MAX_PARTITION_VPS as u32,
            lps: self.lps.len() as u32,
            interrupt_entries: if devices.remaps_interrupts() {
                0x8000
            } else {
                0
            },
            device_width: width,
        }
    }

    /// Takes a free VP slot for a partition.
    fn claim_slot(&self, partition: PartitionId) -> Option<VpSlot> {
        (0..MAX_VPS as u16).map(VpSlot).find(|&slot| {
            let name = &self.vp_cell(slot).partition;
            name.compare_exchange(0, partition.0, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
        })
    }

    pub(super) fn delete_vp(&self, request: &mut Request<'_>) -> Result<Outcome, Status> {
        let input: DeleteVp = request.parameters()?;
        let cell = self.child(request, input.partition)?;
        // With the partition locked, no interrupt is given to the VP between the look and its end.
        let mut body = cell.body.lock();
        let slot = slot_in(&body, input.vp)?;
        let vp = device::VpRef(u32::from(slot.0));
        if self.devices.lock().interrupts_of(vp) > 0 {
            return Err(Status::OBJECT_IN_USE);
        }
        if self.dismantle_vp(&mut body, slot) == Dismantled::Running {
            return Ok(Outcome::Retry);
        }
        self.forget_vp(&mut body, slot);
        Ok(Outcome::Done)
    }

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
            return Ok(set_all(running.vp, values));
        }
        let suspend =
            |value: &RegisterValue| value.name == register::EXPLICIT_SUSPEND && value.value[0] == 1;
        let Some(mut body) = self.vp_cell(slot).body.try_lock() else {
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
        let outcome = set_all(vp, values);
        let runnable = vp.is_runnable();
        drop(body);
        if runnable {
            self.wake(slot);
        }
        Ok(outcome)
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
        vp.activity = Activity::Running;
        drop(body);
        self.wake(slot);
        Ok(Outcome::Done)
    }

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

    /// Slots that belong to a holder; for checks that nothing is left.
    #[must_use]
    pub fn vps_of(&self, holder: Holder) -> usize {
        self.partitions
            .cell(usize::from(holder.0))
            .map_or(0, |cell| cell.body.lock().vp_slots().count())
    }
}

/// Slot of a partition's VP.
pub(super) fn slot_of(cell: &PartitionCell, vp: u32) -> Result<VpSlot, Status> {
    slot_in(&cell.body.lock(), vp)
}

/// The same, with the partition locked.
pub(super) fn slot_in(body: &Partition, vp: u32) -> Result<VpSlot, Status> {
    body.vps
        .get(vp as usize)
        .copied()
        .flatten()
        .ok_or(Status::INVALID_VP_INDEX)
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
fn set_all<M: Machine>(vp: &mut Vp<M>, values: &[RegisterValue]) -> Outcome {
    for (done, value) in values.iter().enumerate() {
        if let Err(status) = write_register(vp, value) {
            return Outcome::Reps(done as u16, status);
        }
    }
    Outcome::Reps(values.len() as u16, Status::SUCCESS)
}

fn write_register<M: Machine>(vp: &mut Vp<M>, entry: &RegisterValue) -> Result<(), Status> {
    if entry.reserved != [0; 3] {
        return Err(Status::INVALID_PARAMETER);
    }
    let [low, high] = entry.value;
    let flag = |value| match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Status::INVALID_REGISTER_VALUE),
    };
    match entry.name {
        register::EXPLICIT_SUSPEND => vp.explicit_suspend = flag(low)?,
        register::INTERCEPT_SUSPEND => vp.intercept_suspend = flag(low)?,
        register::INTERNAL_ACTIVITY_STATE => {
            vp.activity = match low {
                0 => Activity::Running,
                register::activity::STARTUP_SUSPEND => Activity::WaitForStartup,
                register::activity::HALT_SUSPEND => Activity::Halted,
                _ => return Err(Status::INVALID_REGISTER_VALUE),
            };
        }
        register::APIC_BASE => vp
            .apic
            .set_base(low)
            .map_err(|_| Status::INVALID_REGISTER_VALUE)?,
        name => vp
            .vcpu
            .set_register(name, u128::from(high) << 64 | u128::from(low))
            .map_err(status_of)?,
    }
    Ok(())
}

const fn status_of(unknown: bool) -> Status {
    if unknown {
        Status::UNKNOWN_REGISTER_NAME
    } else {
        Status::INVALID_REGISTER_VALUE
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
