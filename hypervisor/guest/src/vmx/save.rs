//! Intel SDM volume 3, section "guest-state area", and the guest's registers that a control structure does not hold.

use super::field::Field;
use super::segment::{Segment, Table};

macro_rules! area {
    (fields: { $($name:ident = $field:ident,)* } others: { $($other:ident,)* }) => {
        /// The guest's registers, out of the processor.
        #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
        #[allow(missing_docs)]
        pub struct SaveArea {
            /// ES, CS, SS, DS, FS, GS, LDTR, TR.
            pub segments: [Segment; 8],
            pub gdtr: Table,
            pub idtr: Table,
            $(pub $name: u64,)*
            $(pub $other: u64,)*
        }

        impl SaveArea {
            fn read_fields(&mut self, read: &mut impl FnMut(Field) -> u64) {
                $(self.$name = read(Field::$field);)*
            }

            fn write_fields(&self, write: &mut impl FnMut(Field, u64)) {
                $(write(Field::$field, self.$name);)*
            }
        }
    };
}

area! {
    fields: {
    cr0 = GUEST_CR0,
    cr0_shadow = CR0_SHADOW,
    cr3 = GUEST_CR3,
    cr4 = GUEST_CR4,
    cr4_shadow = CR4_SHADOW,
    dr7 = GUEST_DR7,
    rsp = GUEST_RSP,
    rip = GUEST_RIP,
    rflags = GUEST_RFLAGS,
    interruptibility = GUEST_INTERRUPTIBILITY,
    pending_debug = GUEST_PENDING_DEBUG,
    sysenter_cs = GUEST_SYSENTER_CS,
    sysenter_esp = GUEST_SYSENTER_ESP,
    sysenter_eip = GUEST_SYSENTER_EIP,
    pat = GUEST_PAT,
    efer = GUEST_EFER,
    pdpte_0 = GUEST_PDPTE_0,
    pdpte_1 = GUEST_PDPTE_1,
    pdpte_2 = GUEST_PDPTE_2,
    pdpte_3 = GUEST_PDPTE_3,
    }
    others: {
    cr2,
    dr6,
    star,
    lstar,
    cstar,
    sfmask,
    kernel_gs_base,
    }
}

/// Numbers of the segment registers.
#[allow(missing_docs)]
pub mod segment {
    pub const ES: usize = 0;
    pub const CS: usize = 1;
    pub const SS: usize = 2;
    pub const DS: usize = 3;
    pub const FS: usize = 4;
    pub const GS: usize = 5;
    pub const LDTR: usize = 6;
    pub const TR: usize = 7;
}

impl SaveArea {
    /// Reads every field of the control structure that the guest-state area has.
    pub fn read(&mut self, mut read: impl FnMut(Field) -> u64) {
        self.read_fields(&mut read);
        for (index, segment) in (0..).zip(&mut self.segments) {
            segment.selector = read(Field::GUEST_SELECTOR.of_segment(index)) as u16;
            segment.limit = read(Field::GUEST_LIMIT.of_segment(index)) as u32;
            segment.access_rights = read(Field::GUEST_ACCESS_RIGHTS.of_segment(index)) as u32;
            segment.base = read(Field::GUEST_BASE.of_segment(index));
        }
        self.gdtr = Table {
            base: read(Field::GUEST_GDTR_BASE),
            limit: read(Field::GUEST_GDTR_LIMIT) as u32,
        };
        self.idtr = Table {
            base: read(Field::GUEST_IDTR_BASE),
            limit: read(Field::GUEST_IDTR_LIMIT) as u32,
        };
    }

    /// Writes them.
    pub fn write(&self, mut write: impl FnMut(Field, u64)) {
        self.write_fields(&mut write);
        for (index, segment) in (0..).zip(&self.segments) {
            write(
                Field::GUEST_SELECTOR.of_segment(index),
                segment.selector.into(),
            );
            write(Field::GUEST_LIMIT.of_segment(index), segment.limit.into());
            write(
                Field::GUEST_ACCESS_RIGHTS.of_segment(index),
                segment.access_rights.into(),
            );
            write(Field::GUEST_BASE.of_segment(index), segment.base);
        }
        write(Field::GUEST_GDTR_BASE, self.gdtr.base);
        write(Field::GUEST_GDTR_LIMIT, self.gdtr.limit.into());
        write(Field::GUEST_IDTR_BASE, self.idtr.base);
        write(Field::GUEST_IDTR_LIMIT, self.idtr.limit.into());
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn every_field_is_written_and_read_back() {
        let mut area = SaveArea::default();
        area.read(|field| u64::from(field.0));
        let mut written = HashMap::new();
        area.write(|field, value| {
            assert_eq!(written.insert(field, value), None, "{field:?} twice");
        });
        assert_eq!(written.len(), 20 + 8 * 4 + 4);
        for (field, value) in written {
            assert_eq!(value, u64::from(field.0));
        }
        assert_eq!(area.segments[segment::TR].base, 0x6814);
    }
}
