//! Why a device may not be assigned, in sentences.

use address::DeviceId;

/// Why a function may not be given to a child partition. Its text answers `whynot DEVICE`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Reason {
    /// No DMAR.
    #[error("the machine has no IOMMU, or its firmware does not describe one")]
    NoIommu,
    /// DMAR malformed.
    #[error(
        "the firmware's table of IOMMUs is malformed, so nobody knows which device goes through which unit"
    )]
    MalformedTable,
    /// DMAR flags, or found out later by the machine from the units' registers.
    #[error("interrupts cannot be remapped on this machine, so a device could raise any interrupt")]
    NoInterruptRemapping,
    /// Found out later by the machine.
    #[error("the IOMMU unit of this device does not work or is not usable")]
    UnitFailed,
    /// Two units with one register block, or two that claim all of a segment.
    #[error("the firmware describes the IOMMU unit of this device twice")]
    UnitTwice,
    /// No unit names it.
    #[error("no IOMMU unit covers this device")]
    NotCovered,
    /// Two units name it.
    #[error("two IOMMU units claim this device")]
    CoveredTwice,
    /// Class 06_00h.
    #[error("it is a host bridge")]
    HostBridge,
    /// Class 08_06h.
    #[error("it is an IOMMU")]
    Iommu,
    /// Header type 1, or class 06h.
    #[error("it is a bridge; bridges stay with the hypervisor")]
    Bridge,
    /// Header type above 1.
    #[error("its configuration header is of a kind that is not known")]
    UnknownHeader,
    /// Firmware reserves memory for it.
    #[error("firmware reserves memory for its DMA (RMRR)")]
    ReservedMemory,
    /// Capability list loops, points into the header or ends nowhere.
    #[error("its list of capabilities is broken")]
    BrokenCapabilities,
    /// A BAR that is no power of two, wraps, or changes between reads.
    #[error("base address register {0} makes no sense or changes between reads")]
    BrokenBar(u8),
    /// MSI-X table or PBA outside its BAR.
    #[error("its MSI-X table does not lie inside one of its memory ranges")]
    BrokenMsiX,
    /// Configuration space stopped answering during the walk.
    #[error("its configuration space stopped answering or changed while it was read")]
    Unstable,
    /// More requester ids than are tracked.
    #[error("it is seen under too many requester ids")]
    TooManyAliases,
    /// A memory BAR shares a 4 KiB page with another group's.
    #[error("one of its memory ranges shares a page with {0}")]
    SharesPage(DeviceId),
    /// A member of its group may not be assigned.
    #[error("it cannot be isolated from {0}, which may not be assigned")]
    SharesGroup(DeviceId),
}

impl Reason {
    /// Whether the function itself is at fault, as opposed to what it is and where it stands.
    pub(crate) const fn is_fault(&self) -> bool {
        matches!(
            self,
            Self::BrokenCapabilities
                | Self::BrokenBar(_)
                | Self::BrokenMsiX
                | Self::Unstable
                | Self::UnknownHeader
        )
    }
}
