//! FW-08: the MCFG, and with it the small tables without a walk of their own.

use firmware::fadt::Fadt;
use firmware::hpet::Hpet;
use firmware::mcfg::{Mcfg, SIGNATURE};

use crate::sealed::sealed;

/// Walks the bytes as they are, and with a sound header.
pub fn run(data: &[u8]) {
    walk(data);
    // Overlaps are looked for in pairs: a bound keeps the target fast.
    walk(&sealed(data.get(..4096).unwrap_or(data), SIGNATURE.0));
    let _ = Fadt::parse(&sealed(data, firmware::fadt::SIGNATURE.0));
    if let Ok(hpet) = Hpet::parse(&sealed(data, firmware::hpet::SIGNATURE.0)) {
        assert_ne!(hpet.base.as_u64(), 0);
    }
}

fn walk(data: &[u8]) {
    let Ok(mcfg) = Mcfg::parse(data) else {
        return;
    };
    let segments: Vec<_> = mcfg.segments().flatten().collect();
    for segment in &segments {
        assert!(segment.first_bus <= segment.last_bus);
        assert!(segment.start().checked_add(segment.bytes()).is_some());
    }
    for (index, one) in segments.iter().enumerate() {
        for other in &segments[index + 1..] {
            let same = one.segment == other.segment;
            assert!(!same || one.last_bus < other.first_bus || other.last_bus < one.first_bus);
        }
    }
}
