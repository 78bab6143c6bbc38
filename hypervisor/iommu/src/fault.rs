//! What a unit refused.

use address::RequesterId;

/// What the requester tried.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FaultKind {
    /// A read of memory at this IOVA (the page's first byte).
    Read(u64),
    /// A write to memory at this IOVA (the page's first byte).
    Write(u64),
    /// An atomic operation at this IOVA (the page's first byte).
    Atomic(u64),
    /// An interrupt through this entry, or (where the unit cannot tell) entry 0.
    Interrupt(u16),
    /// Something else that no device may ask, with the address that the unit gives (the page's first byte).
    Other(u64),
}

/// A refused request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Fault {
    /// Who asked, as far as the bus can tell.
    pub requester: RequesterId,
    /// What for.
    pub kind: FaultKind,
    /// The unit's own reason code, for the log.
    pub reason: u8,
}
