//! FW-05: the IVRS, alone and as what assigns the functions of a machine to units.

use firmware::ivrs::{Entry, Ivrs, SIGNATURE, Structure};
use topology::{BusRange, Remapping, discover};

use crate::machine::{check, two_endpoints};
use crate::sealed::sealed;

/// Walks the bytes as they are, and with a sound header.
pub fn run(data: &[u8]) {
    walk(data);
    walk(&sealed(data, SIGNATURE.0));
}

fn walk(data: &[u8]) {
    let Ok(ivrs) = Ivrs::parse(data) else {
        return;
    };
    assert!(ivrs.structures().count() <= data.len() / 4 + 1);
    for structure in ivrs.structures().flatten() {
        match structure {
            Structure::Ivhd(unit) => {
                let base = unit.base.as_u64();
                assert!(base != 0 && base.checked_add(unit.register_bytes).is_some());
                assert!(unit.devices.clone().count() <= data.len() / 4 + 1);
                for entry in unit.devices.flatten() {
                    if let Entry::Devices { first, last, .. } = entry {
                        assert!(first <= last);
                    }
                }
            }
            Structure::Ivmd(memory) => {
                assert!(memory.first <= memory.last);
                if let Ok((base, bytes)) = memory.range() {
                    assert!(bytes > 0 && base.checked_add(bytes).is_some());
                }
            }
            Structure::Other(_) => {}
        }
    }
    let buses = BusRange {
        segment: 0,
        first: 0,
        last: 2,
    };
    let topology = discover(&mut two_endpoints(), [buses], Remapping::Ivrs(&ivrs));
    check(&topology);
    if ivrs.check().is_err() {
        let nobody = topology
            .functions
            .iter()
            .all(|function| function.unassignable.is_some());
        assert!(nobody, "a device is assignable by a broken table");
    }
}
