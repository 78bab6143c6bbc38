//! A remapping unit.

use address::{PageSize, RequesterId, Spa, Vector};
use paging::{FlushRange, FrameSource};

use crate::amdvi::Amdvi;
use crate::vtd::Vtd;
use crate::{
    DomainTable, Error, Fault, Geometry, Hardware, Message, Polarity, Posting, ProbeError,
    Registers, Source, Target, Trigger,
};
use address::ApicId;

/// Which language a unit speaks; the firmware table that names it tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Dialect {
    /// Requesters are looked up from a root table, bus by bus.
    RootTable,
    /// Requesters are looked up in one flat device table.
    DeviceTable,
}

impl Dialect {
    /// The vendor's name of it, for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RootTable => "VT-d",
            Self::DeviceTable => "AMD-Vi",
        }
    }
}

/// What firmware says about a unit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Description {
    /// Which language it speaks.
    pub dialect: Dialect,
    /// Width of physical addresses of the platform, in bits.
    pub host_bits: u8,
    /// The unit may cache what is *not* mapped, as told by its function in configuration space. Dialects whose registers tell
    /// it themselves ignore this.
    pub caches_absent: bool,
}

/// Memory that a unit keeps for ever, for its largest table: physically contiguous, a power of two of frames, aligned to its
/// size.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UnitMemory {
    /// First byte.
    pub base: Spa,
    /// 4 KiB frames: 1, 2, 4 … 512; as many as [`Unit::memory_frames`] says.
    pub frames: u16,
}

impl UnitMemory {
    /// Whether it is as it must be.
    pub(crate) fn is_sound(self) -> bool {
        let bytes = u64::from(self.frames) * PageSize::Size4K.bytes();
        self.frames.is_power_of_two()
            && self.frames <= 512
            && self.base.as_u64() & (bytes - 1) == 0
            && self.base.as_u64() < 1 << 51
    }
}

/// Takes a unit's own frames, or none.
pub(crate) fn take<const N: usize, P: FrameSource>(pool: &mut P) -> Result<[Spa; N], Error> {
    let mut frames = [Spa::new(0); N];
    for taken in 0..N {
        let Some(frame) = pool.take() else {
            for &frame in frames.iter().take(taken) {
                pool.put(frame);
            }
            return Err(Error::OutOfFrames);
        };
        if let Some(slot) = frames.get_mut(taken) {
            *slot = frame;
        }
    }
    Ok(frames)
}

/// Name of a domain in a unit's caches, 1 to [`Unit::domain_names`]. A name is reused only after [`Unit::flush_domain`] with
/// [`FlushRange::All`] on every unit that saw it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(transparent)]
pub struct DomainName(pub u16);

/// One remapping unit, for one PCI segment.
#[derive(Debug)]
pub struct Unit<H>(Arm<H>);

#[derive(Debug)]
enum Arm<H> {
    Vtd(Vtd<H>),
    Amdvi(Amdvi<H>),
}

/// Bytes of register space that a unit uses, from its base: at least 4096, at most 20,480. The first 4096 must be readable to
/// ask.
///
/// # Errors
/// As [`Unit::probe`].
pub fn register_bytes<R: Registers>(dialect: Dialect, registers: &R) -> Result<usize, ProbeError> {
    match dialect {
        Dialect::RootTable => crate::vtd::register_bytes(registers),
        Dialect::DeviceTable => crate::amdvi::register_bytes(registers),
    }
}

impl<H: Hardware> Unit<H> {
    /// Looks at a unit without changing it.
    ///
    /// # Errors
    /// Where nobody answers or the unit lacks what is needed.
    pub fn probe(description: Description, hardware: H) -> Result<Self, ProbeError> {
        match description.dialect {
            Dialect::RootTable => Vtd::probe(description.host_bits, hardware)
                .map(Arm::Vtd)
                .map(Self),
            Dialect::DeviceTable => {
                Amdvi::probe(description.host_bits, description.caches_absent, hardware)
                    .map(Arm::Amdvi)
                    .map(Self)
            }
        }
    }

