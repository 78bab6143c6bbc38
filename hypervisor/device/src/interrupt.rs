//! Device interrupts: a right of one device, or pin, to raise one vector on one VP. The hardware half (remapping entry to
//! LP and vector) and the software half (LP and vector to VP and vector) are made, changed and removed together.

use alloc::boxed::Box;

use address::{ApicId, DeviceId, LpIndex, PartitionId, Spa, Vector};
use iommu::{Polarity, Trigger};
use paging::FrameSource;
use topology::{SpecialKind, Topology};

use crate::boot::Pins;
use crate::ownership::{DeviceState, Progress};
use crate::store::{Index, Slots};
use crate::vector::Vectors;
use crate::{Delivery, Devices, Error, InterruptId, Platform, SoftwareTable, VpRef};

/// What raises an interrupt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Source {
    /// A message that a device writes (MSI or MSI-X).
    Message(DeviceId),
    /// An input of an I/O APIC. The root's only.
    Pin {
        /// Id of the I/O APIC in the firmware's table.
        io_apic: u8,
        /// Number of the input, counted from 0.
        pin: u8,
        /// Level-triggered; else edge-triggered.
        level: bool,
        /// Which level or edge counts.
        polarity: Polarity,
    },
}

/// What it is raised on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Target {
    /// The LP of the VP.
    pub lp: LpIndex,
    /// Local APIC id of that LP.
    pub apic: ApicId,
    /// The VP.
    pub vp: VpRef,
    /// The vector to raise there: 16 to 255.
    pub vector: Vector,
    /// The VP's descriptor, where a unit that can may leave the interrupt in it instead of raising it on the LP.
    pub post: Option<Spa>,
}

/// What the device, or the I/O APIC, is to be programmed with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wire {
    /// Address and data of the message. They stay the same for the life of the interrupt.
    Message {
        /// Address, below 4 GiB.
        address: u32,
        /// Data.
        data: u32,
    },
    /// The redirection entry, unmasked (the mask is bit 16). It may change with every retarget.
    Pin(u64),
}

/// A device interrupt, as its maker gets it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InterruptEntry {
    /// Its name.
    pub id: InterruptId,
    /// What raises it.
    pub wire: Wire,
}

/// An I/O APIC behind a unit that remaps.
pub(crate) struct IoApic {
    pub(crate) id: u8,
    pub(crate) unit: u16,
    pub(crate) source: iommu::Source,
}

/// A device interrupt.
#[derive(Clone, Copy)]
pub(crate) struct Interrupt {
    pub(crate) owner: PartitionId,
    pub(crate) source: Source,
    pub(crate) target: Target,
    /// Vector of the LP.
    pub(crate) vector: Vector,
    /// LP and vector before the last change of LP: an interrupt that was under way then still finds its VP.
    old: Option<(LpIndex, Vector)>,
    pub(crate) hardware: Option<Hardware>,
    /// Held back by [`Devices::hold_interrupt`].
    pub(crate) held: bool,
    /// Next one of the same device.
    pub(crate) next: Option<u16>,
}

/// Who remaps it, for whom, and by which entry; `None` in an [`Interrupt`] where the machine remaps no interrupts.
#[derive(Clone, Copy)]
pub(crate) struct Hardware {
    pub(crate) unit: u16,
    pub(crate) source: iommu::Source,
    /// Index of the remapping entry: the interrupt's own name, or one that counts within the source.
    pub(crate) index: u16,
}

/// All device interrupts. The number of a slot is the interrupt's name.
pub(crate) struct Interrupts {
    pub(crate) slots: Slots<Interrupt>,
    vectors: Vectors,
    pub(crate) pins: Pins,
    pub(crate) io_apics: Box<[IoApic]>,
    /// Some unit remaps interrupts: then an I/O APIC that none covers is not used.
    pub(crate) remapping: bool,
}

/// Pins of the whole machine that can be in use at one time.
pub(crate) const MAX_PINS: u16 = 256;

impl Interrupts {
    pub(crate) fn new(topology: &Topology, remapping: bool, lps: u16, capacity: u16) -> Self {
        let specials = topology.specials.iter();
        let io_apics = specials
            .filter(|it| it.kind == SpecialKind::IoApic)
            .map(|it| IoApic {
                id: it.number,
                unit: it.unit as u16,
                source: iommu::Source::Exact(it.requester),
            });
        Self {
            slots: Slots::new(capacity),
            vectors: Vectors::new(lps),
            pins: Index::new(MAX_PINS),
            io_apics: io_apics.collect(),
            remapping,
        }
    }

