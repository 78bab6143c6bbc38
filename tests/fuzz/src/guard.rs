//! CFG-03, CFG-07: writes of a hostile root against the configuration-space guard.

use topology::guard::{Holder, Message, Window, World, Write, check};
use topology::{BusRange, discover};

use crate::machine::Machine;

const NIC: u16 = 0x18;
const HOLDERS: [Holder; 4] = [
    Holder::Root,
    Holder::Child,
    Holder::Blocked,
    Holder::NeedsReset,
];
const WINDOW: Window = Window {
    memory: true,
    first: 0xfe00_0000,
    last: 0xfebf_ffff,
};

/// Each eight bytes are one write: holder, size, offset, value. No sequence may move a bit that is nobody's.
pub fn run(data: &[u8]) {
    let mut machine = nic();
    let buses = BusRange {
        segment: 0,
        first: 0,
        last: 0,
    };
    let mut topology = discover(&mut machine, [buses], None);
    let before = machine.clone();
    let (writes, _) = data.as_chunks::<8>();
    for &[holder, size, o0, o1, v0, v1, v2, v3] in writes {
        let world = World {
            functions: &topology.functions,
            windows: &[WINDOW],
            kept: &[],
            allowed_messages: &[Message {
                address: 0xfee0_0018,
                data: 0,
            }],
        };
        let offset = u16::from_le_bytes([o0, o1]);
        let value = u32::from_le_bytes([v0, v1, v2, v3]);
        let write = Write::new(offset, size & 7, value);
        let holder = HOLDERS[usize::from(holder & 3)];
        let Ok((write, admitted)) = write.and_then(|write| {
            check(&world, 0, holder, write, |at| machine.get(NIC, at)).map(|a| (write, a))
        }) else {
            continue;
        };
        apply(&mut machine, write, offset, size & 7, admitted.value);
        if let Some((bar, address)) = admitted.moved {
            topology.note_bar(0, bar, address);
        }
    }
    judge(&before, &machine);
}

fn apply(machine: &mut Machine, write: Write, offset: u16, size: u8, value: u32) {
    let shift = u32::from(offset & 3) * 8;
    let covered = u32::MAX >> (32 - u32::from(size) * 8) << shift;
    let old = machine.get(NIC, write.dword());
    machine.set(
        NIC,
        write.dword(),
        old & !covered | value << shift & covered,
    );
}

fn judge(before: &Machine, after: &Machine) {
    for at in (0..0x1000).step_by(4) {
        let free = match at {
            0x04 => 0xf900_0403,
            0x10 => 0xffff_c000,
            0x3c => 0xff,
            0x50 => 1 << 16,
            0x54 => !3,
            0x58 => 0xffff,
            _ => 0,
        };
        let moved = before.get(NIC, at) ^ after.get(NIC, at);
        assert_eq!(moved & !free, 0, "register {at:#x}");
    }
    if after.get(NIC, 4) & 2 != 0 {
        let bar = u64::from(after.get(NIC, 0x10));
        assert!(
            WINDOW.first <= bar && bar + 0x3fff <= WINDOW.last,
            "BAR at {bar:#x}"
        );
    }
}

/// A NIC with one BAR of 16 KiB and an MSI capability at 50h.
fn nic() -> Machine {
    let mut machine = Machine::default();
    for (offset, value) in [
        (0x00, 0x10c9_8086),
        (0x04, 0x0010_0000),
        (0x08, 0x0200_0001),
        (0x10, 0xfeb0_0000),
        (0x34, 0x50),
        (0x50, 0x0000_0005),
    ] {
        machine.set(NIC, offset, value);
    }
    machine
}
