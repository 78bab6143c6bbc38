//! Intel SDM volume 3, appendix A: VMX capabilities.

use super::control::{self, Capability};
use super::timer;

/// Indices of the MSRs that say what VMX offers.
#[allow(missing_docs)]
pub mod msr {
    pub const BASIC: u32 = 0x480;
    pub const MISC: u32 = 0x485;
    pub const CR0_FIXED_0: u32 = 0x486;
    pub const CR4_FIXED_0: u32 = 0x488;
    pub const CR4_FIXED_1: u32 = 0x489;
    pub const SECONDARY: u32 = 0x48b;
    pub const EPT_VPID: u32 = 0x48c;
    pub const TRUE_PIN: u32 = 0x48d;
    pub const TRUE_PRIMARY: u32 = 0x48e;
    pub const TRUE_EXIT: u32 = 0x48f;
    pub const TRUE_ENTRY: u32 = 0x490;
}

/// The values of the control fields, and what else of VMX the hypervisor has to know.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Features {
    /// Revision identifier, the first word of every control structure.
    pub revision: u32,
    /// Pin-based controls.
    pub pin: u32,
    /// Primary processor-based controls.
    pub primary: u32,
    /// Secondary processor-based controls.
    pub secondary: u32,
    /// Exit controls.
    pub exit: u32,
    /// Entry controls.
    pub entry: u32,
    /// INVEPT can name one table; it can name all otherwise.
    pub invept_single: bool,
    /// INVVPID can name one tag; it can name all otherwise.
    pub invvpid_single: bool,
    /// The processor can serve an x2APIC's interrupts.
    pub serves: bool,
    /// And it can take them from where others post them.
    pub takes_posts: bool,
    /// Bits of the TSC that a tick of the preemption timer stands for; `None`: there is no such timer.
    pub timer_shift: Option<u8>,
    /// Bits that the processor allows in CR4.
    pub cr4_allowed: u64,
}

/// IA32_FEATURE_CONTROL (SDM volume 3, "discovering support for VMX" and "enabling and entering VMX operation").
pub mod feature_control {
    const LOCKED: u64 = 1 << 0;
    const VMX_OUTSIDE_SMX: u64 = 1 << 2;

    /// What to write before VMXON: `None` where it is as it has to be.
    ///
    /// # Errors
    /// A sentence, where firmware locked VMX off.
    pub const fn open(value: u64) -> Result<Option<u64>, &'static str> {
        match (value & LOCKED != 0, value & VMX_OUTSIDE_SMX != 0) {
            (true, true) => Ok(None),
            (true, false) => Err("Intel VMX is turned off by the firmware's set-up"),
            (false, _) => Ok(Some(value | LOCKED | VMX_OUTSIDE_SMX)),
        }
    }
}

/// CR0.PE, NE and PG: the only bits that VMX may insist on.
const CR0_FIXED: u64 = 1 << 0 | 1 << 5 | 1 << 31;
/// CR4.VMXE: the same.
const CR4_FIXED: u64 = 1 << 13;

impl Features {
    /// What the processor says. `cpuid` answers (leaf, sub-leaf), `read` a capability MSR.
    ///
    /// # Errors
    /// A sentence, where something is missing that the hypervisor cannot do without.
    pub fn detect(
        cpuid: impl Fn(u32, u32) -> [u32; 4],
        read: impl Fn(u32) -> u64,
    ) -> Result<Self, &'static str> {
        const VMX: u32 = 1 << 5;
        const XSAVE: u32 = 1 << 26;
        const X2APIC: u32 = 1 << 21;
        let basic = cpuid(1, 0)[2];
        if basic & VMX == 0 {
            return Err("the processor has no Intel VMX");
        }
        if basic & XSAVE == 0 {
            return Err("the processor has no XSAVE");
        }
        if basic & X2APIC == 0 {
            return Err("the processor has no x2APIC");
        }
        let vmx = read(msr::BASIC);
        if vmx >> 55 & 1 == 0 {
            return Err("VMX without true controls");
        }
        let capability = |index| Capability(read(index));
        let primary = control::primary(capability(msr::TRUE_PRIMARY))?;
        let secondary = control::secondary(capability(msr::SECONDARY))?;
        let (invept_single, invvpid_single) = invalidation(read(msr::EPT_VPID))?;
        let shift = timer::shift(cpuid(1, 0)[0], read(msr::MISC));
        let pin = control::pin(capability(msr::TRUE_PIN), shift.is_some())?;
        fixed_bits(read(msr::CR0_FIXED_0), read(msr::CR4_FIXED_0))?;
        let serves = capability(msr::SECONDARY).allows(control::secondary::SERVE);
        let posts = capability(msr::TRUE_PIN).allows(control::pin::POSTED);
        Ok(Self {
            revision: vmx as u32 & 0x7fff_ffff,
            pin,
            primary,
            secondary,
            exit: control::exit(capability(msr::TRUE_EXIT))?,
            entry: control::entry(capability(msr::TRUE_ENTRY))?,
            invept_single,
            invvpid_single,
            serves,
            takes_posts: serves && posts,
            timer_shift: shift.filter(|_| pin & control::pin::PREEMPTION_TIMER != 0),
            cr4_allowed: read(msr::CR4_FIXED_1),
        })
    }
}

