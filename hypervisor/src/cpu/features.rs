//! What every LP must have, whichever dialect runs its guests; without it the hypervisor stops with a sentence.

use raw_cpuid::{CpuId, CpuIdReaderNative};

/// Checks this LP.
///
/// # Errors
/// A sentence that names what is missing.
pub fn check() -> Result<(), &'static str> {
    let cpuid = CpuId::with_cpuid_reader(CpuIdReaderNative);
    let features = cpuid
        .get_feature_info()
        .ok_or("the processor does not name its features")?;
    if !features.has_x2apic() {
        return Err("this processor has no x2APIC mode, or firmware hides it");
    }
    if !features.has_xsave() {
        return Err("this processor cannot save extended state (XSAVE)");
    }
    Ok(())
}

/// Stops with a sentence where something is missing.
pub fn require(check: Result<(), &'static str>) {
    if let Err(sentence) = check {
        log::error!("cannot start: {sentence}");
        super::halt();
    }
}
