//! The life of a device: who owns it, and what it may do.
//!
//! ```text
//!   NeedsReset --declare_reset--> Ready --attach--> Attached <--attach_domain-- Blocked
//!       ^                                              |  \---detach_domain-------^
//!       '------------------detach (from both)----------'--------------------------'
//! ```
//!
//! Only in `Attached` may a device master the bus, but for one that firmware reserved memory for: see `reserved`. A group moves as
//! one (invariant 5).

use alloc::boxed::Box;

use address::{DeviceId, PartitionId, RequesterId};
use paging::FrameSource;
use topology::{ConfigSpace, Reason};

use crate::domain::DomainId;
use crate::{Devices, DomainName, Error, Platform, fault};

/// Offset of the command register (PCI Express Base Specification, "Command Register").
const COMMAND: u16 = 4;
/// Bus Master Enable.
const BUS_MASTER: u16 = 1 << 2;

/// What a device may do now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DeviceState {
    /// Blocked, nobody's but the root's to reset: it may still hold what an earlier owner left. The state at boot.
    NeedsReset,
    /// Blocked and declared reset: it may be attached.
    Ready,
    /// Blocked; a partition owns it.
    Blocked,
    /// In a domain of its owner.
    Attached(DomainId),
    /// Blocked for good: its unit has stopped answering (invariant 9).
    Failed,
}

/// Whether a call that works in slices is done.
#[must_use]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Progress {
    /// Call again with the same arguments.
    More,
    /// All of it is done.
    Done,
}

/// A function as this crate knows it.
pub(crate) struct Device {
    pub(crate) id: DeviceId,
    /// Index in the topology.
    pub(crate) function: usize,
    pub(crate) unit: Option<u16>,
    pub(crate) source: iommu::Source,
    pub(crate) group: usize,
    /// Moves with its group; bridges do not.
    pub(crate) mover: bool,
    /// Bridges above it, nearest first.
    pub(crate) bridges: Box<[DeviceId]>,
    pub(crate) reason: Option<Reason>,
    /// The root for a device that nobody was given.
    pub(crate) owner: PartitionId,
    pub(crate) state: DeviceState,
    /// Head of the list of its interrupts.
    pub(crate) first_interrupt: Option<u16>,
    pub(crate) interrupts: u32,
    pub(crate) faults: fault::Account,
}

/// Devices that move together.
pub(crate) struct Group {
    /// Indexes in the table of devices.
    pub(crate) members: Box<[u16]>,
    /// Every requester id of a member, with its unit.
    pub(crate) requesters: Box<[(u16, RequesterId)]>,
    /// Slot of the reserved domain that it is in while it is blocked; most have none.
    pub(crate) reserved: Option<u16>,
}

/// Sets or clears bus mastering of one function.
pub(crate) fn set_bus_master(config: &mut impl ConfigSpace, device: DeviceId, on: bool) {
    let command = config.read16(device, COMMAND);
    let wanted = if on {
        command | BUS_MASTER
    } else {
        command & !BUS_MASTER
    };
    // All ones: nobody is there, nothing to switch.
    if command != u16::MAX && command != wanted {
        config.write16(device, COMMAND, wanted);
    }
}

impl<P: Platform> Devices<P> {
    /// Gives a device, and all that must move with it, to a partition: from [`DeviceState::Ready`] into the partition's
    /// identity domain; then its bus mastering goes on.
    ///
    /// # Errors
    /// [`Error::NoSuchDevice`], [`Error::NotAssignable`], [`Error::WrongState`] (of whichever member), [`Error::NotOwner`]
    /// where it was given away already, [`Error::NoSuchDomain`] where the partition has no identity domain,
    /// [`Error::UnitFailed`]. Every member is as before then.
    pub fn attach(
        &mut self,
        device: DeviceId,
        partition: PartitionId,
        _pool: &mut impl FrameSource,
    ) -> Result<(), Error> {
        let group = self.moving_group(device)?;
        self.check_members(group, |member| {
            if let Some(reason) = member.reason {
                return Err(Error::NotAssignable(member.id, reason));
            }
            match member.state {
                DeviceState::Ready => Ok(()),
                DeviceState::Attached(_) | DeviceState::Blocked if member.owner != partition => {
                    Err(Error::NotOwner {
                        owner: member.owner,
                    })
                }
                DeviceState::Attached(id) => Err(Error::AlreadyInDomain {
                    device: member.id,
                    domain: DomainName {
                        owner: member.owner,
                        id,
                    },
                }),
                state => Err(Error::WrongState {
                    device: member.id,
                    state,
                }),
            }
        })?;
        self.enter_domain(group, DomainName::identity(partition))
    }

