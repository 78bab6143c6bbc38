//! Page sizes of x86-64 translation tables.

/// Number of address bits inside a 4 KiB page.
pub const PAGE_SHIFT: u32 = 12;
/// Bytes in a 4 KiB page.
pub const PAGE_SIZE: u64 = 1 << PAGE_SHIFT;

/// Size of one translation.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum PageSize {
    /// 4 KiB, mapped at level 1.
    Size4K,
    /// 2 MiB, mapped at level 2.
    Size2M,
    /// 1 GiB, mapped at level 3.
    Size1G,
}

impl PageSize {
    /// Number of address bits inside a page of this size: 12, 21 or 30.
    #[must_use]
    pub const fn shift(self) -> u32 {
        match self {
            Self::Size4K => 12,
            Self::Size2M => 21,
            Self::Size1G => 30,
        }
    }

    /// Bytes in a page of this size.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        1 << self.shift()
    }

    /// 4 KiB pages in a page of this size: 1, 512 or 262,144.
    #[must_use]
    pub const fn frames(self) -> u64 {
        self.bytes() >> PAGE_SHIFT
    }

    /// Level of the table whose entry maps a page of this size; 1 is the leaf table.
    #[must_use]
    pub const fn level(self) -> u8 {
        match self {
            Self::Size4K => 1,
            Self::Size2M => 2,
            Self::Size1G => 3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_architecture() {
        assert_eq!(PageSize::Size4K.bytes(), 4096);
        assert_eq!(PageSize::Size2M.bytes(), 2 << 20);
        assert_eq!(PageSize::Size1G.bytes(), 1 << 30);
        assert_eq!(PageSize::Size2M.frames(), 512);
        assert_eq!(PageSize::Size1G.level(), 3);
    }
}
