//! The three address spaces.

use core::fmt;

use crate::{PAGE_SHIFT, PAGE_SIZE, PageSize};

macro_rules! address {
    ($(#[$doc:meta])* $name:ident, $short:literal) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Default, Eq, Hash, Ord, PartialEq, PartialOrd,
            zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout,
        )]
        #[repr(transparent)]
        pub struct $name(u64);

        impl $name {
            /// The address with this byte offset in its space.
            #[must_use]
            pub const fn new(bytes: u64) -> Self {
                Self(bytes)
            }

            /// The first byte of the 4 KiB page with this number; `None` where it lies past 2^64.
            #[must_use]
            pub const fn from_page(number: u64) -> Option<Self> {
                if number >> (64 - PAGE_SHIFT) == 0 { Some(Self(number << PAGE_SHIFT)) } else { None }
            }

            /// Byte offset in the space.
            #[must_use]
            pub const fn as_u64(self) -> u64 {
                self.0
            }

            /// Number of the 4 KiB page that holds the address.
            #[must_use]
            pub const fn page(self) -> u64 {
                self.0 >> PAGE_SHIFT
            }

            /// Byte offset inside the 4 KiB page, 0 to 4095.
            #[must_use]
            pub const fn page_offset(self) -> u64 {
                self.0 & (PAGE_SIZE - 1)
            }

            /// Whether the address is the first byte of a page of this size.
            #[must_use]
            pub const fn is_aligned(self, size: PageSize) -> bool {
                self.0 & (size.bytes() - 1) == 0
            }

            /// The first byte of the page of this size that holds the address.
            #[must_use]
            pub const fn align_down(self, size: PageSize) -> Self {
                Self(self.0 & !(size.bytes() - 1))
            }

            /// The address `bytes` further on; `None` where that lies past 2^64.
            #[must_use]
            pub const fn checked_add(self, bytes: u64) -> Option<Self> {
                match self.0.checked_add(bytes) {
                    Some(sum) => Some(Self(sum)),
                    None => None,
                }
            }

            /// Bytes from `earlier` to here; `None` where `earlier` is the later one.
            #[must_use]
            pub const fn checked_since(self, earlier: Self) -> Option<u64> {
                self.0.checked_sub(earlier.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($short, "({:#x})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }
    };
}

address!(
    /// System physical address: what the processor's and the IOMMU's tables end in.
    Spa,
    "Spa"
);
address!(
    /// Guest physical address: what a partition's processors put on their bus.
    Gpa,
    "Gpa"
);
address!(
    /// Device-visible address: what a device puts on the bus, before its domain translates it.
    Iova,
    "Iova"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn additions_stop_at_the_end_of_the_space() {
        assert_eq!(Spa::new(u64::MAX).checked_add(1), None);
        assert_eq!(Gpa::from_page(1 << 52), None);
        assert_eq!(Iova::from_page(3), Some(Iova::new(0x3000)));
    }

    #[test]
    fn alignment_follows_the_page_size() {
        let address = Gpa::new(0x20_1234);
        assert_eq!(address.align_down(PageSize::Size2M), Gpa::new(0x20_0000));
        assert!(!address.is_aligned(PageSize::Size4K));
        assert_eq!((address.page(), address.page_offset()), (0x201, 0x234));
    }
}