    /// Takes a device, and all that moves with it, from a partition back to the root: bus mastering off, blocked, its
    /// interrupts removed, everything flushed and drained; it then needs a reset. Removes at most `budget` interrupts per
    /// call; between calls the device is blocked and still the partition's.
    ///
    /// # Errors
    /// [`Error::NoSuchDevice`], [`Error::NotOwner`], [`Error::WrongState`] where nobody has it. [`Error::UnitFailed`]:
    /// the device is blocked for good, and its owner is on the list of partitions to stop.
    pub fn detach(
        &mut self,
        device: DeviceId,
        partition: PartitionId,
        budget: usize,
        pool: &mut impl FrameSource,
    ) -> Result<Progress, Error> {
        let group = self.moving_group(device)?;
        self.check_members(group, |member| match member.state {
            _ if member.owner != partition => Err(Error::NotOwner {
                owner: member.owner,
            }),
            DeviceState::NeedsReset | DeviceState::Ready => Err(Error::WrongState {
                device: member.id,
                state: member.state,
            }),
            _ => Ok(()),
        })?;
        self.leave_domain(group)?;
        let mut left = budget;
        for at in 0..self.member_count(group) {
            let Some(member) = self.member(group, at) else {
                break;
            };
            if self.remove_interrupts(member, &mut left)? == Progress::More {
                return Ok(Progress::More);
            }
        }
        for at in 0..self.member_count(group) {
            if let Some(member) = self.member(group, at) {
                self.release_entries(member, pool)?;
            }
        }
        self.each_member(group, |member| {
            member.owner = PartitionId::ROOT;
            if member.state != DeviceState::Failed {
                member.state = DeviceState::NeedsReset;
            }
        });
        Ok(Progress::Done)
    }

    /// Records that a device was reset, by the root's word. Each member of a group is reset on its own.
    ///
    /// # Errors
    /// [`Error::NoSuchDevice`]; [`Error::WrongState`] unless it [needs a reset](DeviceState::NeedsReset) (or was declared
    /// reset already, which is no error).
    pub fn declare_reset(&mut self, device: DeviceId) -> Result<(), Error> {
        let device = self.device_mut(device)?;
        match device.state {
            DeviceState::NeedsReset | DeviceState::Ready => {
                device.state = DeviceState::Ready;
                Ok(())
            }
            state => Err(Error::WrongState {
                device: device.id,
                state,
            }),
        }
    }

    /// Takes back what [`Self::declare_reset`] said: the root touched the device since.
    ///
    /// # Errors
    /// As [`Self::declare_reset`].
    pub fn declare_used(&mut self, device: DeviceId) -> Result<(), Error> {
        self.declare_reset(device)?;
        self.device_mut(device)?.state = DeviceState::NeedsReset;
        Ok(())
    }

    /// Moves a device, and all that moves with it, into a domain of its owner. From another domain it is blocked first, so
    /// that at no moment it is in two.
    ///
    /// # Errors
    /// [`Error::NoSuchDevice`], [`Error::NotOwner`] where domain and device belong to different partitions,
    /// [`Error::NoSuchDomain`], [`Error::AlreadyInDomain`] where it is in this very domain, [`Error::WrongState`],
    /// [`Error::UnitFailed`].
    pub fn attach_domain(
        &mut self,
        device: DeviceId,
        domain: DomainName,
        _pool: &mut impl FrameSource,
    ) -> Result<(), Error> {
        let group = self.moving_group(device)?;
        self.domain_slot(domain)?;
        self.check_members(group, |member| match member.state {
            _ if member.owner != domain.owner => Err(Error::NotOwner {
                owner: member.owner,
            }),
            DeviceState::Attached(id) if id == domain.id => Err(Error::AlreadyInDomain {
                device: member.id,
                domain,
            }),
            DeviceState::Attached(_) | DeviceState::Blocked => Ok(()),
            state => Err(Error::WrongState {
                device: member.id,
                state,
            }),
        })?;
        self.leave_domain(group)?;
        self.enter_domain(group, domain)
    }

