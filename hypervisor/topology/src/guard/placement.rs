//! Where a BAR may stand (CFG-03).

use address::PAGE_SIZE;

use super::World;
use crate::Bar;

/// A range of memory or ports.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Window {
    /// Memory, not ports.
    pub memory: bool,
    /// First byte or port.
    pub first: u64,
    /// Last byte or port; not below `first`.
    pub last: u64,
}

impl Window {
    /// What a BAR decodes; `None` past 2^64 or for an empty one.
    #[must_use]
    pub fn of(bar: &Bar) -> Option<Self> {
        Some(Self {
            memory: bar.is_memory(),
            first: bar.address,
            last: bar.address.checked_add(bar.size.checked_sub(1)?)?,
        })
    }

    /// The whole pages around it; ports have none.
    const fn pages(self) -> Self {
        if self.memory {
            Self {
                memory: true,
                first: self.first & !(PAGE_SIZE - 1),
                last: self.last | (PAGE_SIZE - 1),
            }
        } else {
            self
        }
    }

    const fn overlaps(&self, other: &Self) -> bool {
        self.memory == other.memory && self.first <= other.last && other.first <= self.last
    }

    const fn holds(&self, other: &Self) -> bool {
        self.memory == other.memory && self.first <= other.first && other.last <= self.last
    }
}

/// Whether a BAR may stand at an address: aligned, inside one window, on no page that the hypervisor keeps or that another
/// function's BAR touches, and over no other BAR of its own function.
pub(super) fn allowed(world: &World<'_>, index: usize, bar: usize, address: u64) -> bool {
    let function = world.functions.get(index);
    let Some(mut moved) = function.and_then(|function| *function.bars.get(bar)?) else {
        return false;
    };
    moved.address = address;
    let Some(range) = Window::of(&moved) else {
        return false;
    };
    let aligned = address != 0 && address & moved.size.wrapping_sub(1) == 0;
    let pages = range.pages();
    aligned
        && world.windows.iter().any(|window| window.holds(&range))
        && !world.kept.iter().any(|kept| kept.overlaps(&pages))
        && !world.functions.iter().enumerate().any(|(owner, function)| {
            let bars = function.bars.iter().enumerate();
            let others = bars.filter(|(at, _)| (owner, *at) != (index, bar));
            let mut ranges = others
                .filter_map(|(_, bar)| Window::of(&(*bar)?))
                .filter(|range| range.first != 0);
            let mine = owner == index;
            ranges.any(|other| {
                if mine {
                    other.overlaps(&range)
                } else {
                    other.overlaps(&pages)
                }
            })
        })
}
