//! Calls of our own that describe the machine and end it.

use abi::Status;
use abi::partition::privilege;
use abi::vendor::{Counters, CountersOf, Index, LogBytes, Power, ReadLog, SystemInfo};
use address::{LpIndex, PartitionId};
use paging::SlatKind;

use super::{Outcome, Request};
use crate::Kernel;
use crate::partition::PartitionCell;
use crate::seams::Machine;
use crate::vp::{VpCell, VpSlot};

impl<M: Machine> Kernel<M> {
    pub(super) fn vendor_read_log(&self, request: &mut Request<'_>) -> Result<Outcome, Status> {
        request.caller.needs(privilege::CPU_MANAGEMENT)?;
        let input: ReadLog = request.parameters()?;
        let mut answer = LogBytes::default();
        let (position, count) = self.machine.read_log(input.position, &mut answer.bytes);
        answer.position = position;
        answer.count = count as u64;
        request.answer(0, &answer);
        Ok(Outcome::Done)
    }

    pub(super) fn vendor_system_info(&self, request: &mut Request<'_>) -> Result<Outcome, Status> {
        request.caller.needs(privilege::CPU_MANAGEMENT)?;
        let input: Index = request.parameters()?;
        let lp = self
            .lps
            .get(input.index as usize)
            .ok_or(Status::INVALID_LP_INDEX)?;
        let vps = (0..crate::MAX_VPS as u16)
            .filter(|&slot| lp.bound.contains(VpSlot(slot)))
            .count();
        let root = self
            .partitions
            .get(PartitionId::ROOT)
            .ok_or(Status::INVALID_PARTITION_STATE)?;
        let reserve_free = root.body.lock().pool.free();
        let facts = self.machine.facts();
        let devices = self.devices.lock();
        let iommus = (0..)
            .take_while(|&index| devices.unit_info(index).is_some())
            .count();
        request.answer(
            0,
            &SystemInfo {
                lps: self.lps.len() as u32,
                iommus: iommus as u32,
                processor_dialect: u32::from(self.machine.slat_kind() == SlatKind::Extended),
                assignment: u32::from(devices.has_domains())
                    | u32::from(devices.remaps_interrupts()) << 1,
                tsc_hz: self.machine.tsc_hz(),
                apic_hz: facts.apic_hz,
                ram_bytes: facts.ram_bytes,
                kept_bytes: facts.kept_bytes,
                text_bytes: facts.text_bytes,
                boot_ticks: facts.boot_ticks,
                apic_id: lp.apic_id.0,
                vps: vps as u32,
                devices: (0..)
                    .take_while(|&index| devices.device_at(index).is_some())
                    .count() as u32,
                slice_us: crate::SLICE_US as u32,
                reserve_free,
                nmis: self.machine.nmis(LpIndex(input.index as u16)),
            },
        );
        Ok(Outcome::Done)
    }

    pub(super) fn vendor_counters(&self, request: &mut Request<'_>) -> Result<Outcome, Status> {
        let input: CountersOf = request.parameters()?;
        request.caller.needs(privilege::ACCESS_STATS)?;
        let id = request.caller.resolve(input.partition);
        if id != request.caller.partition {
            request.caller.needs(privilege::CPU_MANAGEMENT)?;
        }
        let mut counters = Counters::default();
        if id == PartitionId::INVALID {
            let lp = LpIndex(u16::try_from(input.lp).map_err(|_| Status::INVALID_LP_INDEX)?);
            self.lps
                .get(usize::from(lp.0))
                .ok_or(Status::INVALID_LP_INDEX)?;
            self.sum(&mut counters, |cell| {
                cell.partition() != PartitionId::INVALID && cell.lp() == lp
            });
        } else {
            let cell = self
                .partitions
                .get(id)
                .ok_or(Status::INVALID_PARTITION_ID)?;
            self.sum(&mut counters, |vp| vp.partition() == id);
            self.describe_partition(&mut counters, cell, id);
        }
        request.answer(0, &counters);
        Ok(Outcome::Done)
    }

    fn describe_partition(&self, counters: &mut Counters, cell: &PartitionCell, id: PartitionId) {
        let body = cell.body.lock();
        counters.vps = body.vp_slots().count() as u64;
        counters.mapped_pages = body.mapped_pages;
        counters.frames_in_use = body.pool.in_use();
        counters.frames_free = body.pool.free();
        drop(body);
        counters.dma_faults = cell.counters.dma_faults.get();
        let devices = self.devices.lock();
        let mut from = 0;
        while let Some((info, next)) = devices.domain_from(from) {
            from = next;
            counters.domain_pages += if info.name.owner == id { info.pages } else { 0 };
        }
        from = 0;
        while let Some((info, next)) = devices.interrupt_from(from) {
            from = next;
            counters.interrupts += u64::from(info.owner == id);
        }
        let owned = |info: &device::DeviceInfo| {
            info.owner == id
                && matches!(
                    info.state,
                    device::DeviceState::Attached(_) | device::DeviceState::Blocked
                )
        };
        counters.devices = (0..)
            .map_while(|index| devices.device_at(index))
            .filter(owned)
            .count() as u64;
    }

    /// Adds up the counters of VPs.
    fn sum(&self, counters: &mut Counters, of: impl Fn(&VpCell<M>) -> bool) {
        for cell in self.vps.iter().filter(|cell| of(cell)) {
            for (sum, exit) in counters.exits.iter_mut().zip(&cell.counters.exits) {
                *sum += exit.get();
            }
            counters.device_interrupts += cell.counters.device_interrupts.get();
            counters.injections += cell.counters.injections.get();
            counters.messages += cell.counters.messages.get();
            counters.guest_ticks += cell.counters.guest_ticks.get();
            counters.preemptions += cell.counters.preemptions.get();
        }
        counters.hypercalls = counters.exits[3];
    }

    pub(super) fn vendor_power(&self, request: &mut Request<'_>) -> Result<Outcome, Status> {
        let input: Power = request.parameters()?;
        request.caller.needs(privilege::CPU_MANAGEMENT)?;
        if input.action > 1 {
            return Err(Status::INVALID_PARAMETER);
        }
        self.machine.power(input.action == 1);
        // Still here: the machine does not know how.
        Err(Status::FEATURE_UNAVAILABLE)
    }
}