    /// Blocks a device, and all that moves with it; the owner keeps it, and its interrupts are held back until it is in a
    /// domain again. A device that is blocked already stays so.
    ///
    /// # Errors
    /// [`Error::NoSuchDevice`], [`Error::NotOwner`], [`Error::WrongState`], [`Error::UnitFailed`].
    pub fn detach_domain(&mut self, device: DeviceId, partition: PartitionId) -> Result<(), Error> {
        let group = self.moving_group(device)?;
        self.check_members(group, |member| match member.state {
            _ if member.owner != partition => Err(Error::NotOwner {
                owner: member.owner,
            }),
            DeviceState::Attached(_) | DeviceState::Blocked => Ok(()),
            state => Err(Error::WrongState {
                device: member.id,
                state,
            }),
        })?;
        self.leave_domain(group)
    }

    /// Switches bus mastering of an attached device, for an owner that writes its command register.
    ///
    /// # Errors
    /// [`Error::NoSuchDevice`], [`Error::NotOwner`]; [`Error::WrongState`] for `on` while the device is in no domain.
    pub fn set_bus_master(
        &mut self,
        device: DeviceId,
        partition: PartitionId,
        on: bool,
    ) -> Result<(), Error> {
        let it = self.device(device)?;
        if it.owner != partition {
            return Err(Error::NotOwner { owner: it.owner });
        }
        if on && !matches!(it.state, DeviceState::Attached(_)) {
            return Err(Error::WrongState {
                device,
                state: it.state,
            });
        }
        set_bus_master(&mut self.config, device, on);
        Ok(())
    }

    /// Who owns a device: the root for one that nobody was given.
    ///
    /// # Errors
    /// [`Error::NoSuchDevice`].
    pub fn owner(&self, device: DeviceId) -> Result<PartitionId, Error> {
        self.device(device).map(|device| device.owner)
    }

    /// What a device may do now.
    ///
    /// # Errors
    /// [`Error::NoSuchDevice`].
    pub fn state(&self, device: DeviceId) -> Result<DeviceState, Error> {
        self.device(device).map(|device| device.state)
    }

    /// Why a device may not be given to a partition; `None` where it may, or there is no such device.
    #[must_use]
    pub fn why_not(&self, device: DeviceId) -> Option<Reason> {
        self.device(device).ok()?.reason
    }

    pub(crate) fn device_number(&self, device: DeviceId) -> Result<u16, Error> {
        let found = self.devices.binary_search_by_key(&device, |it| it.id);
        found
            .map(|number| number as u16)
            .map_err(|_| Error::NoSuchDevice(device))
    }

    pub(crate) fn device(&self, device: DeviceId) -> Result<&Device, Error> {
        let number = self.device_number(device)?;
        let found = self.devices.get(usize::from(number));
        found.ok_or(Error::NoSuchDevice(device))
    }

    fn device_mut(&mut self, device: DeviceId) -> Result<&mut Device, Error> {
        let number = self.device_number(device)?;
        let found = self.devices.get_mut(usize::from(number));
        found.ok_or(Error::NoSuchDevice(device))
    }

    /// The group that a device moves with; a bridge moves with none.
    fn moving_group(&self, device: DeviceId) -> Result<usize, Error> {
        let it = self.device(device)?;
        if it.mover {
            return Ok(it.group);
        }
        let reason = it.reason.unwrap_or(Reason::Bridge);
        Err(Error::NotAssignable(device, reason))
    }

    pub(crate) fn member_count(&self, group: usize) -> usize {
        self.groups.get(group).map_or(0, |it| it.members.len())
    }

    pub(crate) fn member(&self, group: usize, at: usize) -> Option<u16> {
        self.groups.get(group)?.members.get(at).copied()
    }

