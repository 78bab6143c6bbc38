//! What can go wrong.

/// Something that a unit must offer to be used at all.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Feature {
    /// An invalidation queue with completion.
    InvalidationQueue,
    /// A table depth that domains can use.
    TableDepth,
}

/// Why a unit cannot be used. Its devices cannot be assigned.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ProbeError {
    /// The registers read as all ones or all zeroes: nobody is there.
    #[error("no unit answers at the register base")]
    Absent,
    /// A register block layout that cannot be right.
    #[error("the unit describes its registers wrongly")]
    Registers,
    /// The unit lacks something.
    #[error("the unit lacks {0:?}")]
    Lacks(Feature),
}

/// Why a verb of a unit failed. But for [`Error::UnitFailed`] nothing has changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// The unit did not answer in time, reported a broken queue, or reads as all ones. It stays failed: what its devices could
    /// reach must stay out of use.
    #[error("the IOMMU unit does not answer")]
    UnitFailed,
    /// The unit is not enabled yet, or is already.
    #[error("the IOMMU unit is in the wrong state")]
    State,
    /// No table for this bus: [`crate::Unit::add_bus`] was not called.
    #[error("the bus is not known to the IOMMU unit")]
    UnknownBus,
    /// The requester is attached already.
    #[error("the requester is not blocked")]
    NotBlocked,
    /// The domain name is zero or above what the unit can tag.
    #[error("the unit has no such domain name")]
    DomainName,
    /// The domain's table does not suit the unit's geometry.
    #[error("the domain table does not suit the unit")]
    Geometry,
    /// The unit remaps no interrupts (or not to every processor).
    #[error("the unit remaps no interrupts")]
    NoInterrupts,
    /// The interrupt index is outside the table, or its entry is unused.
    #[error("no such interrupt entry")]
    Index,
    /// The vector is below 32, or the bus range is empty.
    #[error("the interrupt's source or target is not allowed")]
    Target,
    /// The pool has no frame for a table.
    #[error("no frame for a table")]
    OutOfFrames,
}
