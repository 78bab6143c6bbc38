//! What the processor must have; without it the hypervisor stops with a sentence.

use raw_cpuid::{CpuId, CpuIdReaderNative};

use super::msr;

/// Which virtualisation the processor offers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Virtualisation {
    /// AMD SVM with nested paging.
    Svm,
    /// Intel VMX; EPT and what else it needs is the arm's to check.
    Vmx,
}

/// VM_CR (AMD APM volume 2, 15.30.1): bit 4 says that SVM is disabled.
const VM_CR: u32 = 0xc001_0114;
const SVM_DISABLED: u64 = 1 << 4;

/// Checks this LP, or stops.
pub fn check() -> Virtualisation {
    match examine() {
        Ok(found) => found,
        Err(sentence) => {
            log::error!("cannot start: {sentence}");
            super::halt()
        }
    }
}

/// Checks this LP.
///
/// # Errors
/// A sentence that names what is missing.
pub fn examine() -> Result<Virtualisation, &'static str> {
    let cpuid = CpuId::with_cpuid_reader(CpuIdReaderNative);
    let features = cpuid
        .get_feature_info()
        .ok_or("the processor does not name its features")?;
    if !features.has_x2apic() {
        return Err("this processor has no x2APIC mode");
    }
    if features.has_vmx() {
        return Ok(Virtualisation::Vmx);
    }
    let extended = cpuid.get_extended_processor_and_feature_identifiers();
    if !extended.is_some_and(|extended| extended.has_svm()) {
        return Err("this processor has neither SVM nor VMX, or firmware hides it");
    }
    if msr::read(VM_CR) & SVM_DISABLED != 0 {
        return Err("SVM is disabled by firmware; turn it on in its settings");
    }
    if !cpuid
        .get_svm_info()
        .is_some_and(|svm| svm.has_nested_paging())
    {
        return Err("this processor has SVM without nested paging");
    }
    Ok(Virtualisation::Svm)
}
