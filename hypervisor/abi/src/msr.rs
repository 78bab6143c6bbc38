//! Synthetic MSRs (TLFS, "Appendix F: Hypervisor synthetic MSRs").

macro_rules! msrs {
    ($($(#[$doc:meta])* $name:ident = $value:literal,)*) => { $($(#[$doc])* pub const $name: u32 = $value;)* };
}

msrs! {
    /// What runs in the partition; 0 disables the hypercall page.
    GUEST_OS_ID = 0x4000_0000,
    /// 0 enable, 1 locked, `[63:12]` page of the hypercall page.
    HYPERCALL = 0x4000_0001,
    /// Index of the VP.
    VP_INDEX = 0x4000_0002,
    /// Reset of the partition.
    RESET = 0x4000_0003,
    /// Time the VP ran, 100 ns.
    VP_RUNTIME = 0x4000_0010,
    /// Time since the partition was made, 100 ns.
    TIME_REF_COUNT = 0x4000_0020,
    /// Reference TSC page.
    REFERENCE_TSC = 0x4000_0021,
    /// TSC frequency, Hz.
    TSC_FREQUENCY = 0x4000_0022,
    /// Local APIC timer frequency, Hz.
    APIC_FREQUENCY = 0x4000_0023,
    /// EOI of the local APIC.
    EOI = 0x4000_0070,
    /// ICR of the local APIC.
    ICR = 0x4000_0071,
    /// TPR of the local APIC.
    TPR = 0x4000_0072,
    /// VP assist page.
    VP_ASSIST_PAGE = 0x4000_0073,
    /// 0: SynIC enabled.
    SCONTROL = 0x4000_0080,
    /// Version of the SynIC: 1.
    SVERSION = 0x4000_0081,
    /// 0 enable, `[63:12]` page of the event flags.
    SIEFP = 0x4000_0082,
    /// 0 enable, `[63:12]` page of the messages.
    SIMP = 0x4000_0083,
    /// End of message: written after a slot is emptied.
    EOM = 0x4000_0084,
    /// `[7:0]` vector, 16 masked, 17 automatic EOI. SINT1 to SINT15 follow.
    SINT0 = 0x4000_0090,
    /// The last SINT.
    SINT15 = 0x4000_009f,
}
