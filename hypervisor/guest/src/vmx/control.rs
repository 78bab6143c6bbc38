//! Intel SDM volume 3, chapter "Virtual Machine Control Structures": the control fields; appendix A: which of their bits
//! the processor lets one choose.

/// What the processor allows in one control field: `[31:0]` bits that must be set, `[63:32]` bits that may be set.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(transparent)]
pub struct Capability(pub u64);

/// A bit that a field must have, and its name.
pub type Named = (u32, &'static str);

impl Capability {
    const fn must(self) -> u32 {
        self.0 as u32
    }

    const fn may(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Whether all of these bits may be set.
    #[must_use]
    pub const fn allows(self, bits: u32) -> bool {
        self.may() & bits == bits
    }

    /// The field's value: every required bit, what is `wanted` where it may be, and what the processor insists on.
    ///
    /// # Errors
    /// The sentence of a required bit that may not be set, or of a forbidden one that must be.
    pub const fn adjust(
        self,
        required: &[Named],
        wanted: u32,
        forbidden: &[Named],
    ) -> Result<u32, &'static str> {
        let mut value = self.must() | wanted & self.may();
        let mut i = 0;
        while i < required.len() {
            if !self.allows(required[i].0) {
                return Err(required[i].1);
            }
            value |= required[i].0;
            i += 1;
        }
        i = 0;
        while i < forbidden.len() {
            if value & forbidden[i].0 != 0 {
                return Err(forbidden[i].1);
            }
            i += 1;
        }
        Ok(value)
    }
}

/// Bits of the primary processor-based controls.
pub mod primary {
    /// Leave as soon as the guest can take an interrupt.
    pub const INTERRUPT_WINDOW: u32 = 1 << 2;
    /// HLT leaves.
    pub const HLT: u32 = 1 << 7;
    /// RDPMC leaves.
    pub const RDPMC: u32 = 1 << 11;
    /// MWAIT leaves.
    pub const MWAIT: u32 = 1 << 10;
    /// MOV to CR3 leaves.
    pub const CR3_LOAD: u32 = 1 << 15;
    /// MOV from CR3 leaves.
    pub const CR3_STORE: u32 = 1 << 16;
    /// CR8 is the virtual APIC page's task priority.
    pub const TPR_SHADOW: u32 = 1 << 21;
    /// Leave as soon as the guest can take an NMI.
    pub const NMI_WINDOW: u32 = 1 << 22;
    /// Every port leaves.
    pub const UNCONDITIONAL_IO: u32 = 1 << 24;
    /// MSRs leave as the bitmap says.
    pub const MSR_BITMAP: u32 = 1 << 28;
    /// MONITOR leaves.
    pub const MONITOR: u32 = 1 << 29;
    /// There are secondary controls.
    pub const SECONDARY: u32 = 1 << 31;
}

/// Bits of the secondary processor-based controls.
pub mod secondary {
    /// Extended page tables.
    pub const EPT: u32 = 1 << 1;
    /// The guest has RDTSCP and RDPID.
    pub const RDTSCP: u32 = 1 << 3;
    /// MSRs 800h to 8FFh are registers of the virtual APIC page.
    pub const VIRTUALIZE_X2APIC: u32 = 1 << 4;
    /// Translations are tagged with a name.
    pub const VPID: u32 = 1 << 5;
    /// WBINVD leaves.
    pub const WBINVD: u32 = 1 << 6;
    /// The guest may run without paging and in real mode.
    pub const UNRESTRICTED_GUEST: u32 = 1 << 7;
    /// Reads of APIC registers are answered from the virtual APIC page.
    pub const APIC_REGISTERS: u32 = 1 << 8;
    /// The processor delivers interrupts and ends services.
    pub const VIRTUAL_INTERRUPTS: u32 = 1 << 9;
    /// Together: the processor serves an x2APIC's interrupts.
    pub const SERVE: u32 = VIRTUALIZE_X2APIC | APIC_REGISTERS | VIRTUAL_INTERRUPTS;
    /// Too many PAUSE instructions in a loop leave.
    pub const PAUSE_LOOP: u32 = 1 << 10;
    /// The guest has INVPCID.
    pub const INVPCID: u32 = 1 << 12;
    /// ENCLS leaves as the bitmap says.
    pub const ENCLS: u32 = 1 << 15;
}

/// Bit of the entry controls: the guest is in IA-32e mode.
pub const ENTRY_LONG_MODE: u32 = 1 << 9;

/// Bits of the pin-based controls.
pub mod pin {
    /// Leave when the timer has run down.
    pub const PREEMPTION_TIMER: u32 = 1 << 6;
    /// Take posted interrupts without an exit.
    pub const POSTED: u32 = 1 << 7;
}

/// Exceptions that leave the guest, a bit for each vector. #DB: a breakpoint on its own delivery would never end
/// (CVE-2015-8104); #AC: the same for an unaligned stack (CVE-2015-5307); #MC is the machine's, not the guest's.
pub const EXCEPTIONS: u32 = 1 << 1 | 1 << 17 | 1 << 18;

/// Pin-based controls: interrupts and NMIs leave, and the processor keeps track of the guest's own NMIs; `timer`: the
/// preemption timer is wanted.
///
/// # Errors
/// The name of what the processor lacks; so with all fields.
pub const fn pin(capability: Capability, timer: bool) -> Result<u32, &'static str> {
    let required = [
        (1 << 0, "VMX without external-interrupt exiting"),
        (1 << 3, "VMX without NMI exiting"),
        (1 << 5, "VMX without virtual NMIs"),
    ];
    let posted = (pin::POSTED, "VMX that insists on posted interrupts");
    if timer {
        return capability.adjust(&required, pin::PREEMPTION_TIMER, &[posted]);
    }
    let insists = (
        pin::PREEMPTION_TIMER,
        "VMX that insists on its preemption timer",
    );
    capability.adjust(&required, 0, &[insists, posted])
}

