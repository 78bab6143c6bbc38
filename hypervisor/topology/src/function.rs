//! What is known of one function: a snapshot taken once at boot, plain data.

use address::{DeviceId, RequesterId, Spa};
use arrayvec::ArrayVec;

use crate::Reason;

/// Most requester ids by which one function may be seen, its own included.
pub const MAX_ALIASES: usize = 8;

/// One PCI function.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Function {
    /// Its name.
    pub id: DeviceId,
    /// Vendor id.
    pub vendor: u16,
    /// Device id.
    pub device: u16,
    /// Base class, subclass and programming interface: bits 23:16, 15:8, 7:0.
    pub class: u32,
    /// Revision id.
    pub revision: u8,
    /// Header type.
    pub header: Header,
    /// Index of the bridge above; `None` on a root bus.
    pub parent: Option<usize>,
    /// Base address registers by the index of their (first) register. Updated by [`crate::Topology::note_bar`].
    pub bars: [Option<Bar>; 6],
    /// MSI capability.
    pub msi: Option<Msi>,
    /// MSI-X capability, its table and PBA inside their BARs.
    pub msix: Option<MsiX>,
    /// PCI Express capability.
    pub pcie: Option<Pcie>,
    /// Offset of the power-management capability.
    pub power: Option<u16>,
    /// Offset of the advanced-features capability of conventional PCI.
    pub advanced_features: Option<u16>,
    /// Whether function-level reset exists, by the PCI Express or the advanced-features capability.
    pub flr: bool,
    /// Access control services.
    pub acs: Option<Acs>,
    /// Offset of the ATS extended capability.
    pub ats: Option<u16>,
    /// Offset of the page-request extended capability.
    pub pri: Option<u16>,
    /// Offset of the PASID extended capability.
    pub pasid: Option<u16>,
    /// SR-IOV extended capability.
    pub sriov: Option<SrIov>,
    /// Where its interrupt pin leads.
    pub intx: Option<Intx>,
    /// Requester ids under which its requests reach the IOMMU, its own first.
    pub aliases: ArrayVec<RequesterRange, MAX_ALIASES>,
    /// What an interrupt remapping entry for it must admit: its own id, or the bus range of the bridge that speaks for it.
    pub interrupt_source: RequesterRange,
    /// Index in [`crate::Topology::groups`].
    pub group: usize,
    /// Index in [`crate::Topology::units`] of the IOMMU unit that it goes through.
    pub unit: Option<usize>,
    /// Whether firmware reserves memory for it (RMRR).
    pub rmrr: bool,
    /// Whether firmware left its bus mastering on. It is off since the walk.
    pub mastering: bool,
    /// Why it may not be assigned; `None`: it may.
    pub unassignable: Option<Reason>,
}

impl Function {
    /// Base class: class code bits 23:16.
    #[must_use]
    pub const fn base_class(&self) -> u8 {
        (self.class >> 16) as u8
    }

    /// Whether it is a bridge to another PCI bus.
    #[must_use]
    pub const fn is_bridge(&self) -> bool {
        matches!(self.header, Header::Bridge(_))
    }

    /// Whether it is an IOMMU (class 08_06h).
    #[must_use]
    pub const fn is_iommu(&self) -> bool {
        self.class >> 8 == 0x0806
    }

    /// Whether it is a host bridge (class 06_00h).
    #[must_use]
    pub const fn is_host_bridge(&self) -> bool {
        self.class >> 8 == 0x0600
    }
}

/// Header type (PCI Express Base Specification 6.0, section 7.5.1.1.9).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Header {
    /// Type 0.
    Device,
    /// Type 1.
    Bridge(Bridge),
    /// Anything else. Nothing of it is read.
    Other(u8),
}

/// Bus numbers of a bridge.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bridge {
    /// Bus right below.
    pub secondary: u8,
    /// Last bus below.
    pub subordinate: u8,
    /// Whether the numbers are sane and the walk went below it.
    pub walked: bool,
}

/// What a BAR decodes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BarKind {
    /// Ports.
    Io,
    /// Memory.
    Memory {
        /// Takes two registers.
        wide: bool,
        /// May be prefetched.
        prefetchable: bool,
    },
}

/// One base address register, sized at boot.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bar {
    /// First byte or port, as a bus address (equal to the physical address on x86). 0: firmware gave it none.
    pub address: u64,
    /// Bytes or ports; a power of two.
    pub size: u64,
    /// What it decodes.
    pub kind: BarKind,
}

impl Bar {
    /// First byte past the BAR; `None` past 2^64.
    #[must_use]
    pub const fn end(&self) -> Option<u64> {
        self.address.checked_add(self.size)
    }

    /// Whether it decodes memory.
    #[must_use]
    pub const fn is_memory(&self) -> bool {
        matches!(self.kind, BarKind::Memory { .. })
    }