    /// Gives a vector back, whose meaning no entry and no cache holds any more.
    fn retire(&mut self, software: &SoftwareTable, id: u16, (lp, vector): (LpIndex, Vector)) {
        // A vector that was given back after a change of LP may have become another interrupt's meanwhile.
        let own = software.look_up(lp, vector);
        if own.is_some_and(|it| it.interrupt == InterruptId(u32::from(id))) {
            software.set(lp, vector, None);
        }
    }
}

/// Where no frame can be needed.
struct NoFrames;

impl FrameSource for NoFrames {
    fn take(&mut self) -> Option<Spa> {
        None
    }

    fn put(&mut self, _: Spa) {}
}

impl Target {
    fn delivery(&self, id: u16, level: bool) -> Delivery {
        Delivery {
            vp: self.vp,
            vector: self.vector,
            level,
            interrupt: InterruptId(u32::from(id)),
        }
    }
}

impl Source {
    const fn level(&self) -> bool {
        matches!(self, Self::Pin { level: true, .. })
    }

    pub(crate) const fn trigger(&self) -> Trigger {
        if self.level() {
            Trigger::Level
        } else {
            Trigger::Edge
        }
    }
}

impl<P: Platform> Devices<P> {
    /// Makes a device interrupt for `owner`, with both halves, and says what the device or I/O APIC is to be programmed with.
    ///
    /// The device must be in a domain of `owner`; a pin is the root's alone.
    ///
    /// # Errors
    /// [`Error::NoSuchDevice`], [`Error::NotOwner`], [`Error::WrongState`], [`Error::NoSuchPin`], [`Error::PinInUse`],
    /// [`Error::BadVector`], [`Error::NoSuchLp`], [`Error::UnreachableLp`], [`Error::Quota`], [`Error::OutOfInterrupts`],
    /// [`Error::OutOfVectors`], [`Error::UnitFailed`].
    pub fn map_interrupt(
        &mut self,
        owner: PartitionId,
        source: Source,
        target: Target,
        pool: &mut impl FrameSource,
    ) -> Result<InterruptEntry, Error> {
        let hardware = match source {
            Source::Message(device) => self.message_source(owner, device)?,
            Source::Pin { io_apic, pin, .. } => self.pin_source(owner, io_apic, pin)?,
        };
        self.check_target(&target, hardware.is_some())?;
        let id = self.interrupts.slots.next().ok_or(Error::OutOfInterrupts)?;
        let hardware = hardware.map(|it| self.choose_entry(it, id)).transpose()?;
        let vector = self.take_vector(target.lp)?;
        let interrupt = Interrupt {
            owner,
            source,
            target,
            vector,
            old: None,
            hardware,
            held: false,
            next: None,
        };
        let delivery = target.delivery(id, source.level());
        self.software.forget_arrivals(delivery.interrupt);
        self.software.set(target.lp, vector, Some(delivery));
        if let Err(error) = self.write_entry(&interrupt, pool) {
            self.software.set(target.lp, vector, None);
            // After a failure of the unit the entry may be live: name and vector stay taken (invariant 2).
            if !matches!(error, Error::UnitFailed { .. }) {
                self.interrupts.vectors.give_back(target.lp, vector);
            }
            return self.failed_by(error);
        }
        let wire = self.wire(&interrupt);
        self.interrupts.slots.insert(interrupt);
        self.link(id, source, owner);
        Ok(InterruptEntry {
            id: InterruptId(u32::from(id)),
            wire,
        })
    }

