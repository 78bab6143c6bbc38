//! Faults that units report, a budget for those who cause them, and units that stop answering (invariant 9).

use address::{DeviceId, Iova, PartitionId};
use iommu::{Clock, Fault};

use crate::boot::StopQueue;
use crate::ownership::DeviceState;
use crate::{Devices, Error, Platform, Reason};

/// What a device tried.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FaultKind {
    /// To read memory.
    Read,
    /// To write memory, atomically or not.
    Write,
    /// To raise an interrupt.
    Interrupt,
}

/// A request that was refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FaultReport {
    /// Who asked, as far as the bus can tell: a function, or an id that nobody was found under.
    pub device: DeviceId,
    /// The owner of the device; `None` where no device of this id is known.
    pub partition: Option<PartitionId>,
    /// The page that it asked for; `None` for an interrupt.
    pub address: Option<Iova>,
    /// What it tried.
    pub kind: FaultKind,
    /// The unit's own reason code, for the log.
    pub reason: u8,
    /// Whether this fault was one too many: the device, and all that moves with it, is blocked now, its owner kept.
    pub blocked: bool,
}

/// Faults of one device.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Account {
    /// Since boot.
    pub(crate) total: u64,
    /// In the period that began at `since`.
    recent: u32,
    since: u64,
}

impl Account {
    /// Counts a fault at time `now`; whether the budget is spent.
    fn count(&mut self, now: u64, period: u64, budget: u32) -> bool {
        if self.total == 0 || now.wrapping_sub(self.since) >= period {
            self.since = now;
            self.recent = 0;
        }
        self.total = self.total.saturating_add(1);
        self.recent = self.recent.saturating_add(1);
        self.recent > budget
    }
}

/// What is to be told.
pub(crate) struct Reporter {
    /// Partitions that must stop, each once.
    stop: StopQueue,
    /// The unit to ask first, so that no unit's flood hides another's.
    next: usize,
}

impl Reporter {
    pub(crate) fn new(partitions: usize) -> Self {
        Self {
            stop: StopQueue::with_capacity(partitions),
            next: 0,
        }
    }

    fn stop(&mut self, partition: PartitionId) {
        let known = self.stop.contains(&partition);
        if !known && self.stop.len() < self.stop.capacity() {
            self.stop.push_back(partition);
        }
    }
}

impl<P: Platform> Devices<P> {
    /// Takes one fault from the units, in turn; `None` where none has any. Call it when a unit raised its fault interrupt,
    /// and now and then without. A device over its budget is blocked.
    pub fn take_fault(&mut self) -> Option<FaultReport> {
        let count = self.units.0.len();
        for _ in 0..count {
            let at = self.faults.next % count;
            self.faults.next = at + 1;
            let unit = at as u16;
            match self.units.get(unit).map(iommu::Unit::take_fault) {
                Ok(Ok(Some(fault))) => return Some(self.judge(unit, fault)),
                Ok(Err(_)) => self.fail_unit(unit),
                Ok(Ok(None)) | Err(_) => (),
            }
        }
        None
    }

    /// Makes every unit that works raise `vector` at `apic` when it has recorded a fault. The vector is the caller's, outside
    /// [`DEVICE_VECTORS`](crate::DEVICE_VECTORS).
    ///
    /// # Errors
    /// The first unit's refusal; the others were told all the same.
    pub fn set_fault_interrupt(
        &mut self,
        apic: address::ApicId,
        vector: address::Vector,
    ) -> Result<(), iommu::Error> {
        let mut result = Ok(());
        for unit in 0..self.units.0.len() as u16 {
            let Ok(it) = self.units.get(unit) else {
                continue;
            };
            let told = it.set_fault_interrupt(apic, vector);
            if told == Err(iommu::Error::UnitFailed) {
                self.fail_unit(unit);
            }
            result = result.and(told);
        }
        result
    }

    /// A partition that must be stopped because a unit in front of its devices has failed; each once.
    pub fn take_partition_to_stop(&mut self) -> Option<PartitionId> {
        self.faults.stop.pop_front()
    }

    /// Whether a failed unit may still reach memory that a partition's domains mapped: its frames must stay out of use for
    /// ever.
    #[must_use]
    pub fn is_quarantined(&self, partition: PartitionId) -> bool {
        let failed = self
            .units
            .0
            .iter()
            .zip(0u16..)
            .filter(|(slot, _)| slot.failed);
        let mut units = failed.map(|(_, unit)| unit);
        units.any(|unit| self.domains.reached_by(partition, unit))
    }

    /// Faults that units had no room to record, since boot.
    #[must_use]
    pub fn fault_overflows(&self) -> u64 {
        let units = self.units.0.iter().filter_map(|slot| slot.unit.as_ref());
        units.map(iommu::Unit::fault_overflows).sum()
    }

