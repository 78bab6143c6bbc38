//! What the root may list: devices, IOMMUs, domains, device interrupts, faults.

use abi::Status;
use abi::device::DeviceName;
use abi::partition::privilege;
use abi::vendor::{
    DeviceInfo, DomainInfo, Fault, Index, InterruptInfo, IommuInfo, Sentence, device_state,
    fault_kind,
};
use address::{PageSize, PartitionId};
use core::fmt::Write;
use device::{DeviceState, DomainId, FaultKind, Source, UnitInfo};

use super::device::pci;
use super::{Outcome, Request};
use crate::Kernel;
use crate::seams::Machine;
use crate::vp::VpSlot;

impl<M: Machine> Kernel<M> {
    fn index(&self, request: &Request<'_>) -> Result<usize, Status> {
        request.caller.needs(privilege::CPU_MANAGEMENT)?;
        let input: Index = request.parameters()?;
        usize::try_from(input.index).map_err(|_| Status::NO_DATA)
    }

    pub(super) fn vendor_device_info(&self, request: &mut Request<'_>) -> Result<Outcome, Status> {
        let index = self.index(request)?;
        let info = self
            .devices
            .lock()
            .device_at(index)
            .ok_or(Status::NO_DATA)?;
        let pci = self.pci.lock();
        let function = pci.function(info.id).ok_or(Status::NO_DATA)?;
        let attached = info.domain.map(|domain| number(domain.id));
        request.answer(
            0,
            &DeviceInfo {
                device: DeviceName::Pci(info.id).encode(),
                owner: if matches!(info.state, DeviceState::Blocked | DeviceState::Attached(_)) {
                    info.owner.0
                } else {
                    0
                },
                state: state(info.state),
                iommu: info.unit.map_or(u32::MAX, u32::from),
                group: info.group as u32,
                reason: u32::from(info.reason.is_some()),
                ids: u32::from(function.device) << 16 | u32::from(function.vendor),
                class: function.class << 8 | u32::from(function.revision),
                domain: attached.unwrap_or(abi::domain::NULL),
                interrupts: info.counters.interrupts,
                pages: info.counters.pages,
                faults: info.counters.faults,
            },
        );
        Ok(Outcome::Done)
    }

    /// Why a device cannot be assigned, in a sentence; empty where it can.
    pub(super) fn vendor_why_not(&self, request: &mut Request<'_>) -> Result<Outcome, Status> {
        request.caller.needs(privilege::CPU_MANAGEMENT)?;
        let input: Index = request.parameters()?;
        let device = pci(input.index)?;
        let devices = self.devices.lock();
        let info = devices
            .device_info(device)
            .ok_or(Status::INVALID_DEVICE_ID)?;
        let mut text = Text::default();
        if let Some(reason) = info.reason {
            // Text past the end is cut off, which is all that writing it can fail with.
            let _ = write!(text, "{reason}");
        }
        request.answer(
            0,
            &Sentence {
                length: text.length as u64,
                text: text.bytes,
            },
        );
        Ok(Outcome::Done)
    }

    pub(super) fn vendor_iommu_info(&self, request: &mut Request<'_>) -> Result<Outcome, Status> {
        let index = self.index(request)?;
        let devices = self.devices.lock();
        let unit = devices.unit_info(index).ok_or(Status::NO_DATA)?;
        let mut dialect = [0; 16];
        for (to, from) in dialect.iter_mut().zip(unit.dialect.bytes()) {
            *to = from;
        }
        let mut behind = 0;
        let mut at = 0;
        while let Some(info) = devices.device_at(at) {
            behind += u32::from(info.unit.map(usize::from) == Some(index));
            at += 1;
        }
        request.answer(
            0,
            &IommuInfo {
                base: self.pci.lock().unit_base(index).unwrap_or(0),
                dialect,
                segment: u32::from(unit.segment),
                failed: u32::from(!unit.works),
                address_bits: unit
                    .geometry
                    .map_or(0, |geometry| u32::from(geometry.input_bits)),
                features: features(&unit),
                devices: behind,
                flushes: unit.flushes,
                faults: unit.fault_overflows,
                ..IommuInfo::default()
            },
        );
        Ok(Outcome::Done)
    }

    pub(super) fn vendor_domain_info(&self, request: &mut Request<'_>) -> Result<Outcome, Status> {
        let wanted = self.index(request)?;
        let devices = self.devices.lock();
        let mut from = 0;
        for _ in 0..wanted {
            from = devices.domain_from(from).ok_or(Status::NO_DATA)?.1;
        }
        let (info, next) = devices.domain_from(from).ok_or(Status::NO_DATA)?;
        request.answer(
            0,
            &DomainInfo {
                partition: info.name.owner.0,
                id: number(info.name.id),
                devices: info.devices,
                pages: info.pages,
                hardware_id: u32::from(next),
                levels: u32::from(info.levels),
                ..DomainInfo::default()
            },
        );
        Ok(Outcome::Done)
    }

