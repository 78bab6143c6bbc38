//! What can go wrong with a domain, a device interrupt or an ownership call, with the facts.

use address::{ApicId, DeviceId, Iova, LpIndex, PartitionId, Vector};
use paging::{MapError, NewError, UnmapError};

use crate::{DeviceState, DomainName, InterruptId, Reason};

/// Why a call did not do what it was asked. Unless a call reports a count beside it, nothing has changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// The boot walk did not find this function.
    #[error("there is no device {0}")]
    NoSuchDevice(DeviceId),
    /// The partition has no domain of this name.
    #[error("there is no domain {0:?}")]
    NoSuchDomain(DomainName),
    /// No device interrupt has this name.
    #[error("there is no device interrupt {0:?}")]
    NoSuchInterrupt(InterruptId),
    /// No I/O APIC has this id, or it has no such pin.
    #[error("there is no pin {pin} at I/O APIC {io_apic}")]
    NoSuchPin {
        /// Id of the I/O APIC in the firmware's table.
        io_apic: u8,
        /// Number of its input, counted from 0.
        pin: u8,
    },
    /// The pin raises a device interrupt already.
    #[error("the pin raises {0:?} already")]
    PinInUse(InterruptId),
    /// The machine cannot start interrupts on this LP: it was not named when the tables were made.
    #[error("there is no {0:?}")]
    NoSuchLp(LpIndex),
    /// The partition has a domain of this name already.
    #[error("domain {0:?} exists")]
    DomainExists(DomainName),
    /// Devices are in the domain.
    #[error("{devices} devices are in domain {name:?}")]
    DomainInUse {
        /// The domain.
        name: DomainName,
        /// Number of devices in it.
        devices: u32,
    },
    /// The partition owns devices, so its domains cannot go.
    #[error("{partition:?} owns device {device}")]
    OwnsDevices {
        /// The partition.
        partition: PartitionId,
        /// One of its devices.
        device: DeviceId,
    },
    /// The caller's partition does not own the device, domain, interrupt or pin.
    #[error("it belongs to {owner:?}")]
    NotOwner {
        /// Who does; [`PartitionId::ROOT`] where nobody was given it.
        owner: PartitionId,
    },
    /// The device may not be given to a partition.
    #[error("device {0} is not assignable: {1}")]
    NotAssignable(DeviceId, Reason),
    /// The device, or another one that must move with it, is not in a state that allows the call.
    #[error("device {device} is in state {state:?}")]
    WrongState {
        /// Which one.
        device: DeviceId,
        /// Its state.
        state: DeviceState,
    },
    /// The device is in a domain already.
    #[error("device {device} is in domain {domain:?}")]
    AlreadyInDomain {
        /// Which one.
        device: DeviceId,
        /// The domain that it is in.
        domain: DomainName,
    },
    /// The frame source has run dry.
    #[error("no frame left for a table")]
    InsufficientMemory,
    /// The first page is not aligned, or the pages touch the interrupt window or leave what the domain can translate.
    #[error("pages from {0} on are not all in the domain's range")]
    BadRange(Iova),
    /// A frame is not aligned, lies in the interrupt window or past the physical address width.
    #[error("what is to be mapped at {0} is no RAM")]
    BadFrame(Iova),
    /// Rights that a device cannot have.
    #[error("a device cannot have these rights")]
    BadRights,
    /// Something is mapped there.
    #[error("{0} is mapped")]
    AlreadyMapped(Iova),
    /// Nothing is mapped there.
    #[error("{0} is not mapped")]
    NotMapped(Iova),
    /// The machine has no remapping hardware that works, so there are no domains.
    #[error("there is no I/O remapping hardware")]
    NoHardware,
    /// All domains that the hardware can tell apart are in use.
    #[error("no domain left")]
    OutOfDomains,
    /// All device interrupts of the machine are in use.
    #[error("no device interrupt left")]
    OutOfInterrupts,
    /// All vectors of the LP are in use.
    #[error("no vector left on {0:?}")]
    OutOfVectors(LpIndex),
    /// The partition has as many of these as it may have.
    #[error("the quota of {0} is reached")]
    Quota(u32),
    /// Vectors 0 to 15 cannot be delivered by a local APIC.
    #[error("vector {0:?} cannot be delivered")]
    BadVector(Vector),
    /// The hardware cannot send an interrupt to this local APIC.
    #[error("interrupts cannot reach {0:?}")]
    UnreachableLp(ApicId),
    /// The remapping hardware refused; the reason should have been seen before.
    #[error("the remapping hardware refused: {0}")]
    Refused(iommu::Error),
    /// The unit does not answer any more: everything that depends on it stays as it was and quarantined.
    #[error("remapping unit {unit} has failed")]
    UnitFailed {
        /// Index of the unit, in the order of the firmware's table.
        unit: u16,
    },
}

/// The unit did not confirm a flush: what the flush was owed for stays quarantined (invariant 9).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("remapping unit {unit} has failed")]
pub struct UnitFailed {
    /// Index of the unit, in the order of the firmware's table.
    pub unit: u16,
}

impl From<UnitFailed> for Error {
    fn from(failed: UnitFailed) -> Self {
        Self::UnitFailed { unit: failed.unit }
    }
}

impl Error {
    /// What a unit's refusal means to a caller.
    pub(crate) fn from_unit(unit: u16, error: iommu::Error) -> Self {
        match error {
            iommu::Error::UnitFailed => Self::UnitFailed { unit },
            iommu::Error::OutOfFrames => Self::InsufficientMemory,
            other => Self::Refused(other),
        }
    }

    /// What a table's refusal to map at `at` means.
    pub(crate) fn from_map(at: Iova, error: MapError) -> Self {
        match error {
            MapError::Misaligned | MapError::OutOfRange => Self::BadRange(at),
            MapError::Target => Self::BadFrame(at),
            MapError::AlreadyMapped => Self::AlreadyMapped(at),
            MapError::Rights => Self::BadRights,
            MapError::OutOfFrames => Self::InsufficientMemory,
        }
    }

    /// What a table's refusal to unmap at `at` means.
    pub(crate) fn from_unmap(at: Iova, error: UnmapError) -> Self {
        match error {
            UnmapError::Misaligned | UnmapError::OutOfRange => Self::BadRange(at),
            UnmapError::OutOfFrames => Self::InsufficientMemory,
        }
    }
}

impl From<NewError> for Error {
    fn from(error: NewError) -> Self {
        match error {
            NewError::Shape => Self::NoHardware,
            NewError::OutOfFrames => Self::InsufficientMemory,
        }
    }
}
