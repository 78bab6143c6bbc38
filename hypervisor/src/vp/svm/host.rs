//! What one LP and the whole machine need for SVM, whichever VP runs.

use address::{PAGE_SIZE, Spa};
use guest::svm::{Features, permission};
use guest::xstate::{MAX_BYTES, Xstate};
use spin::Once;
use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags};
use x86_64::registers::model_specific::{Efer, EferFlags, Msr};

use super::entry;

/// The processor's own save area, and the one for VMSAVE.
pub const HOST_FRAMES: usize = 2;

const VM_CR: u32 = 0xc001_0114;
const VM_CR_SVM_DISABLED: u64 = 1 << 4;
const VM_HSAVE_PA: u32 = 0xc001_0117;

/// What this processor has, found once at boot.
#[derive(Clone, Copy)]
pub struct Processor {
    pub features: Features,
    pub xstate: Xstate,
    pub rdtscp: bool,
}

static PROCESSOR: Once<Processor> = Once::new();

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

/// The processor's answer to CPUID.
#[inline]
pub fn cpuid(leaf: u32, subleaf: u32) -> [u32; 4] {
    let answer = raw_cpuid::native_cpuid::cpuid_count(leaf, subleaf);
    [answer.eax, answer.ebx, answer.ecx, answer.edx]
}

pub fn check() -> Result<(), &'static str> {
    const RDTSCP: u32 = 1 << 27;
    let features = Features::detect(cpuid)?;
    // SAFETY: the MSR exists where SVM does.
    if unsafe { Msr::new(VM_CR).read() } & VM_CR_SVM_DISABLED != 0 {
        return Err("AMD SVM is turned off by the firmware's set-up");
    }
    let xstate = Xstate::supported(cpuid);
    if xstate.bytes > MAX_BYTES {
        return Err("the processor's extended state does not fit a frame");
    }
    let rdtscp = cpuid(0x8000_0001, 0)[3] & RDTSCP != 0;
    PROCESSOR.call_once(|| Processor {
        features,
        xstate,
        rdtscp,
    });
    Ok(())
}

/// What [`check`] found; nothing before that.
pub fn processor() -> Processor {
    let none = Processor {
        features: Features::default(),
        xstate: Xstate {
            offered: 1,
            switched: 1,
            bytes: 576,
        },
        rdtscp: false,
    };
    PROCESSOR.get().copied().unwrap_or(none)
}

pub fn tags() -> u32 {
    processor().features.asids
}

pub fn enable(frames: Spa) {
    // SAFETY: `check` found SVM and XSAVE. Saving extended state needs CR4.OSXSAVE, and TS and EM clear; nothing else in the
    // hypervisor uses that state.
    unsafe {
        Cr0::update(|cr0| cr0.remove(Cr0Flags::TASK_SWITCHED | Cr0Flags::EMULATE_COPROCESSOR));
        Cr4::update(|cr4| cr4.insert(Cr4Flags::OSXSAVE | Cr4Flags::OSFXSR));
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
