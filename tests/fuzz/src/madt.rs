//! FW-01: the MADT.

use firmware::madt::{Madt, SIGNATURE};

use crate::sealed::sealed;

/// Walks the bytes as they are, and with a sound header.
pub fn run(data: &[u8]) {
    walk(data);
    walk(&sealed(data, SIGNATURE.0));
}

fn walk(data: &[u8]) {
    let Ok(madt) = Madt::parse(data) else {
        return;
    };
    let _ = (madt.local_apic_address(), madt.has_8259());
    let entries = madt.entries().count();
    assert!(entries <= data.len() / 2 + 1);
    let errors = madt.entries().filter(Result::is_err).count();
    assert!(errors <= 1, "a walk goes on after an error");
    for processor in madt.processors().flatten() {
        assert!(processor.enabled || processor.online_capable);
    }
    for io_apic in madt.io_apics().flatten() {
        assert_ne!(io_apic.address.as_u64(), 0);
    }
    let _ = madt.source_overrides().count();
}
