//! The result of the walk.

use alloc::vec::Vec;

use address::{DeviceId, RequesterId, Spa};

use crate::{Function, Reason};

/// Everything found. Indexes into the lists are stable for the life of the machine.
#[derive(Clone, Debug, Default)]
pub struct Topology {
    /// Functions, a bridge always before what stands below it.
    pub functions: Vec<Function>,
    /// Sets of functions that only move together.
    pub groups: Vec<Group>,
    /// IOMMU units in the firmware's order.
    pub units: Vec<Unit>,
    /// IOAPICs and HPETs, which raise interrupts under a requester id of their own.
    pub specials: Vec<SpecialDevice>,
    /// Reserved memory regions.
    pub reserved: Vec<ReservedRange>,
    /// What was wrong, for the log.
    pub problems: Vec<Problem>,
}

/// Functions that can reach each other below the IOMMU, or share a requester id (invariant 5).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Group {
    /// Indexes in [`Topology::functions`], ascending. Bridges are members but are never assigned.
    pub members: Vec<usize>,
}

/// One remapping unit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Unit {
    /// Physical address of its registers.
    pub base: Spa,
    /// Bytes of its register block.
    pub register_bytes: u64,
    /// PCI segment.
    pub segment: u16,
    /// Covers what no other unit of the segment names.
    pub include_all: bool,
    /// Described twice: nobody may touch its registers.
    pub refused: bool,
    /// What it is.
    pub kind: UnitKind,
    /// Its own PCI function, where it has one, and the offset of its capability there. Never assigned.
    pub function: Option<(DeviceId, u16)>,
    /// It may cache what is not mapped, as told by that function. Units without one tell by registers.
    pub caches_absent: bool,
}

/// What a unit looks requesters up in, which is what its registers and tables are like.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UnitKind {
    /// A root table, bus by bus.
    RootTable,
    /// One flat device table.
    DeviceTable,
}

/// What raises an interrupt without being a PCI function of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SpecialKind {
    /// An IOAPIC; its number is the MADT's id.
    IoApic,
    /// An HPET block; its number is the HPET table's.
    Hpet,
}

/// An IOAPIC or HPET behind a unit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SpecialDevice {
    /// Which of the two.
    pub kind: SpecialKind,
    /// Its number.
    pub number: u8,
    /// Index in [`Topology::units`].
    pub unit: usize,
    /// Requester id of its messages.
    pub requester: RequesterId,
}

/// Memory that firmware reserves for the DMA of some functions.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ReservedRange {
    /// First byte and number of bytes; `None` where the firmware's range is nonsense. Whether it lies in reserved memory is for
    /// the owner of the memory map to judge (FW-04): [`Topology::judge_reserved`].
    pub range: Option<(Spa, u64)>,
    /// They may read it.
    pub read: bool,
    /// They may write it.
    pub write: bool,
    /// Indexes of its functions, ascending.
    pub owners: Vec<usize>,
}

/// Something wrong that the walk went on from.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Problem {
    /// DMAR malformed.
    #[error("firmware's IOMMU table: {0}")]
    Table(firmware::Error),
    /// A bridge's bus numbers are reversed, loop, or lie outside the bridge above.
    #[error(
        "bridge {bridge}: buses {secondary:#04x} to {subordinate:#04x} make no sense; nothing below it is used"
    )]
    BusNumbers {
        /// The bridge.
        bridge: DeviceId,
        /// Secondary bus.
        secondary: u8,
        /// Subordinate bus.
        subordinate: u8,
    },
    /// A device scope leads nowhere.
    #[error(
        "IOMMU unit {unit}: a device scope from bus {start_bus:#04x} names nothing that exists"
    )]
    ScopeLeadsNowhere {
        /// Index of the unit.
        unit: usize,
        /// Bus at which it starts.
        start_bus: u8,
    },
    /// Two units, one register block; or two units that cover all of one segment.
    #[error("IOMMU units {first} and {second} claim the same registers or the same devices")]
    UnitTwice {
        /// Index of one.
        first: usize,
        /// Index of the other.
        second: usize,
    },
    /// Two scopes for one IOAPIC or HPET: neither counts.
    #[error("{kind:?} {number} is claimed twice")]
    SpecialTwice {
        /// IOAPIC or HPET.
        kind: SpecialKind,
        /// Its number.
        number: u8,
    },
    /// Memory reserved for functions that is not firmware's to reserve.
    #[error(
        "firmware reserves {bytes:#x} bytes at {start} for devices, where its memory map says otherwise: they stay blocked"
    )]
    Reserved {
        /// First byte.
        start: Spa,
        /// Bytes.
        bytes: u64,
    },
    /// More functions than are tracked; the rest stay blocked.
    #[error("more than {0} functions; the rest stay blocked")]
    TooManyFunctions(usize),
    /// A function that may not be assigned for a fault of its own.
    #[error("{0}: {1}")]
    Function(DeviceId, Reason),
}

impl Topology {
    /// Index of a function.
    #[must_use]
    pub fn find(&self, id: DeviceId) -> Option<usize> {
        self.functions.iter().position(|function| function.id == id)
    }

    /// A function.
    #[must_use]
    pub fn function(&self, id: DeviceId) -> Option<&Function> {
        self.functions.iter().find(|function| function.id == id)
    }

    /// The bridges above a function, nearest first.
    pub fn upstream(&self, index: usize) -> impl Iterator<Item = usize> {
        let parent = move |index: &usize| {
            let parent = self.functions.get(*index)?.parent?;
            // A bridge stands before what is below it: the walk up always ends.
            (parent < *index).then_some(parent)
        };
        core::iter::successors(parent(&index), parent)
    }

    /// The IOAPIC or HPET with this number.
    #[must_use]
    pub fn special(&self, kind: SpecialKind, number: u8) -> Option<&SpecialDevice> {
        self.specials
            .iter()
            .find(|special| special.kind == kind && special.number == number)
    }

    /// Takes every function behind a unit, or every function, out of assignment: the machine calls it once it has read the
    /// units' registers. A reason that stands already is kept.
    pub fn refuse(&mut self, unit: Option<usize>, reason: Reason) {
        let behind = |function: &&mut Function| unit.is_none() || function.unit == unit;
        for function in self.functions.iter_mut().filter(behind) {
            function.unassignable = function.unassignable.or(Some(reason));
        }
    }

    /// Records where a BAR stands after an admitted configuration write.
    pub fn note_bar(&mut self, index: usize, bar: usize, address: u64) {
        let function = self.functions.get_mut(index);
        if let Some(Some(bar)) = function.and_then(|function| function.bars.get_mut(bar)) {
            bar.address = address;
        }
    }
}