/// Primary processor-based controls.
///
/// # Errors
/// As [`pin`].
pub const fn primary(capability: Capability) -> Result<u32, &'static str> {
    use primary as p;
    let required = [
        (p::HLT, "VMX without HLT exiting"),
        (p::MWAIT, "VMX without MWAIT exiting"),
        (p::RDPMC, "VMX without RDPMC exiting"),
        (p::TPR_SHADOW, "VMX without a TPR shadow"),
        (p::UNCONDITIONAL_IO, "VMX without unconditional I/O exiting"),
        (p::MSR_BITMAP, "VMX without MSR bitmaps"),
        (p::MONITOR, "VMX without MONITOR exiting"),
        (p::SECONDARY, "VMX without secondary controls"),
    ];
    let forbidden = [
        (p::CR3_LOAD, "VMX that insists on CR3-load exiting"),
        (p::CR3_STORE, "VMX that insists on CR3-store exiting"),
    ];
    let windows = [
        (p::INTERRUPT_WINDOW, "VMX without interrupt windows"),
        (p::NMI_WINDOW, "VMX without NMI windows"),
    ];
    // Windows are opened when they are wanted; here it only counts that they can be.
    if let Err(sentence) = capability.adjust(&windows, 0, &[]) {
        return Err(sentence);
    }
    capability.adjust(&required, 0, &forbidden)
}

/// Secondary processor-based controls.
///
/// # Errors
/// As [`pin`].
pub const fn secondary(capability: Capability) -> Result<u32, &'static str> {
    use secondary as s;
    let required = [
        (s::EPT, "VMX without extended page tables (EPT)"),
        (s::VPID, "VMX without virtual-processor identifiers (VPID)"),
        (s::WBINVD, "VMX without WBINVD exiting"),
        (s::UNRESTRICTED_GUEST, "VMX without unrestricted guest"),
    ];
    let wanted = s::RDTSCP | s::PAUSE_LOOP | s::INVPCID | s::ENCLS;
    capability.adjust(&required, wanted, &[])
}

