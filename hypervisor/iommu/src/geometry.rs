//! What tables a unit can walk.

use address::PageSize;

/// A set of table depths.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Levels(u8);

impl Levels {
    /// No depth.
    pub const NONE: Self = Self(0);

    /// The set with `levels` (1 to 7) added.
    #[must_use]
    pub const fn with(self, levels: u8) -> Self {
        Self(self.0 | 1 << (levels & 7))
    }

    /// Whether `levels` is in the set.
    #[must_use]
    pub const fn contains(self, levels: u8) -> bool {
        levels < 8 && self.0 & 1 << levels != 0
    }

    /// Whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Depths in both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The fewest levels in the set that cover `bits` address bits; else the most there are; `None` where the set is empty.
    #[must_use]
    pub fn covering(self, bits: u8) -> Option<u8> {
        let mut all = (1..8).filter(|&levels| self.contains(levels));
        all.clone()
            .find(|&levels| 12 + 9 * levels >= bits)
            .or_else(|| all.next_back())
    }
}

/// What tables a unit can walk. A domain whose devices stand behind several units uses the [`meet`](Self::meet) of theirs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Geometry {
    /// Table depths on offer.
    pub levels: Levels,
    /// Widest device address that the unit lets through, in bits.
    pub input_bits: u8,
    /// Width of physical addresses, in bits.
    pub output_bits: u8,
    /// Largest page.
    pub largest: PageSize,
    /// The unit's walker snoops processor caches.
    pub coherent: bool,
    /// The unit can force accesses to snoop.
    pub snoop: bool,
    /// The unit may cache what is *not* mapped: mapping owes a flush, too.
    pub caches_absent: bool,
}

impl Geometry {
    /// What suits both units; `None` where no table does.
    #[must_use]
    pub fn meet(self, other: Self) -> Option<Self> {
        let levels = self.levels.and(other.levels);
        if levels.is_empty() {
            return None;
        }
        Some(Self {
            levels,
            input_bits: self.input_bits.min(other.input_bits),
            output_bits: self.output_bits.min(other.output_bits),
            largest: self.largest.min(other.largest),
            coherent: self.coherent && other.coherent,
            snoop: self.snoop && other.snoop,
            caches_absent: self.caches_absent || other.caches_absent,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: Geometry = Geometry {
        levels: Levels::NONE.with(3).with(4),
        input_bits: 48,
        output_bits: 46,
        largest: PageSize::Size1G,
        coherent: true,
        snoop: true,
        caches_absent: false,
    };

    #[test]
    fn the_fewest_levels_that_reach() {
        assert_eq!(WIDE.levels.covering(39), Some(3));
        assert_eq!(WIDE.levels.covering(40), Some(4));
        assert_eq!(WIDE.levels.covering(57), Some(4));
        assert_eq!(Levels::NONE.covering(39), None);
    }

    #[test]
    fn a_meet_is_what_both_can() {
        let narrow = Geometry {
            levels: Levels::NONE.with(3),
            input_bits: 39,
            output_bits: 39,
            largest: PageSize::Size2M,
            coherent: false,
            snoop: false,
            caches_absent: true,
        };
        assert_eq!(WIDE.meet(narrow), Some(narrow));
        let deep = Geometry {
            levels: Levels::NONE.with(5),
            ..WIDE
        };
        assert_eq!(deep.meet(narrow), None);
    }
}