    /// Physical address of a memory BAR; `None` for ports or where firmware placed nothing.
    #[must_use]
    pub const fn memory(&self) -> Option<Spa> {
        if self.is_memory() && self.address != 0 {
            Some(Spa::new(self.address))
        } else {
            None
        }
    }
}

/// MSI capability (PCI Express Base Specification 6.0, section 7.7.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Msi {
    /// Offset of the capability.
    pub offset: u16,
    /// Has the upper address register.
    pub wide: bool,
    /// Has mask and pending registers.
    pub maskable: bool,
    /// Messages that it can tell apart: 1 to 32.
    pub messages: u8,
}

impl Msi {
    /// Offset of the message data register.
    #[must_use]
    pub const fn data(&self) -> u16 {
        self.offset + if self.wide { 12 } else { 8 }
    }

    /// Offset of the mask register.
    #[must_use]
    pub const fn mask(&self) -> Option<u16> {
        match (self.maskable, self.wide) {
            (false, _) => None,
            (true, false) => Some(self.offset + 12),
            (true, true) => Some(self.offset + 16),
        }
    }

    /// Bytes that the capability takes.
    #[must_use]
    pub const fn length(&self) -> u16 {
        10 + if self.wide { 4 } else { 0 } + if self.maskable { 10 } else { 0 }
    }
}

/// MSI-X capability (PCI Express Base Specification 6.0, section 7.7.2), checked against the BARs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MsiX {
    /// Offset of the capability.
    pub offset: u16,
    /// Table entries: 1 to 2048.
    pub vectors: u16,
    /// BAR that holds the table.
    pub table_bar: u8,
    /// Offset of the table in that BAR, in bytes.
    pub table_offset: u32,
    /// BAR that holds the pending bits.
    pub pba_bar: u8,
    /// Offset of the pending bits in that BAR, in bytes.
    pub pba_offset: u32,
}

impl MsiX {
    /// Bytes in the table.
    #[must_use]
    pub const fn table_bytes(&self) -> u64 {
        self.vectors as u64 * 16
    }

    /// Bytes in the pending-bit array.
    #[must_use]
    pub const fn pba_bytes(&self) -> u64 {
        (self.vectors as u64).div_ceil(64) * 8
    }
}

/// Device and port types (PCI Express Base Specification 6.0, section 7.5.3.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PortType {
    /// Types 0 and 1.
    Endpoint,
    /// Type 4.
    RootPort,
    /// Type 5.
    UpstreamPort,
    /// Type 6.
    DownstreamPort,
    /// Type 7: PCI Express above, conventional PCI below.
    PcieToPci,
    /// Type 8: conventional PCI above, PCI Express below.
    PciToPcie,
    /// Type 9.
    RootComplexEndpoint,
    /// Type 10.
    EventCollector,
    /// A number without meaning.
    Other(u8),
}

/// PCI Express capability.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pcie {
    /// Offset of the capability.
    pub offset: u16,
    /// What the function is.
    pub port: PortType,
    /// Device Capabilities bit 28.
    pub flr: bool,
}

/// Access control services (PCI Express Base Specification 6.0, section 7.7.11).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Acs {
    /// Offset of the extended capability.
    pub offset: u16,
    /// ACS Capability register.
    pub capable: u16,
    /// ACS Control register as read back after the walk has enabled what isolation needs.
    pub enabled: u16,
}

/// SR-IOV (PCI Express Base Specification 6.0, section 9.3.3). Virtual functions are disabled by the walk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SrIov {
    /// Offset of the extended capability.
    pub offset: u16,
    /// TotalVFs.
    pub total: u16,
    /// First VF Offset.
    pub first_offset: u16,
    /// VF Stride.
    pub stride: u16,
    /// VF Device ID.
    pub device: u16,
}

/// An interrupt pin, followed up to its root bus.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Intx {
    /// Device number on the root bus through which the line leaves.
    pub root_device: u8,
    /// Root bus.
    pub root_bus: u8,
    /// Pin there, 0 (INTA) to 3.
    pub pin: u8,
    /// Whether another function's line ends at the same place. Lines may be shared further on too: no register says it.
    pub shared: bool,
}

/// Requester ids from one to another, both included, in the function's segment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RequesterRange {
    /// First.
    pub first: RequesterId,
    /// Last; not below `first`.
    pub last: RequesterId,
}

impl RequesterRange {
    /// One id alone.
    #[must_use]
    pub const fn single(id: RequesterId) -> Self {
        Self {
            first: id,
            last: id,
        }
    }

    /// Every id on these buses.
    #[must_use]
    pub const fn buses(first: u8, last: u8) -> Self {
        Self {
            first: RequesterId((first as u16) << 8),
            last: RequesterId((last as u16) << 8 | 0xff),
        }
    }

    /// Whether an id is in the range.
    #[must_use]
    pub const fn contains(&self, id: RequesterId) -> bool {
        self.first.0 <= id.0 && id.0 <= self.last.0
    }

    /// Whether the range is one id.
    #[must_use]
    pub const fn is_single(&self) -> bool {
        self.first.0 == self.last.0
    }
}