    /// Changes what an interrupt is raised on, without losing one that is under way. The wire of a message stays the same;
    /// that of a pin is to be programmed anew.
    ///
    /// # Errors
    /// [`Error::NoSuchInterrupt`], [`Error::NotOwner`], [`Error::BadVector`], [`Error::NoSuchLp`],
    /// [`Error::UnreachableLp`], [`Error::OutOfVectors`], [`Error::WrongState`] while the device is in no domain,
    /// [`Error::UnitFailed`].
    pub fn retarget_interrupt(
        &mut self,
        owner: PartitionId,
        id: InterruptId,
        target: Target,
    ) -> Result<InterruptEntry, Error> {
        let number = self.interrupt_number(owner, id)?;
        let Some(mut changed) = self.interrupts.slots.get(number).copied() else {
            return Err(Error::NoSuchInterrupt(id));
        };
        if let Source::Message(device) = changed.source {
            self.check_attached(owner, device)?;
        }
        self.check_target(&target, changed.hardware.is_some())?;
        let delivery = target.delivery(number, changed.source.level());
        let (lp, vector) = (changed.target.lp, changed.vector);
        let posting = self.posting(&changed);
        changed.target = target;
        if lp == target.lp {
            // The hardware half stays as it is, unless it knows the VP.
            if posting != self.posting(&changed) {
                let written = self.write_entry(&changed, &mut NoFrames);
                written.or_else(|error| self.failed_by(error))?;
            }
            self.software.set(lp, vector, Some(delivery));
        } else {
            changed.vector = self.take_vector(target.lp)?;
            self.move_entry(number, &mut changed, (lp, vector), delivery)?;
        }
        let wire = self.wire(&changed);
        if let Some(slot) = self.interrupts.slots.get_mut(number) {
            *slot = changed;
        }
        Ok(InterruptEntry { id, wire })
    }

    /// Moves the hardware half to another LP. The old vector goes on meaning this interrupt, for one that the old LP had
    /// accepted already, until it is handed out again.
    fn move_entry(
        &mut self,
        id: u16,
        changed: &mut Interrupt,
        from: (LpIndex, Vector),
        delivery: Delivery,
    ) -> Result<(), Error> {
        let to = (changed.target.lp, changed.vector);
        self.software.set(to.0, to.1, Some(delivery));
        // The source has what its entries need since the interrupt was made: no frame is asked for.
        if let Err(error) = self.write_entry(changed, &mut NoFrames) {
            self.software.set(to.0, to.1, None);
            if !matches!(error, Error::UnitFailed { .. }) {
                self.interrupts.vectors.give_back(to.0, to.1);
            }
            return self.failed_by(error);
        }
        if let Some(older) = changed.old.replace(from) {
            self.interrupts.retire(&self.software, id, older);
        }
        self.software.set(from.0, from.1, Some(delivery));
        self.interrupts.vectors.give_back(from.0, from.1);
        Ok(())
    }

    /// Removes an interrupt: the remapping entry first, then, once it is forgotten, the software half, the vector and the
    /// name. One that is under way becomes a stray.
    ///
    /// # Errors
    /// [`Error::NoSuchInterrupt`], [`Error::NotOwner`]; [`Error::UnitFailed`]: it is gone, its vector and name stay taken.
    pub fn unmap_interrupt(&mut self, owner: PartitionId, id: InterruptId) -> Result<(), Error> {
        let number = self.interrupt_number(owner, id)?;
        self.remove_interrupt(number)
    }

    /// Holds an interrupt back at its remapping entry, or lets it through again. Interrupts raised meanwhile are lost:
    /// raise one on its VP after letting it through (the budget for storms is the caller's). A retarget does not let it
    /// through, nor does a change of domain.
    ///
    /// # Errors
    /// [`Error::NoSuchInterrupt`]; [`Error::NoHardware`] where it is not remapped; [`Error::WrongState`] for letting
    /// through while the device is in no domain; [`Error::UnitFailed`].
    pub fn hold_interrupt(&mut self, id: InterruptId, hold: bool) -> Result<(), Error> {
        let number = id.0 as u16;
        let it = self.interrupts.slots.get_mut(number);
        let it = it.filter(|_| id.0 < 0x8000);
        let it = it.ok_or(Error::NoSuchInterrupt(id))?;
        let hardware = it.hardware.ok_or(Error::NoHardware)?;
        it.held = hold;
        let (owner, source) = (it.owner, it.source);
        if let Source::Message(device) = source
            && !hold
        {
            self.check_attached(owner, device)?;
        }
        self.mask(hardware, hold)
    }

    fn mask(&mut self, hardware: Hardware, masked: bool) -> Result<(), Error> {
        let Hardware {
            unit,
            source,
            index,
        } = hardware;
        let done = self.units.get(unit).and_then(|it| {
            it.mask_interrupt(index, source, masked)
                .map_err(|error| Error::from_unit(unit, error))
        });
        done.or_else(|error| self.failed_by(error))
    }

