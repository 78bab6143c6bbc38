//! AMD64 Architecture Programmer's Manual volume 2, appendix B: segment registers in the state save area.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A segment register, or GDTR and IDTR (base and limit only).
#[derive(
    Clone, Copy, Debug, Default, Eq, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout,
)]
#[repr(C)]
pub struct Segment {
    /// Selector.
    pub selector: u16,
    /// `[3:0]` type, `4` S, `[6:5]` DPL, `7` P, `8` AVL, `9` L, `10` D/B, `11` G.
    pub attributes: u16,
    /// Limit in bytes, granularity already applied.
    pub limit: u32,
    /// Base.
    pub base: u64,
}

const _: () = assert!(size_of::<Segment>() == 16);

/// `P` in [`Segment::attributes`].
pub const PRESENT: u16 = 1 << 7;
/// `L` in [`Segment::attributes`].
pub const LONG: u16 = 1 << 9;
/// `D/B` in [`Segment::attributes`].
pub const DEFAULT_BIG: u16 = 1 << 10;

impl Segment {
    /// Descriptor privilege level, 0 to 3.
    #[must_use]
    pub const fn dpl(self) -> u8 {
        (self.attributes >> 5) as u8 & 3
    }

    /// The hypercall interface's form: `[63:0]` base, `[95:64]` limit, `[111:96]` selector, `[127:112]` attributes as in
    /// a descriptor (AVL, L, D/B and G in bits 12 to 15).
    #[must_use]
    pub const fn to_register(self) -> u128 {
        let attributes = (self.attributes & 0xff) | (self.attributes & 0xf00) << 4;
        self.base as u128
            | (self.limit as u128) << 64
            | (self.selector as u128) << 96
            | (attributes as u128) << 112
    }

    /// From the hypercall interface's form; bits 8 to 11 of the attributes are dropped.
    #[must_use]
    pub const fn from_register(value: u128) -> Self {
        let attributes = (value >> 112) as u16;
        Self {
            selector: (value >> 96) as u16,
            attributes: (attributes & 0xff) | (attributes >> 4 & 0xf00),
            limit: (value >> 64) as u32,
            base: value as u64,
        }
    }

    /// The hypercall interface's form of GDTR and IDTR: `[63:48]` limit, `[127:64]` base.
    #[must_use]
    pub const fn to_table_register(self) -> u128 {
        (self.base as u128) << 64 | ((self.limit & 0xffff) as u128) << 48
    }

    /// GDTR or IDTR from the hypercall interface's form.
    #[must_use]
    pub const fn from_table_register(value: u128) -> Self {
        Self {
            selector: 0,
            attributes: 0,
            limit: (value >> 48) as u32 & 0xffff,
            base: (value >> 64) as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_64_bit_code_segment_has_these_raw_values() {
        let code = Segment {
            selector: 8,
            attributes: 0xa9b,
            limit: 0xffff_ffff,
            base: 0x1122_3344_5566_7788,
        };
        assert_eq!(
            code.to_register(),
            0xa09b_0008_ffff_ffff_1122_3344_5566_7788
        );
        assert_eq!(Segment::from_register(code.to_register()), code);
        assert_eq!((code.dpl(), code.attributes & LONG), (0, LONG));
    }

    #[test]
    fn table_registers_keep_their_limit_above_the_padding() {
        let table = Segment {
            limit: 0x3ff,
            base: 0xffff_8000_0000_1000,
            ..Segment::default()
        };
        assert_eq!(
            table.to_table_register(),
            0xffff_8000_0000_1000_03ff_0000_0000_0000
        );
        assert_eq!(
            Segment::from_table_register(table.to_table_register()),
            table
        );
    }
}
