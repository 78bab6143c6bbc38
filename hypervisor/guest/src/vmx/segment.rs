//! Intel SDM volume 3, section "guest register state": segment registers and their access rights.

/// A segment register.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Segment {
    /// Selector.
    pub selector: u16,
    /// `[3:0]` type, `4` S, `[6:5]` DPL, `7` P, `12` AVL, `13` L, `14` D/B, `15` G, `16` unusable.
    pub access_rights: u32,
    /// Limit in bytes, granularity already applied.
    pub limit: u32,
    /// Base.
    pub base: u64,
}

/// GDTR or IDTR.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Table {
    /// Base.
    pub base: u64,
    /// Limit in bytes.
    pub limit: u32,
}

/// `S` in [`Segment::access_rights`]: code or data.
pub const CODE_OR_DATA: u32 = 1 << 4;
/// `P`.
pub const PRESENT: u32 = 1 << 7;
/// `L`.
pub const LONG: u32 = 1 << 13;
/// `D/B`.
pub const DEFAULT_BIG: u32 = 1 << 14;
/// `G`.
pub const GRANULAR: u32 = 1 << 15;
/// No segment is loaded.
pub const UNUSABLE: u32 = 1 << 16;

/// What the hypercall interface's attributes and access rights have in common.
const COMMON: u32 = 0xf0ff;

impl Segment {
    /// Type, 0 to 15.
    #[must_use]
    pub const fn kind(self) -> u8 {
        self.access_rights as u8 & 15
    }

    /// Descriptor privilege level, 0 to 3.
    #[must_use]
    pub const fn dpl(self) -> u8 {
        (self.access_rights >> 5) as u8 & 3
    }

    /// Whether a segment is loaded.
    #[must_use]
    pub const fn usable(self) -> bool {
        self.access_rights & UNUSABLE == 0
    }

    /// The hypercall interface's form: `[63:0]` base, `[95:64]` limit, `[111:96]` selector, `[127:112]` attributes as in
    /// a descriptor. One that is not usable is not present.
    #[must_use]
    pub const fn to_register(self) -> u128 {
        let mut attributes = self.access_rights & COMMON;
        if !self.usable() {
            attributes &= !PRESENT;
        }
        self.base as u128
            | (self.limit as u128) << 64
            | (self.selector as u128) << 96
            | (attributes as u128) << 112
    }

    /// From the hypercall interface's form; bits 8 to 11 of the attributes are dropped.
    #[must_use]
    pub const fn from_register(value: u128) -> Self {
        let mut access_rights = (value >> 112) as u32 & COMMON;
        if access_rights & PRESENT == 0 {
            access_rights |= UNUSABLE;
        } else if access_rights & CODE_OR_DATA != 0 {
            // Loading a segment marks it as accessed; a processor has no other.
            access_rights |= 1;
        }
        Self {
            selector: (value >> 96) as u16,
            access_rights,
            limit: (value >> 64) as u32,
            base: value as u64,
        }
    }

    /// With a task's type as it is once loaded: busy.
    #[must_use]
    pub const fn busy(mut self) -> Self {
        if matches!(self.kind(), 1 | 9) {
            self.access_rights |= 2;
        }
        self
    }
}

impl Table {
    /// The hypercall interface's form of GDTR and IDTR: `[63:48]` limit, `[127:64]` base.
    #[must_use]
    pub const fn to_register(self) -> u128 {
        (self.base as u128) << 64 | ((self.limit & 0xffff) as u128) << 48
    }

    /// From the hypercall interface's form.
    #[must_use]
    pub const fn from_register(value: u128) -> Self {
        Self {
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
            access_rights: 0xa09b,
            limit: 0xffff_ffff,
            base: 0x1122_3344_5566_7788,
        };
        assert_eq!(
            code.to_register(),
            0xa09b_0008_ffff_ffff_1122_3344_5566_7788
        );
        assert_eq!(Segment::from_register(code.to_register()), code);
        assert_eq!((code.dpl(), code.kind()), (0, 11));
    }

    #[test]
    fn what_is_not_present_is_not_usable_and_what_is_loaded_was_accessed() {
        assert_eq!(Segment::from_register(0).access_rights, UNUSABLE);
        let data = Segment::from_register(0xc092 << 112);
        assert_eq!(data.access_rights, 0xc093);
        let task = Segment::from_register(0x0089 << 112).busy();
        assert_eq!(task.access_rights, 0x8b);
        let unusable = Segment {
            access_rights: 0x1_0093,
            ..Segment::default()
        };
        assert_eq!(unusable.to_register() >> 112, 0x13);
    }

    #[test]
    fn table_registers_keep_their_limit_above_the_padding() {
        let table = Table {
            limit: 0x3ff,
            base: 0xffff_8000_0000_1000,
        };
        assert_eq!(
            table.to_register(),
            0xffff_8000_0000_1000_03ff_0000_0000_0000
        );
        assert_eq!(Table::from_register(table.to_register()), table);
    }
}
