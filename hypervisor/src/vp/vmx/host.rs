//! What one LP and the whole machine need for VMX, whichever VP runs.

use address::Spa;
use guest::vmx::features::feature_control;
use guest::vmx::{Features, permission};
use spin::Once;
use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags};

use super::instruction;
use crate::cpu::msr;
use crate::vp::cpuid;

/// The region that VMXON wants.
pub const HOST_FRAMES: usize = 1;
/// Tags that VPID tells apart, the host's included.
pub const TAGS: u32 = 1 << 16;

const FEATURE_CONTROL: u32 = 0x3a;

static FEATURES: Once<Features> = Once::new();

/// A permission map, in the hypervisor's image, where no guest reaches it.
#[repr(C, align(4096))]
struct Map([u8; permission::MSR_BYTES]);

static MSR_PERMISSIONS: Map = Map(permission::MSR);
static SERVED_MSR_PERMISSIONS: Map = Map(permission::MSR_SERVED);

/// Where the MSR permission map is; `served`: that of guests whose interrupts the processor serves.
pub fn msr_permissions(served: bool) -> Spa {
    let map = if served {
        &raw const SERVED_MSR_PERMISSIONS
    } else {
        &raw const MSR_PERMISSIONS
    };
    crate::memory::physical_of(map)
}

pub fn check() -> Result<(), &'static str> {
    let features = Features::detect(cpuid, msr::read)?;
    feature_control::open(msr::read(FEATURE_CONTROL))?;
    FEATURES.call_once(|| features);
    Ok(())
}

/// What [`check`] found; nothing before that.
pub fn features() -> Features {
    FEATURES.get().copied().unwrap_or_default()
}

pub fn enable(region: Spa) -> Result<(), &'static str> {
    if let Some(value) = feature_control::open(msr::read(FEATURE_CONTROL))? {
        // SAFETY: the register is not locked, and the value allows VMX.
        unsafe { msr::write(FEATURE_CONTROL, value) };
    }
    // SAFETY: `check` found VMX, which wants NE and VMXE; the hypervisor uses no x87 instruction itself.
    unsafe {
        Cr0::update(|cr0| cr0.insert(Cr0Flags::NUMERIC_ERROR));
        Cr4::update(|cr4| cr4.insert(Cr4Flags::VIRTUAL_MACHINE_EXTENSIONS));
    }
    let revision = features().revision.to_le_bytes();
    // SAFETY: VMXE is set, the frame is this LP's for ever.
    if crate::memory::copy_out(region, &revision) && unsafe { instruction::vmxon(region) } {
        Ok(())
    } else {
        Err("VMXON is refused")
    }
}

/// Whether a guest is left by itself at its LP's deadline.
pub fn has_timer() -> bool {
    features().timer_shift.is_some()
}

/// Whether a guest takes posted interrupts by itself.
pub fn takes_posts() -> bool {
    features().takes_posts
}