/// Exit controls: to 64-bit mode, the interrupt acknowledged, DR7, PAT and EFER switched.
///
/// # Errors
/// As [`pin`].
pub const fn exit(capability: Capability) -> Result<u32, &'static str> {
    let required = [
        (1 << 2, "VMX that does not save debug controls"),
        (1 << 9, "VMX without 64-bit hosts"),
        (1 << 15, "VMX that does not acknowledge interrupts on exit"),
        (1 << 18, "VMX that does not save IA32_PAT"),
        (1 << 19, "VMX that does not load IA32_PAT at exits"),
        (1 << 20, "VMX that does not save IA32_EFER"),
        (1 << 21, "VMX that does not load IA32_EFER at exits"),
    ];
    capability.adjust(&required, 0, &[])
}

/// Entry controls, with [`ENTRY_LONG_MODE`] clear.
///
/// # Errors
/// As [`pin`].
pub const fn entry(capability: Capability) -> Result<u32, &'static str> {
    let required = [
        (1 << 2, "VMX that does not load debug controls"),
        (1 << 14, "VMX that does not load IA32_PAT at entries"),
        (1 << 15, "VMX that does not load IA32_EFER at entries"),
    ];
    if !capability.allows(ENTRY_LONG_MODE) {
        return Err("VMX without 64-bit guests");
    }
    capability.adjust(&required, 0, &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn offer(must: u32, may: u32) -> Capability {
        Capability(must as u64 | (may as u64) << 32)
    }

    #[test]
    fn what_the_processor_insists_on_is_set_and_nothing_more() {
        // As reported by a Skylake-X.
        assert_eq!(pin(offer(0x16, 0xff), false), Ok(0x3f));
        assert_eq!(pin(offer(0x16, 0xff), true), Ok(0x7f));
        assert_eq!(primary(offer(0x0400_6172, 0xfff9_fffe)), Ok(0xb520_6df2));
        assert_eq!(secondary(offer(0, 0x0257_7fff)), Ok(0x14ea));
        assert_eq!(exit(offer(0x0003_6dfb, 0x01ff_ffff)), Ok(0x003f_effb | 4));
        assert_eq!(entry(offer(0x11fb, 0x3ffff)), Ok(0xd1ff));
    }

    #[test]
    fn cpu_08_09_18_19_what_leaves_every_guest_has_these_raw_values() {
        let anything = Capability(u64::MAX << 32);
        assert_eq!(pin(anything, false), Ok(0x29));
        assert_eq!(primary(anything), Ok(0xb120_0c80));
        // With RDTSCP, INVPCID, PAUSE loops and ENCLS, which guests have or leave by.
        assert_eq!(secondary(anything), Ok(0x94ea));
        assert_eq!(EXCEPTIONS, 0x6_0002);
    }

    #[test]
    fn what_is_missing_is_named() {
        assert!(secondary(offer(0, !secondary::EPT)).is_err_and(|s| s.contains("EPT")));
        assert!(secondary(offer(0, !secondary::VPID)).is_err_and(|s| s.contains("VPID")));
        let unrestricted = secondary(offer(0, !secondary::UNRESTRICTED_GUEST));
        assert!(unrestricted.is_err_and(|s| s.contains("unrestricted")));
        assert!(pin(offer(0, !(1 << 5)), true).is_err_and(|s| s.contains("NMI")));
        assert!(primary(offer(0, !primary::NMI_WINDOW)).is_err());
        assert!(primary(offer(primary::CR3_LOAD, u32::MAX)).is_err_and(|s| s.contains("CR3")));
        assert!(pin(offer(1 << 6, u32::MAX), false).is_err_and(|s| s.contains("timer")));
        assert!(exit(offer(0, !(1 << 15))).is_err());
        assert!(entry(offer(0, !ENTRY_LONG_MODE)).is_err());
    }

    #[test]
    fn what_is_wanted_may_be_missing() {
        let least =
            secondary::EPT | secondary::VPID | secondary::WBINVD | secondary::UNRESTRICTED_GUEST;
        assert_eq!(secondary(offer(0, least)), Ok(least));
        assert_eq!(pin(offer(0, 0x29), true), Ok(0x29));
    }
}