    /// Counts a fault against its device.
    fn judge(&mut self, unit: u16, fault: Fault) -> FaultReport {
        let slot = self.units.0.get(usize::from(unit));
        let segment = slot.map_or(0, |slot| slot.segment);
        let named = DeviceId::from_requester(segment, fault.requester);
        let (now, ticks) = slot
            .and_then(|slot| slot.unit.as_ref())
            .map_or((0, 1), |it| {
                (it.hardware().now(), it.hardware().ticks_per_us())
            });
        let period = self.capacities.fault_period_us.saturating_mul(ticks);
        let budget = self.capacities.fault_budget;
        let (kind, address) = tried(fault.kind);
        let mut report = FaultReport {
            device: named,
            partition: None,
            address,
            kind,
            reason: fault.reason,
            blocked: false,
        };
        let Some(number) = self.culprit(unit, named) else {
            return report;
        };
        let Some(device) = self.devices.get_mut(usize::from(number)) else {
            return report;
        };
        let spent = device.faults.count(now, period, budget);
        report.device = device.id;
        report.partition = Some(device.owner);
        let (group, state) = (device.group, device.state);
        if !matches!(state, DeviceState::Attached(_)) {
            self.quiet_reserved(group, unit, &fault, spent);
        } else if spent {
            // A unit that fails at this has been dealt with, the device with it.
            let _ = self.leave_domain(group);
            report.blocked = true;
        }
        report
    }

    /// The device of this id, or the first one of the group that may appear under it.
    fn culprit(&self, unit: u16, named: DeviceId) -> Option<u16> {
        if let Ok(number) = self.device_number(named)
            && self
                .devices
                .get(usize::from(number))
                .is_some_and(|it| it.mover)
        {
            return Some(number);
        }
        let key = (unit, named.requester);
        let group = self
            .groups
            .iter()
            .find(|it| it.requesters.binary_search(&key).is_ok())?;
        group.members.first().copied()
    }

    /// Draws the consequences where an error says that a unit has failed, and passes it on.
    pub(crate) fn failed_by<T>(&mut self, error: Error) -> Result<T, Error> {
        if let Error::UnitFailed { unit } = error {
            self.fail_unit(unit);
        }
        Err(error)
    }

    pub(crate) fn has_failed(&self, unit: u16) -> bool {
        let slot = self.units.0.get(usize::from(unit));
        slot.is_none_or(|slot| slot.failed)
    }

    /// A unit does not answer: bus mastering of every device behind it goes off, nothing behind it is ever attached again,
    /// and the partitions that own any of it are to be stopped (invariant 9). What they mapped is quarantined, because no
    /// flush of a domain that the unit has seen succeeds any more.
    pub(crate) fn fail_unit(&mut self, unit: u16) {
        let Some(slot) = self.units.0.get_mut(usize::from(unit)) else {
            return;
        };
        if core::mem::replace(&mut slot.failed, true) {
            return;
        }
        for group in 0..self.groups.len() {
            let touched = self.groups.get(group).is_some_and(|it| {
                let mut units = it.requesters.iter().map(|&(of, _)| of);
                units.any(|of| of == unit)
            });
            if touched {
                self.fail_group(group);
            }
        }
    }

    fn fail_group(&mut self, group: usize) {
        self.switch_bus_master(group, false);
        for at in 0..self.member_count(group) {
            let Some(number) = self.member(group, at) else {
                break;
            };
            let Some(device) = self.devices.get_mut(usize::from(number)) else {
                break;
            };
            device.reason = Some(Reason::UnitFailed);
            let was = core::mem::replace(&mut device.state, DeviceState::Failed);
            let owner = device.owner;
            if let DeviceState::Attached(id) = was
                && let Ok(slot) = self.domain_slot(crate::DomainName { owner, id })
            {
                self.domains.count_devices(slot, -1);
            }
            if owner != PartitionId::ROOT {
                self.faults.stop(owner);
            }
        }
    }
}

/// What was tried, and at which address.
const fn tried(kind: iommu::FaultKind) -> (FaultKind, Option<Iova>) {
    match kind {
        iommu::FaultKind::Read(at) => (FaultKind::Read, Some(Iova::new(at))),
        iommu::FaultKind::Write(at) | iommu::FaultKind::Atomic(at) => {
            (FaultKind::Write, Some(Iova::new(at)))
        }
        // Whatever it was, it is told as an access: no right could have allowed it.
        iommu::FaultKind::Other(at) => (FaultKind::Read, Some(Iova::new(at))),
        iommu::FaultKind::Interrupt(_) => (FaultKind::Interrupt, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_spent_within_a_period_and_renewed_by_the_next() {
        let mut account = Account::default();
        assert!(!account.count(1_000, 100, 2));
        assert!(!account.count(1_050, 100, 2));
        assert!(account.count(1_099, 100, 2));
        assert!(!account.count(1_100, 100, 2));
        assert_eq!(account.total, 4);
    }
}