    /// Takes the unit over from firmware, whatever state it is in, and turns translation, and interrupt remapping where the unit
    /// can, on with everything blocked. `memory` becomes the unit's own for ever; three further frames are taken. Bus mastering
    /// is off everywhere meanwhile.
    ///
    /// # Errors
    /// [`Error::OutOfFrames`], [`Error::State`] on a second call, [`Error::Target`] where the memory is not as
    /// [`UnitMemory`] says, [`Error::UnitFailed`].
    pub fn enable<P: FrameSource>(
        &mut self,
        pool: &mut P,
        memory: UnitMemory,
    ) -> Result<(), Error> {
        match &mut self.0 {
            Arm::Vtd(unit) => unit.enable(pool, memory),
            Arm::Amdvi(unit) => unit.enable(pool, memory),
        }
    }

    /// Makes a bus known, so that its requesters can be attached and their faults suppressed. Takes one frame at most, and
    /// none for a bus that is known.
    ///
    /// # Errors
    /// [`Error::OutOfFrames`], [`Error::State`], [`Error::UnitFailed`].
    pub fn add_bus<P: FrameSource>(&mut self, bus: u8, pool: &mut P) -> Result<(), Error> {
        match &mut self.0 {
            Arm::Vtd(unit) => unit.add_bus(bus, pool),
            Arm::Amdvi(unit) => unit.knows_bus(),
        }
    }

    /// Lets a blocked requester translate through a domain's table from now on. All requesters with the same name must have
    /// the same table.
    ///
    /// # Errors
    /// [`Error::NotBlocked`], [`Error::UnknownBus`], [`Error::DomainName`], [`Error::Geometry`], [`Error::State`],
    /// [`Error::UnitFailed`].
    pub fn attach(
        &mut self,
        requester: RequesterId,
        name: DomainName,
        table: &DomainTable,
    ) -> Result<(), Error> {
        match &mut self.0 {
            Arm::Vtd(unit) => unit.attach(requester, name, table),
            Arm::Amdvi(unit) => unit.attach(requester, name, table),
        }
    }

    /// Blocks a requester. On return no request of it is under way through its old domain, and the unit has forgotten all that
    /// it cached for it. Blocking a blocked requester is allowed and flushes as well.
    ///
    /// # Errors
    /// [`Error::UnknownBus`], [`Error::State`], [`Error::UnitFailed`].
    pub fn block(&mut self, requester: RequesterId) -> Result<(), Error> {
        match &mut self.0 {
            Arm::Vtd(unit) => unit.block(requester),
            Arm::Amdvi(unit) => unit.block(requester),
        }
    }

    /// Makes the unit forget translations of a domain and waits until requests under way are through.
    ///
    /// # Errors
    /// [`Error::DomainName`], [`Error::State`], [`Error::UnitFailed`].
    pub fn flush_domain(&mut self, name: DomainName, range: FlushRange) -> Result<(), Error> {
        match &mut self.0 {
            Arm::Vtd(unit) => unit.flush_domain(name, range),
            Arm::Amdvi(unit) => unit.flush_domain(name, range),
        }
    }

    /// The index that a new interrupt of `source` gets: `preferred` where all interrupts of a unit share one numbering, the first
    /// free one where each source has its own; `None` where the source has all that it can have.
    #[must_use]
    pub fn choose_interrupt(&self, source: Source, preferred: u16) -> Option<u16> {
        match &self.0 {
            Arm::Vtd(_) => Some(preferred),
            Arm::Amdvi(unit) => unit.choose_interrupt(source),
        }
    }

    /// Writes an interrupt entry: `source`, and nobody else, may raise `target` through `index`. An entry that is in use with
    /// the same source changes its target without losing an interrupt; one that is masked stays so. Takes one frame at most, where the source's first
    /// interrupt needs a table; [`Self::release_interrupts`] gives it back.
    ///
    /// # Errors
    /// [`Error::NoInterrupts`], [`Error::Index`], [`Error::Target`], [`Error::OutOfFrames`], [`Error::State`],
    /// [`Error::UnitFailed`].
    pub fn set_interrupt<P: FrameSource>(
        &mut self,
        index: u16,
        source: Source,
        target: Target,
        pool: &mut P,
    ) -> Result<(), Error> {
        match &mut self.0 {
            Arm::Vtd(unit) => unit.set_interrupt(index, source, target),
            Arm::Amdvi(unit) => unit.set_interrupt(index, source, target, pool),
        }
    }

