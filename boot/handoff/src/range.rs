//! The memory map: who a range of physical addresses belongs to when the hypervisor starts.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `len` bytes of physical address space from `start`. `len` = 0: nothing.
#[derive(
    Clone, Copy, Debug, Default, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq,
)]
#[repr(C)]
pub struct Extent {
    /// First byte.
    pub start: u64,
    /// Bytes.
    pub len: u64,
}

impl Extent {
    /// `len` bytes from `start`.
    #[must_use]
    pub const fn new(start: u64, len: u64) -> Self {
        Self { start, len }
    }

    /// First byte after the extent; saturates at 2^64 − 1.
    #[must_use]
    pub const fn end(self) -> u64 {
        self.start.saturating_add(self.len)
    }

    /// Whether no byte belongs to it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }

    /// Whether the byte at `address` belongs to it.
    #[must_use]
    pub const fn contains(self, address: u64) -> bool {
        address >= self.start && address < self.end()
    }

    /// Whether any byte belongs to both.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        !self.is_empty()
            && !other.is_empty()
            && self.start < other.end()
            && other.start < self.end()
    }
}

/// What a range is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u32)]
pub enum Kind {
    /// RAM that nobody uses: the root partition's.
    Usable = 1,
    /// RAM that holds the root agent's image, its page tables or a boot module: the root partition's, in use.
    Root = 2,
    /// RAM that holds the hypervisor's image.
    HypervisorImage = 3,
    /// RAM that holds the hypervisor's page tables.
    HypervisorTables = 4,
    /// RAM that the hypervisor's boot allocator gives out, and the boot stack.
    BootHeap = 5,
    /// RAM that holds this hand-over and the start-up trampoline: the hypervisor's.
    Handoff = 6,
    /// Reserved by firmware (runtime services included): nobody's.
    Reserved = 7,
    /// RAM that holds ACPI tables, free once they have been read.
    AcpiReclaimable = 8,
    /// RAM that firmware uses while the machine runs.
    AcpiNvs = 9,
    /// Device registers, as firmware declared them. Undeclared addresses may be device registers too.
    Mmio = 10,
    /// Broken RAM, or persistent memory that the hypervisor does not touch.
    Unusable = 11,
}

impl Kind {
    /// The kind with this number.
    #[must_use]
    pub const fn from_u32(number: u32) -> Option<Self> {
        Some(match number {
            1 => Self::Usable,
            2 => Self::Root,
            3 => Self::HypervisorImage,
            4 => Self::HypervisorTables,
            5 => Self::BootHeap,
            6 => Self::Handoff,
            7 => Self::Reserved,
            8 => Self::AcpiReclaimable,
            9 => Self::AcpiNvs,
            10 => Self::Mmio,
            11 => Self::Unusable,
            _ => return None,
        })
    }

    /// Whether the range belongs to the hypervisor, and no partition may ever map it.
    #[must_use]
    pub const fn is_hypervisor(self) -> bool {
        matches!(
            self,
            Self::HypervisorImage | Self::HypervisorTables | Self::BootHeap | Self::Handoff
        )
    }

    /// Whether the range is RAM for certain, and may be cached.
    #[must_use]
    pub const fn is_ram(self) -> bool {
        !matches!(self, Self::Reserved | Self::Mmio | Self::Unusable)
    }
}

/// One entry of the memory map.
#[derive(
    Clone, Copy, Debug, Default, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq,
)]
#[repr(C)]
pub struct Range {
    /// First byte, page aligned.
    pub start: u64,
    /// Bytes, a multiple of 4096, not 0.
    pub len: u64,
    /// Number of a [`Kind`].
    pub kind: u32,
    /// 0.
    pub reserved: u32,
}

const _: () = assert!(size_of::<Range>() == 24);

impl Range {
    /// An entry.
    #[must_use]
    pub const fn new(start: u64, len: u64, kind: Kind) -> Self {
        Self {
            start,
            len,
            kind: kind as u32,
            reserved: 0,
        }
    }

