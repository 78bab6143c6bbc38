//! Intel SDM volume 3, appendix B: "field encoding in VMCS".

/// The encoding of a field, as VMREAD and VMWRITE take it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(transparent)]
pub struct Field(pub u32);

macro_rules! fields {
    ($($name:ident = $value:literal,)*) => {
        #[allow(missing_docs)]
        impl Field {
            $(pub const $name: Self = Self($value);)*
        }

        #[cfg(test)]
        const ALL: &[Field] = &[$(Field::$name),*];
    };
}

fields! {
    // 16 bits.
    VPID = 0x0000,
    POSTED_VECTOR = 0x0002,
    GUEST_SELECTOR = 0x0800,
    GUEST_INTERRUPT_STATUS = 0x0810,
    HOST_ES_SELECTOR = 0x0c00,
    HOST_CS_SELECTOR = 0x0c02,
    HOST_SS_SELECTOR = 0x0c04,
    HOST_DS_SELECTOR = 0x0c06,
    HOST_FS_SELECTOR = 0x0c08,
    HOST_GS_SELECTOR = 0x0c0a,
    HOST_TR_SELECTOR = 0x0c0c,
    // 64 bits.
    MSR_BITMAP = 0x2004,
    VIRTUAL_APIC_PAGE = 0x2012,
    POSTED_DESCRIPTOR = 0x2016,
    EPT_POINTER = 0x201a,
    EOI_EXIT_0 = 0x201c,
    EOI_EXIT_1 = 0x201e,
    EOI_EXIT_2 = 0x2020,
    EOI_EXIT_3 = 0x2022,
    ENCLS_EXITING_BITMAP = 0x202e,
    GUEST_PHYSICAL_ADDRESS = 0x2400,
    LINK_POINTER = 0x2800,
    GUEST_DEBUG_CONTROL = 0x2802,
    GUEST_PAT = 0x2804,
    GUEST_EFER = 0x2806,
    GUEST_PDPTE_0 = 0x280a,
    GUEST_PDPTE_1 = 0x280c,
    GUEST_PDPTE_2 = 0x280e,
    GUEST_PDPTE_3 = 0x2810,
    HOST_PAT = 0x2c00,
    HOST_EFER = 0x2c02,
    // 32 bits.
    PIN_CONTROLS = 0x4000,
    PRIMARY_CONTROLS = 0x4002,
    EXCEPTION_BITMAP = 0x4004,
    PAGE_FAULT_MASK = 0x4006,
    PAGE_FAULT_MATCH = 0x4008,
    CR3_TARGET_COUNT = 0x400a,
    EXIT_CONTROLS = 0x400c,
    EXIT_MSR_STORE_COUNT = 0x400e,
    EXIT_MSR_LOAD_COUNT = 0x4010,
    ENTRY_CONTROLS = 0x4012,
    ENTRY_MSR_LOAD_COUNT = 0x4014,
    ENTRY_EVENT = 0x4016,
    ENTRY_EVENT_ERROR = 0x4018,
    ENTRY_INSTRUCTION_LENGTH = 0x401a,
    TPR_THRESHOLD = 0x401c,
    SECONDARY_CONTROLS = 0x401e,
    PAUSE_GAP = 0x4020,
    PAUSE_WINDOW = 0x4022,
    INSTRUCTION_ERROR = 0x4400,
    EXIT_REASON = 0x4402,
    EXIT_EVENT = 0x4404,
    EXIT_EVENT_ERROR = 0x4406,
    VECTORING_EVENT = 0x4408,
    VECTORING_EVENT_ERROR = 0x440a,
    EXIT_INSTRUCTION_LENGTH = 0x440c,
    GUEST_LIMIT = 0x4800,
    GUEST_GDTR_LIMIT = 0x4810,
    GUEST_IDTR_LIMIT = 0x4812,
    GUEST_ACCESS_RIGHTS = 0x4814,
    GUEST_INTERRUPTIBILITY = 0x4824,
    GUEST_ACTIVITY = 0x4826,
    GUEST_SYSENTER_CS = 0x482a,
    PREEMPTION_TIMER = 0x482e,
    HOST_SYSENTER_CS = 0x4c00,
    // Natural width.
    CR0_MASK = 0x6000,
    CR4_MASK = 0x6002,
    CR0_SHADOW = 0x6004,
    CR4_SHADOW = 0x6006,
    EXIT_QUALIFICATION = 0x6400,
    GUEST_CR0 = 0x6800,
    GUEST_CR3 = 0x6802,
    GUEST_CR4 = 0x6804,
    GUEST_BASE = 0x6806,
    GUEST_GDTR_BASE = 0x6816,
    GUEST_IDTR_BASE = 0x6818,
    GUEST_DR7 = 0x681a,
    GUEST_RSP = 0x681c,
    GUEST_RIP = 0x681e,
    GUEST_RFLAGS = 0x6820,
    GUEST_PENDING_DEBUG = 0x6822,
    GUEST_SYSENTER_ESP = 0x6824,
    GUEST_SYSENTER_EIP = 0x6826,
    HOST_CR0 = 0x6c00,
    HOST_CR3 = 0x6c02,
    HOST_CR4 = 0x6c04,
    HOST_FS_BASE = 0x6c06,
    HOST_GS_BASE = 0x6c08,
    HOST_TR_BASE = 0x6c0a,
    HOST_GDTR_BASE = 0x6c0c,
    HOST_IDTR_BASE = 0x6c0e,
    HOST_SYSENTER_ESP = 0x6c10,
    HOST_SYSENTER_EIP = 0x6c12,
    HOST_RSP = 0x6c14,
    HOST_RIP = 0x6c16,
}

impl Field {
    /// The field of segment register `index` (ES, CS, SS, DS, FS, GS, LDTR, TR: 0 to 7), where `self` is that of ES.
    #[must_use]
    #[inline]
    pub const fn of_segment(self, index: u32) -> Self {
        Self(self.0 + 2 * (index & 7))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_full_accesses_to_known_groups() {
        for field in ALL {
            let (width, group) = (field.0 >> 13, field.0 >> 10 & 3);
            assert!(width <= 3 && group <= 3, "{field:?}");
            assert_eq!(field.0 & 1, 0, "{field:?}: the whole field");
        }
        let mut sorted: std::vec::Vec<_> = ALL.to_vec();
        sorted.sort();
        sorted.dedup();
        assert_eq!(sorted.len(), ALL.len());
    }

    #[test]
    fn segments_follow_each_other() {
        assert_eq!(Field::GUEST_SELECTOR.of_segment(7).0, 0x80e);
        assert_eq!(Field::GUEST_LIMIT.of_segment(6).0, 0x480c);
        assert_eq!(Field::GUEST_ACCESS_RIGHTS.of_segment(1).0, 0x4816);
        assert_eq!(Field::GUEST_BASE.of_segment(5).0, 0x6810);
    }

    extern crate std;
}
