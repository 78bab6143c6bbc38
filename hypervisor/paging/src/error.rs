//! Why an operation on a table stopped.

/// Why a table could not be made.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NewError {
    /// The shape is not one that the format has.
    #[error("the format has no table of this shape")]
    Shape,
    /// The pool is empty.
    #[error("no frame for the root table")]
    OutOfFrames,
}

/// Why a mapping stopped. The pages counted beside it are mapped, all others are as before.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MapError {
    /// The input address is not the first byte of a page of the size asked for.
    #[error("the input address is not aligned")]
    Misaligned,
    /// The input range leaves the addresses that the table translates.
    #[error("the input range leaves the table's address width")]
    OutOfRange,
    /// The target is not aligned, or lies past the physical address width.
    #[error("the target is misaligned or past the physical address width")]
    Target,
    /// Something is mapped there.
    #[error("something is mapped there already")]
    AlreadyMapped,
    /// The format cannot express these rights; no format can express none.
    #[error("the format cannot express these rights")]
    Rights,
    /// The pool has no frame for a table.
    #[error("no frame for a table")]
    OutOfFrames,
}

/// Why an unmapping stopped. The pages that the token counts are unmapped, all others translate as before.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UnmapError {
    /// The input address is not the first byte of a page.
    #[error("the input address is not aligned")]
    Misaligned,
    /// The input range leaves the addresses that the table translates.
    #[error("the input range leaves the table's address width")]
    OutOfRange,
    /// A large page would have to be split, and the pool has no frame for that.
    #[error("no frame to split a large page")]
    OutOfFrames,
}