    /// What the range is for; an unknown number counts as reserved.
    #[must_use]
    pub fn kind(&self) -> Kind {
        Kind::from_u32(self.kind).unwrap_or(Kind::Reserved)
    }

    /// Where it lies.
    #[must_use]
    pub const fn extent(&self) -> Extent {
        Extent::new(self.start, self.len)
    }

    /// First byte after the range.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.extent().end()
    }
}

/// Whether an extent is whole pages that firmware reserved to the last one: it is not empty and wraps nowhere, and all of it lies in
/// ranges of [`Kind::Reserved`], which may follow each other, and outside of what is `kept` for registers. `ranges` are sorted and
/// do not overlap.
#[must_use]
pub fn is_reserved(ranges: &[Range], kept: &[&[Extent]], extent: Extent) -> bool {
    let Some(end) = extent.start.checked_add(extent.len) else {
        return false;
    };
    let mut reached = extent.start;
    for range in ranges {
        if range.kind() == Kind::Reserved && range.start <= reached {
            reached = reached.max(range.end());
        }
    }
    let hit = |list: &&[Extent]| list.iter().any(|it| it.overlaps(extent));
    (extent.start | extent.len) & 0xfff == 0
        && !extent.is_empty()
        && reached >= end
        && !kept.iter().any(hit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_kinds_agree() {
        for number in 0..64 {
            assert!(Kind::from_u32(number).is_none_or(|kind| kind as u32 == number));
        }
        assert_eq!(Range::default().kind(), Kind::Reserved);
    }

    #[test]
    fn touching_extents_do_not_overlap() {
        let low = Extent::new(0x1000, 0x1000);
        assert!(!low.overlaps(Extent::new(0x2000, 1)));
        assert!(low.overlaps(Extent::new(0x1fff, 1)));
        assert!(!low.overlaps(Extent::new(0x1800, 0)));
        assert!(!Extent::new(u64::MAX, 9).contains(0));
    }

    /// RAM, two reserved ranges that touch, a gap, reserved with registers in it.
    fn map() -> [Range; 4] {
        [
            Range::new(0x1000, 0x3000, Kind::Usable),
            Range::new(0x4000, 0x2000, Kind::Reserved),
            Range::new(0x6000, 0x1000, Kind::Reserved),
            Range::new(0x9000, 0x6000, Kind::Reserved),
        ]
    }

    #[test]
    fn fw_04_reserved_is_what_the_map_says_of_every_page() {
        let kept = [Extent::new(0xb000, 0x1000)];
        let reserved = |start, len| is_reserved(&map(), &[&[], &kept], Extent::new(start, len));
        // Every range of whole pages there is, by the page.
        for start in 0..20_u64 {
            for pages in 0..20 {
                let page = |page: u64| matches!(page, 4..=6 | 9 | 10 | 12..=14);
                let all = pages != 0 && (start..start + pages).all(page);
                let found = reserved(start << 12, pages << 12);
                assert_eq!(found, all, "{pages} pages from page {start}");
            }
        }
        assert!(reserved(0x4000, 0x1000));
        for (start, len) in [
            (0x4001, 0x1000),
            (0x4000, 0xfff),
            (0x4800, 0x800),
            (0x4000, u64::MAX),
            (0x4000, 0xffff_ffff_ffff_c000),
            (0, u64::MAX),
            (0, !0xfff),
            (!0xfff, 0x1000),
        ] {
            assert!(!reserved(start, len), "{start:#x} {len:#x}");
        }
    }

    #[test]
    fn fw_04_no_kind_but_one_is_reserved() {
        for number in 0..=12 {
            let range = Range {
                kind: number,
                ..Range::new(0x4000, 0x1000, Kind::Usable)
            };
            let found = is_reserved(&[range], &[], range.extent());
            // What has no number of its own counts as reserved.
            assert_eq!(found, matches!(number, 0 | 7 | 12), "kind {number}");
        }
    }
}
