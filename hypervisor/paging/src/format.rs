//! What a format says: how an entry is made and read. Nothing here walks.

use address::{PAGE_SHIFT, PageSize, Spa};

use crate::Access;

/// An entry format. A value of the type holds what differs from unit to unit (snoop control), so that the walker need not
/// know that such a thing exists.
pub trait Format: Copy {
    /// Fewest levels that the format has.
    const MIN_LEVELS: u8;
    /// Most levels that the format has.
    const MAX_LEVELS: u8;
    /// How entries point, and how they say what they are.
    const LAYOUT: Layout;

    /// The bits of an entry that maps a 4 KiB page, without the address; `None` where the format cannot express the access.
    /// Never zero.
    fn leaf(self, access: Access) -> Option<u64>;

    /// What an entry that maps a page allows.
    fn access(entry: u64) -> Access;
}

/// What the walker must know of a format, as values: so it is compiled once, and not once for each format.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Layout {
    /// Where an entry, of a table or of a page, holds the address.
    pub address: u64,
    /// The bits that say, above level 1, whether an entry maps a page. Zero in an entry of level 1.
    pub kind: u64,
    /// What those bits are when it does.
    pub page: u64,
    /// The bits of an entry that points to a table, without the address. They take no right away: rights are the leaf's.
    /// Never zero.
    pub table: u64,
    /// What such an entry has besides for every level of its own table above the first.
    pub table_level: u64,
}

impl Layout {
    /// Whether a non-zero entry of a table of level 2 and up maps a page.
    #[inline]
    #[must_use]
    pub const fn is_page(&self, entry: u64) -> bool {
        entry & self.kind == self.page
    }

    /// The bits of an entry of a level-`level` table (1 to 3) that maps a page, without the address, from those of a
    /// [`Format::leaf`].
    #[inline]
    #[must_use]
    pub const fn leaf(&self, leaf: u64, level: u8) -> u64 {
        if level > 1 { leaf | self.page } else { leaf }
    }

    /// The bits of an entry of a level-`level` table (2 and up) that points to the next table, without the address.
    #[must_use]
    pub const fn table(&self, level: u8) -> u64 {
        self.table | (self.table_level * level.saturating_sub(1) as u64)
    }

    /// The table that an entry points to, or the page that one of level 1 maps.
    #[inline]
    #[must_use]
    pub const fn target(&self, entry: u64) -> Spa {
        Spa::new(entry & self.address)
    }
}

/// The geometry of one table, fixed for its life: a table never grows a level while hardware walks it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Shape {
    /// Levels, 1 to 6, the root's included.
    pub levels: u8,
    /// Width of the addresses that the table translates, in bits: at most 12 + 9 * levels.
    pub input_bits: u8,
    /// Width of physical addresses, in bits: 32 to 52.
    pub output_bits: u8,
    /// Largest page that hardware takes.
    pub largest: PageSize,
    /// Whether the hardware walker snoops processor caches. Where not, every written entry is cleaned.
    pub coherent: bool,
}

impl Shape {
    /// Four levels, 48-bit input, every page size, a coherent walker: a processor's second level.
    #[must_use]
    pub const fn processor(output_bits: u8) -> Self {
        Self {
            levels: 4,
            input_bits: 48,
            output_bits,
            largest: PageSize::Size1G,
            coherent: true,
        }
    }

    /// Whether the format `F` has such a table.
    pub(crate) const fn fits<F: Format>(&self) -> bool {
        self.levels >= F::MIN_LEVELS
            && self.levels <= F::MAX_LEVELS
            && self.input_bits > PAGE_SHIFT as u8
            && self.input_bits as u32 <= table_shift(self.levels)
            && self.output_bits >= 32
            && self.output_bits <= 52
            && self.largest.level() <= self.levels
    }
}

/// Address bits below an entry of a table of this level: 12 at level 1.
#[inline]
pub(crate) const fn entry_shift(level: u8) -> u32 {
    PAGE_SHIFT + 9 * (level as u32 - 1)
}

/// Address bits that a whole table of this level covers: 21 at level 1.
#[inline]
pub(crate) const fn table_shift(level: u8) -> u32 {
    PAGE_SHIFT + 9 * level as u32
}

/// Index of the entry for `address` in a table of this level.
#[inline]
pub(crate) const fn index(address: u64, level: u8) -> usize {
    (address >> entry_shift(level)) as usize & 0x1ff
}

/// Size of a page mapped at this level; levels above 3 map none.
#[inline]
pub(crate) const fn page_size(level: u8) -> PageSize {
    match level {
        1 => PageSize::Size4K,
        2 => PageSize::Size2M,
        _ => PageSize::Size1G,
    }
}

const _: () = assert!(entry_shift(1) == 12 && entry_shift(3) == PageSize::Size1G.shift());
const _: () = assert!(index(0x1ff << 39, 4) == 511 && index(0x1ff << 39, 3) == 0);