/// Whether INVEPT and INVVPID can name one context.
const fn invalidation(ept_vpid: u64) -> Result<(bool, bool), &'static str> {
    const NEEDED: [(u32, &str); 6] = [
        (6, "EPT without tables of four levels"),
        (14, "EPT without write-back tables"),
        (16, "EPT without 2 MiB pages"),
        (17, "EPT without 1 GiB pages"),
        (20, "EPT without INVEPT"),
        (32, "VPID without INVVPID"),
    ];
    let mut i = 0;
    while i < NEEDED.len() {
        if ept_vpid >> NEEDED[i].0 & 1 == 0 {
            return Err(NEEDED[i].1);
        }
        i += 1;
    }
    let (ept_one, ept_all) = (ept_vpid >> 25 & 1 != 0, ept_vpid >> 26 & 1 != 0);
    let (vpid_one, vpid_all) = (ept_vpid >> 41 & 1 != 0, ept_vpid >> 42 & 1 != 0);
    if !ept_one && !ept_all {
        return Err("INVEPT without a type");
    }
    if !vpid_one && !vpid_all {
        return Err("INVVPID without a type");
    }
    Ok((ept_one, vpid_one))
}

const fn fixed_bits(cr0: u64, cr4: u64) -> Result<(), &'static str> {
    if cr0 & !CR0_FIXED != 0 || cr4 & !CR4_FIXED != 0 {
        return Err("VMX that insists on unknown control-register bits");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpuid(leaf: u32, _: u32) -> [u32; 4] {
        if leaf == 1 {
            [0, 0, 1 << 5 | 1 << 26 | 1 << 21, 0]
        } else {
            [0; 4]
        }
    }

    fn skylake(index: u32) -> u64 {
        match index {
            msr::BASIC => 0x00da_0400_0000_0012,
            msr::MISC => 0x7004_c1e5,
            msr::CR0_FIXED_0 => 0x8000_0021,
            msr::CR4_FIXED_0 => 0x2000,
            msr::CR4_FIXED_1 => 0x0037_67ff,
            msr::SECONDARY => 0x0257_7fff_0000_0000,
            msr::EPT_VPID => 0x0000_0f01_0633_4141,
            msr::TRUE_PIN => 0x0000_00ff_0000_0016,
            msr::TRUE_PRIMARY => 0xfff9_fffe_0400_6172,
            msr::TRUE_EXIT => 0x01ff_ffff_0003_6dfb,
            msr::TRUE_ENTRY => 0x0003_ffff_0000_11fb,
            _ => 0,
        }
    }

    #[test]
    fn a_skylake_has_all() {
        let Ok(features) = Features::detect(cpuid, skylake) else {
            panic!("all is there");
        };
        assert_eq!((features.revision, features.pin), (0x12, 0x7f));
        assert_eq!(features.timer_shift, Some(5));
        assert!(features.serves && features.takes_posts);
        assert!(features.invept_single && features.invvpid_single);
    }

    #[test]
    fn what_is_missing_is_said() {
        assert_eq!(
            Features::detect(|_, _| [0; 4], skylake),
            Err("the processor has no Intel VMX")
        );
        let without = |gone: u32, mask: u64| {
            Features::detect(cpuid, move |index| {
                skylake(index) & !(if index == gone { mask } else { 0 })
            })
        };
        assert!(without(msr::BASIC, 1 << 55).is_err());
        assert!(without(msr::EPT_VPID, 1 << 20).is_err_and(|s| s.contains("INVEPT")));
        assert!(without(msr::EPT_VPID, 1 << 17).is_err_and(|s| s.contains("1 GiB")));
        assert!(without(msr::EPT_VPID, 3 << 41).is_err_and(|s| s.contains("INVVPID")));
        assert!(without(msr::SECONDARY, 1 << (32 + 7)).is_err_and(|s| s.contains("unrestricted")));
        let plain = without(msr::SECONDARY, 1 << (32 + 9)).map(|f| f.serves || f.takes_posts);
        assert_eq!(plain, Ok(false));
        let unposted = without(msr::TRUE_PIN, 1 << (32 + 7)).map(|f| (f.serves, f.takes_posts));
        assert_eq!(unposted, Ok((true, false)));
        let no_timer = without(msr::TRUE_PIN, 1 << (32 + 6)).map(|f| f.timer_shift);
        assert_eq!(no_timer, Ok(None));
        let all_only = without(msr::EPT_VPID, 1 << 25).map(|f| f.invept_single);
        assert_eq!(all_only, Ok(false));
    }

    #[test]
    fn feature_control_is_opened_kept_or_refused() {
        assert_eq!(feature_control::open(0), Ok(Some(5)));
        assert_eq!(feature_control::open(4), Ok(Some(5)));
        assert_eq!(feature_control::open(5), Ok(None));
        assert!(feature_control::open(1).is_err());
    }
}
