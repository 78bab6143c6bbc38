//! CFG-08: the walk over a configuration space that lies.

use firmware::dmar::Dmar;
use topology::{BusRange, discover};

use crate::machine::{Machine, check};
use crate::sealed::sealed;

/// Walks a machine made of the bytes, behind one unit that covers everything.
pub fn run(data: &[u8]) {
    let mut machine = Machine::from_bytes(data);
    let mut table = vec![0; 48];
    table[37] = 1;
    table.extend([0, 0, 16, 0, 1, 0, 0, 0, 0, 0, 0xd9, 0xfe, 0, 0, 0, 0]);
    let table = sealed(&table, *b"DMAR");
    let dmar = Dmar::parse(&table).expect("a sound table");
    // Eight buses hold every shape of tree; empty ones only cost time.
    let buses = BusRange {
        segment: 0,
        first: 0,
        last: 7,
    };
    check(&discover(&mut machine, [buses], Some(&dmar)));
}