    /// As [`Self::set_interrupt`], into memory: an entry may change from one to the other, and none is lost.
    ///
    /// # Errors
    /// As [`Self::set_interrupt`]; [`Error::Target`] also where the unit does not post ([`Self::posts_interrupts`]).
    pub fn post_interrupt(&mut self, index: u16, source: Source, to: Posting) -> Result<(), Error> {
        match &mut self.0 {
            Arm::Vtd(unit) => unit.post_interrupt(index, source, to),
            Arm::Amdvi(_) => Err(Error::Target),
        }
    }

    /// Clears an interrupt entry of `source`; on return the unit has forgotten it.
    ///
    /// # Errors
    /// As [`Self::set_interrupt`].
    pub fn clear_interrupt(&mut self, index: u16, source: Source) -> Result<(), Error> {
        match &mut self.0 {
            Arm::Vtd(unit) => unit.clear_interrupt(index),
            Arm::Amdvi(unit) => unit.clear_interrupt(index, source),
        }
    }

    /// Holds an entry of `source` that is in use back, or lets it through again. Interrupts raised meanwhile are lost, silently.
    ///
    /// # Errors
    /// As [`Self::set_interrupt`]; [`Error::Index`] where the entry was never set.
    pub fn mask_interrupt(
        &mut self,
        index: u16,
        source: Source,
        masked: bool,
    ) -> Result<(), Error> {
        match &mut self.0 {
            Arm::Vtd(unit) => unit.mask_interrupt(index, masked),
            Arm::Amdvi(unit) => unit.mask_interrupt(index, source, masked),
        }
    }

    /// Takes beforehand what the first interrupt of a source needs: one frame at most.
    ///
    /// # Errors
    /// [`Error::OutOfFrames`], [`Error::State`], [`Error::UnitFailed`].
    pub fn prepare_interrupts<P: FrameSource>(
        &mut self,
        source: Source,
        pool: &mut P,
    ) -> Result<(), Error> {
        match &mut self.0 {
            Arm::Vtd(_) => Ok(()),
            Arm::Amdvi(unit) => unit.prepare_interrupts(source, pool),
        }
    }

    /// Gives back what [`Self::set_interrupt`] took for a source that has no interrupts any more; nothing where it has some.
    ///
    /// # Errors
    /// [`Error::State`], [`Error::UnitFailed`].
    pub fn release_interrupts<P: FrameSource>(
        &mut self,
        source: Source,
        pool: &mut P,
    ) -> Result<(), Error> {
        match &mut self.0 {
            Arm::Vtd(_) => Ok(()),
            Arm::Amdvi(unit) => unit.release_interrupts(source, pool),
        }
    }

    /// What a device must write to raise interrupt `index`.
    #[must_use]
    pub fn message(&self, index: u16) -> Message {
        match &self.0 {
            Arm::Vtd(_) => Vtd::<H>::message(index),
            Arm::Amdvi(_) => Amdvi::<H>::message(index),
        }
    }

    /// The redirection entry, unmasked (mask is bit 16), of an I/O APIC pin that raises interrupt `index`. Vector and trigger
    /// must be those of the entry's [`Target`]: the I/O APIC matches level interrupts' ends by them.
    #[must_use]
    pub fn pin_entry(
        &self,
        index: u16,
        vector: Vector,
        trigger: Trigger,
        polarity: Polarity,
    ) -> u64 {
        match &self.0 {
            Arm::Vtd(_) => Vtd::<H>::pin_entry(index, vector, trigger, polarity),
            Arm::Amdvi(_) => Amdvi::<H>::pin_entry(index, vector, trigger, polarity),
        }
    }

    /// Stops recording the memory faults of a requester until it is attached or blocked anew. For a blocked one
    /// [`Self::take_fault`] does it by itself.
    ///
    /// # Errors
    /// [`Error::State`], [`Error::UnitFailed`].
    pub fn silence(&mut self, requester: RequesterId) -> Result<(), Error> {
        match &mut self.0 {
            Arm::Vtd(unit) => unit.silence(requester),
            Arm::Amdvi(unit) => unit.silence(requester),
        }
    }

