//! What one LP and the whole machine need for SVM, whichever VP runs.

use address::{PAGE_SIZE, Spa};
use guest::svm::{Features, Limits, permission};
use spin::Once;
use x86_64::registers::model_specific::{Efer, EferFlags, Msr};

use super::entry;
use crate::vp::cpuid;

/// The processor's own save area, and the one for VMSAVE.
pub const HOST_FRAMES: usize = 2;

const VM_CR: u32 = 0xc001_0114;
const VM_CR_SVM_DISABLED: u64 = 1 << 4;
const VM_HSAVE_PA: u32 = 0xc001_0117;

static FEATURES: Once<Features> = Once::new();
static LIMITS: Once<Limits> = Once::new();

/// A permission map, in the hypervisor's image, where no guest reaches it.
#[repr(C, align(4096))]
struct Map<const N: usize>([u8; N]);

static IO_PERMISSIONS: Map<{ permission::IO_BYTES }> = Map(permission::IO);
static MSR_PERMISSIONS: Map<{ permission::MSR_BYTES }> = Map(permission::MSR);

/// Where the I/O permission map is.
pub fn io_permissions() -> Spa {
    crate::memory::physical_of(&raw const IO_PERMISSIONS)
}

/// Where the MSR permission map is.
pub fn msr_permissions() -> Spa {
    crate::memory::physical_of(&raw const MSR_PERMISSIONS)
}

pub fn check() -> Result<(), &'static str> {
    let features = Features::detect(cpuid)?;
    // SAFETY: the MSR exists where SVM does.
    if unsafe { Msr::new(VM_CR).read() } & VM_CR_SVM_DISABLED != 0 {
        return Err("AMD SVM is turned off by the firmware's set-up");
    }
    FEATURES.call_once(|| features);
    LIMITS.call_once(|| Limits::detect(cpuid));
    Ok(())
}

/// What [`check`] found; nothing before that.
pub fn features() -> Features {
    FEATURES.get().copied().unwrap_or_default()
}

/// What [`check`] found that VMRUN takes; nothing before that.
pub fn limits() -> Limits {
    LIMITS.get().copied().unwrap_or_default()
}

pub fn tags() -> u32 {
    features().asids
}

pub fn enable(frames: Spa) {
    // SAFETY: `check` found SVM.
    unsafe {
        Efer::update(|efer| efer.insert(EferFlags::SECURE_VIRTUAL_MACHINE_ENABLE));
        Msr::new(VM_HSAVE_PA).write(frames.as_u64());
    }
}

/// SPA of this LP's VMSAVE area, with its present state.
pub fn refresh_area() -> u64 {
    // SAFETY: `enable` has run on this LP.
    let area = unsafe { Msr::new(VM_HSAVE_PA).read() } + PAGE_SIZE;
    // SAFETY: the second of the frames that `enable` was given.
    unsafe { entry::save_host(area) };
    area
}