    /// Holds back, or lets through, all interrupts of a group that leaves or enters a domain.
    pub(crate) fn hold_interrupts(&mut self, group: usize, hold: bool) -> Result<(), Error> {
        for at in 0..self.member_count(group) {
            let device = self
                .member(group, at)
                .and_then(|at| self.devices.get(usize::from(at)));
            let mut next = device.and_then(|device| device.first_interrupt);
            while let Some(number) = next {
                let Some(it) = self.interrupts.slots.get(number) else {
                    break;
                };
                next = it.next;
                if let Some(hardware) = it.hardware.filter(|_| hold || !it.held) {
                    self.mask(hardware, hold)?;
                }
            }
        }
        Ok(())
    }

    /// Removes interrupts of a device, at most `left`.
    pub(crate) fn remove_interrupts(
        &mut self,
        device: u16,
        left: &mut usize,
    ) -> Result<Progress, Error> {
        loop {
            let it = self.devices.get(usize::from(device));
            let Some(first) = it.and_then(|it| it.first_interrupt) else {
                return Ok(Progress::Done);
            };
            if *left == 0 {
                return Ok(Progress::More);
            }
            *left -= 1;
            self.remove_interrupt(first)?;
        }
    }

    fn remove_interrupt(&mut self, number: u16) -> Result<(), Error> {
        let missing = Error::NoSuchInterrupt(InterruptId(u32::from(number)));
        let it = self.interrupts.slots.get(number).ok_or(missing)?;
        let cleared = match it.hardware {
            None => Ok(()),
            Some(hardware) => self.units.get(hardware.unit).and_then(|unit| {
                unit.clear_interrupt(hardware.index, hardware.source)
                    .map_err(|error| Error::from_unit(hardware.unit, error))
            }),
        };
        self.unlink(number);
        let it = self.interrupts.slots.take(number).ok_or(missing)?;
        let current = (it.target.lp, it.vector);
        self.software.set(current.0, current.1, None);
        if let Some(old) = it.old {
            self.interrupts.retire(&self.software, number, old);
        }
        if cleared.is_err() {
            self.keep_in_use(&it);
        }
        match cleared {
            Ok(()) => {
                self.interrupts.vectors.give_back(current.0, current.1);
                self.interrupts.slots.release(number);
                Ok(())
            }
            // A unit that had failed before has had its consequences drawn; its devices may go all the same.
            Err(Error::UnitFailed { unit }) if self.has_failed(unit) => Ok(()),
            Err(error) => self.failed_by(error),
        }
    }

    pub(crate) fn check_attached(&self, owner: PartitionId, device: DeviceId) -> Result<(), Error> {
        let it = self.device(device)?;
        match it.state {
            _ if it.owner != owner => Err(Error::NotOwner { owner: it.owner }),
            DeviceState::Attached(_) => Ok(()),
            state => Err(Error::WrongState { device, state }),
        }
    }

    fn check_target(&self, target: &Target, remapped: bool) -> Result<(), Error> {
        if target.vector.0 < 16 {
            return Err(Error::BadVector(target.vector));
        }
        if target.lp.0 >= self.software.lps() {
            return Err(Error::NoSuchLp(target.lp));
        }
        // Without remapping a destination has 8 bits, of which all ones is everybody.
        if !remapped && target.apic.0 >= 0xff {
            return Err(Error::UnreachableLp(target.apic));
        }
        Ok(())
    }

    fn take_vector(&mut self, lp: LpIndex) -> Result<Vector, Error> {
        let taken = self
            .interrupts
            .vectors
            .take(lp)
            .ok_or(Error::NoSuchLp(lp))?;
        taken.ok_or(Error::OutOfVectors(lp))
    }

    fn interrupt_number(&self, owner: PartitionId, id: InterruptId) -> Result<u16, Error> {
        let number = u16::try_from(id.0).map_err(|_| Error::NoSuchInterrupt(id))?;
        let it = self
            .interrupts
            .slots
            .get(number)
            .ok_or(Error::NoSuchInterrupt(id))?;
        if it.owner != owner {
            return Err(Error::NotOwner { owner: it.owner });
        }
        Ok(number)
    }
}