    /// Takes the oldest recorded fault. A blocked requester whose fault is taken is suppressed from then on, until it is attached
    /// again. Poll also without an interrupt: one may get lost.
    ///
    /// # Errors
    /// [`Error::State`], [`Error::UnitFailed`]: also where the unit reports that it broke by itself.
    pub fn take_fault(&mut self) -> Result<Option<Fault>, Error> {
        match &mut self.0 {
            Arm::Vtd(unit) => unit.take_fault(),
            Arm::Amdvi(unit) => unit.take_fault(),
        }
    }

    /// Faults were lost this many times because the unit had no room to record them.
    #[must_use]
    pub fn fault_overflows(&self) -> u64 {
        match &self.0 {
            Arm::Vtd(unit) => unit.fault_overflows(),
            Arm::Amdvi(unit) => unit.fault_overflows(),
        }
    }

    /// Makes the unit raise `vector` at `apic` when it records a fault.
    ///
    /// # Errors
    /// [`Error::Target`], [`Error::State`], [`Error::UnitFailed`].
    pub fn set_fault_interrupt(&mut self, apic: ApicId, vector: Vector) -> Result<(), Error> {
        match &mut self.0 {
            Arm::Vtd(unit) => unit.set_fault_interrupt(apic, vector),
            Arm::Amdvi(unit) => unit.set_fault_interrupt(apic, vector),
        }
    }

    /// What tables the unit can walk.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        match &self.0 {
            Arm::Vtd(unit) => unit.geometry(),
            Arm::Amdvi(unit) => unit.geometry(),
        }
    }

    /// Which language it speaks.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        match &self.0 {
            Arm::Vtd(_) => Dialect::RootTable,
            Arm::Amdvi(_) => Dialect::DeviceTable,
        }
    }

    /// The highest domain name.
    #[must_use]
    pub fn domain_names(&self) -> u16 {
        match &self.0 {
            Arm::Vtd(unit) => unit.domain_names(),
            Arm::Amdvi(_) => Amdvi::<H>::domain_names(),
        }
    }

    /// Whether interrupts are, or will be once enabled, remapped to every processor. Without it nothing may be assigned.
    #[must_use]
    pub fn remaps_interrupts(&self) -> bool {
        match &self.0 {
            Arm::Vtd(unit) => unit.remaps_interrupts(),
            Arm::Amdvi(unit) => unit.remaps_interrupts(),
        }
    }

    /// Whether, once enabled, an interrupt passes this unit only by an entry, even where not every processor can be reached.
    #[must_use]
    pub fn guards_interrupts(&self) -> bool {
        match &self.0 {
            Arm::Vtd(unit) => unit.remaps_interrupts(),
            Arm::Amdvi(_) => true,
        }
    }

    /// Whether the unit can leave interrupts in memory for guests that take them from there.
    #[must_use]
    pub fn posts_interrupts(&self) -> bool {
        match &self.0 {
            Arm::Vtd(unit) => unit.posts_interrupts(),
            // Interrupt entries in guest mode are not used.
            Arm::Amdvi(_) => false,
        }
    }

    /// Interrupts that the unit can have at one time, where they share one numbering; `None` where each source has its own.
    /// Some(0) before [`Self::enable`] or where the unit remaps none.
    #[must_use]
    pub fn interrupt_entries(&self) -> Option<u32> {
        match &self.0 {
            Arm::Vtd(unit) => Some(unit.interrupt_entries()),
            Arm::Amdvi(_) => None,
        }
    }

    /// Contiguous frames that [`Self::enable`] wants.
    #[must_use]
    pub const fn memory_frames(&self) -> u16 {
        match &self.0 {
            Arm::Vtd(_) => crate::vtd::MEMORY_FRAMES,
            Arm::Amdvi(_) => crate::amdvi::MEMORY_FRAMES,
        }
    }

    /// Whether the unit was declared failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        match &self.0 {
            Arm::Vtd(unit) => unit.has_failed(),
            Arm::Amdvi(unit) => unit.has_failed(),
        }
    }

    /// The hardware that was given to [`Self::probe`].
    #[must_use]
    pub const fn hardware(&self) -> &H {
        match &self.0 {
            Arm::Vtd(unit) => unit.hardware(),
            Arm::Amdvi(unit) => unit.hardware(),
        }
    }
}