    pub(super) fn vendor_interrupt_info(
        &self,
        request: &mut Request<'_>,
    ) -> Result<Outcome, Status> {
        let wanted = self.index(request)?;
        let devices = self.devices.lock();
        let mut from = 0;
        for _ in 0..wanted {
            from = devices.interrupt_from(from).ok_or(Status::NO_DATA)?.1;
        }
        let (info, _) = devices.interrupt_from(from).ok_or(Status::NO_DATA)?;
        let (device, kind) = match info.source {
            Source::Message(id) => (DeviceName::Pci(id), 0),
            Source::Pin { io_apic, .. } => (DeviceName::IoApic(io_apic), 1),
        };
        let vp = self.vp_cell(VpSlot(info.target.vp.0 as u16));
        request.answer(
            0,
            &InterruptInfo {
                device: device.encode(),
                partition: info.owner.0,
                vp: u32::from(vp.index.load(core::sync::atomic::Ordering::Relaxed)),
                vector: u32::from(info.target.vector.0),
                lp: u32::from(info.target.lp.0),
                lp_vector: u32::from(info.lp_vector.0),
                index: info.id.0,
                kind,
                count: info.arrivals,
            },
        );
        Ok(Outcome::Done)
    }

    pub(super) fn vendor_take_fault(&self, request: &mut Request<'_>) -> Result<Outcome, Status> {
        self.index(request)?;
        self.collect_faults();
        let fault = self.faults.lock().pop().ok_or(Status::NO_DATA)?;
        request.answer(0, &fault);
        Ok(Outcome::Done)
    }

    /// Takes what the units recorded: each fault is counted against its partition and kept for the root, as far as there is
    /// room. Called when a unit asks for it, and whenever the root looks. The caller holds no lock.
    pub fn collect_faults(&self) {
        self.take_faults();
        self.stop_failed();
    }

    fn take_faults(&self) {
        // Bounded: a device over its budget is blocked, and a blocked device's faults are not recorded.
        for _ in 0..crate::faults::PER_ROUND {
            let Some(report) = self.devices.lock().take_fault() else {
                return;
            };
            let owner = report.partition.unwrap_or(PartitionId::INVALID);
            if let Some(cell) = self.partitions.get(owner) {
                cell.counters.dma_faults.count_shared();
            }
            let fault = Fault {
                device: DeviceName::Pci(report.device).encode(),
                partition: owner.0,
                address: report.address.map_or(0, |address| address.as_u64()),
                kind: match report.kind {
                    FaultKind::Read => fault_kind::READ,
                    FaultKind::Write => fault_kind::WRITE,
                    FaultKind::Interrupt => fault_kind::INTERRUPT,
                },
                reason: u32::from(report.reason),
                lost: 0,
            };
            self.faults.lock().push(fault);
            if report.blocked {
                self.tell_root(Fault {
                    kind: fault_kind::BLOCKED,
                    ..fault
                });
            }
        }
    }
}

/// Feature bits of a unit, as [`IommuInfo`] has them.
fn features(unit: &UnitInfo) -> u32 {
    let remaps = u32::from(unit.remaps_interrupts) << 3;
    unit.geometry.map_or(0, |geometry| {
        u32::from(geometry.largest >= PageSize::Size2M)
            | u32::from(geometry.largest >= PageSize::Size1G) << 1
            | u32::from(geometry.coherent) << 2
            | remaps
    })
}

const fn number(id: DomainId) -> u32 {
    match id {
        DomainId::Identity => abi::domain::IDENTITY,
        DomainId::Numbered(id) => id,
    }
}

const fn state(state: DeviceState) -> u32 {
    match state {
        DeviceState::NeedsReset => device_state::NEEDS_RESET,
        DeviceState::Ready => device_state::BLOCKED,
        DeviceState::Attached(_) => device_state::ATTACHED,
        DeviceState::Blocked => device_state::DETACHED,
        DeviceState::Failed => device_state::FAILED,
    }
}

/// Text of a bounded length, cut where it is longer.
struct Text {
    bytes: [u8; 232],
    length: usize,
}

impl Default for Text {
    fn default() -> Self {
        Self {
            bytes: [0; 232],
            length: 0,
        }
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for byte in text.bytes() {
            let place = self.bytes.get_mut(self.length).ok_or(core::fmt::Error)?;
            *place = byte;
            self.length += 1;
        }
        Ok(())
    }
}
