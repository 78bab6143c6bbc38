//! FW-01 to FW-04: the DMAR, alone and as what assigns the functions of a machine to units.

use firmware::dmar::{Dmar, SIGNATURE, Structure};
use topology::{BusRange, discover};

use crate::machine::{check, two_endpoints};
use crate::sealed::sealed;

/// Walks the bytes as they are, and with a sound header.
pub fn run(data: &[u8]) {
    walk(data);
    walk(&sealed(data, SIGNATURE.0));
}

fn walk(data: &[u8]) {
    let Ok(dmar) = Dmar::parse(data) else {
        return;
    };
    assert!(dmar.structures().count() <= data.len() / 4 + 1);
    for structure in dmar.structures().flatten() {
        let scopes = structure.scopes().into_iter().flatten();
        for scope in scopes.flatten() {
            assert!(scope.path().len() > 0);
            assert!(
                scope
                    .path()
                    .all(|step| step.device < 32 && step.function < 8)
            );
        }
        if let Structure::Rmrr(region) = structure
            && let Ok((base, bytes)) = region.range()
        {
            assert!(bytes > 0 && base.checked_add(bytes).is_some());
        }
    }
    let buses = BusRange {
        segment: 0,
        first: 0,
        last: 2,
    };
    let topology = discover(&mut two_endpoints(), [buses], Some(&dmar));
    check(&topology);
    if dmar.check().is_err() || !dmar.interrupt_remapping() {
        let nobody = topology
            .functions
            .iter()
            .all(|function| function.unassignable.is_some());
        assert!(nobody, "a device is assignable by a broken table");
    }
}