    /// Whether every member passes a check.
    fn check_members(
        &self,
        group: usize,
        check: impl Fn(&Device) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let members = self.groups.get(group).map_or(&[][..], |it| &it.members);
        let members = members
            .iter()
            .filter_map(|&at| self.devices.get(usize::from(at)));
        members.into_iter().try_for_each(check)
    }

    pub(crate) fn each_member(&mut self, group: usize, mut change: impl FnMut(&mut Device)) {
        let Some(group) = self.groups.get(group) else {
            return;
        };
        for &member in &group.members {
            if let Some(device) = self.devices.get_mut(usize::from(member)) {
                change(device);
            }
        }
    }

    /// Lets a blocked group into a domain: all requester ids, or none of them.
    fn enter_domain(&mut self, group: usize, name: DomainName) -> Result<(), Error> {
        let slot = self.domain_slot(name)?;
        let count = self.groups.get(group).map_or(0, |it| it.requesters.len());
        for at in 0..count {
            if let Err(error) = self.enter_one(group, at, slot) {
                self.block_requesters(group, at)?;
                return self.failed_by(error);
            }
        }
        let members = self.member_count(group) as u32;
        self.domains.count_devices(slot, members as i32);
        self.each_member(group, |member| {
            member.owner = name.owner;
            member.state = DeviceState::Attached(name.id);
        });
        self.hold_interrupts(group, false)?;
        self.switch_bus_master(group, true);
        Ok(())
    }

    fn enter_one(&mut self, group: usize, at: usize, slot: u16) -> Result<(), Error> {
        let requester = self.groups.get(group).and_then(|it| it.requesters.get(at));
        let Some(&(unit, requester)) = requester else {
            return Ok(());
        };
        // Before the first request can be translated: from here on the unit may cache the domain.
        self.domains.seen_by(slot, unit);
        let Some((name, table)) = self.domains.table(slot) else {
            return Err(Error::NoHardware);
        };
        let attached = self.units.get(unit)?.attach(requester, name, table);
        attached.map_err(|error| Error::from_unit(unit, error))
    }

    /// Blocks a group, wherever it is.
    pub(crate) fn leave_domain(&mut self, group: usize) -> Result<(), Error> {
        let first = self
            .member(group, 0)
            .and_then(|at| self.devices.get(usize::from(at)));
        let Some((state, owner)) = first.map(|it| (it.state, it.owner)) else {
            return Ok(());
        };
        let DeviceState::Attached(id) = state else {
            return Ok(());
        };
        self.switch_bus_master(group, false);
        let count = self.groups.get(group).map_or(0, |it| it.requesters.len());
        self.block_requesters(group, count)?;
        if let Ok(slot) = self.domain_slot(DomainName { owner, id }) {
            self.domains
                .count_devices(slot, -(self.member_count(group) as i32));
        }
        self.each_member(group, |member| member.state = DeviceState::Blocked);
        self.hold_interrupts(group, true)
    }

    /// Blocks the first `count` requester ids of a group: all that they may still reach is what firmware reserved for them.
    pub(crate) fn block_requesters(&mut self, group: usize, count: usize) -> Result<(), Error> {
        for at in 0..count {
            let requester = self.groups.get(group).and_then(|it| it.requesters.get(at));
            let Some(&(unit, requester)) = requester else {
                break;
            };
            let blocked = self.units.get(unit).and_then(|it| {
                it.block(requester)
                    .map_err(|error| Error::from_unit(unit, error))
            });
            let blocked = match self.groups.get(group).and_then(|it| it.reserved) {
                Some(slot) if blocked.is_ok() => self.enter_one(group, at, slot),
                _ => blocked,
            };
            if let Err(error) = blocked {
                // Whatever the reason: a device that could not be blocked is contained with all behind its unit.
                self.fail_unit(unit);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Bus mastering of all members, and on the way up of the bridges that carry their requests.
    pub(crate) fn switch_bus_master(&mut self, group: usize, on: bool) {
        let Some(group) = self.groups.get(group) else {
            return;
        };
        for &member in &group.members {
            let Some(device) = self.devices.get(usize::from(member)) else {
                continue;
            };
            if on {
                for &bridge in &device.bridges {
                    set_bus_master(&mut self.config, bridge, true);
                }
            }
            set_bus_master(&mut self.config, device.id, on);
        }
    }
}
