use super::*;
use crate::testing::{Machine, Space, bridge, device};
use crate::{BusRange, Topology, discover};
use address::DeviceId;
use proptest::prelude::*;
extern crate std;
use std::vec::Vec;

const NIC: DeviceId = match DeviceId::new(0, 0, 3, 0) {
    Some(id) => id,
    None => panic!("not a device"),
};
const OTHER: DeviceId = match DeviceId::new(0, 0, 4, 0) {
    Some(id) => id,
    None => panic!("not a device"),
};
const WINDOWS: [Window; 2] = [
    Window {
        memory: true,
        first: 0xfe00_0000,
        last: 0xfebf_ffff,
    },
    Window {
        memory: true,
        first: 0x80_0000_0000,
        last: 0x80_ffff_ffff,
    },
];
const KEPT: [Window; 1] = [Window {
    memory: true,
    first: 0xfeb8_0800,
    last: 0xfeb8_0fff,
}];
const HANDED_OUT: Message = Message {
    address: 0xfee0_0018,
    data: 0,
};
const HOLDERS: [Holder; 4] = [
    Holder::Root,
    Holder::Child,
    Holder::Blocked,
    Holder::NeedsReset,
];

/// A NIC with every capability that the guard knows: MSI at 50h, PCI Express at 70h, MSI-X at B0h, power at C8h.
fn nic() -> Space {
    let mut space = device(0x8086, 0x10c9);
    space.bar(0, 0xfeb0_0000, 0x4000);
    space.wide_bar(2, 0x80_0000_0000, 0x10_0000);
    space.capability(0x50, 5, &[0x80, 1]);
    space.pcie(0, true);
    space.capability(0xb0, 0x11, &[9, 0, 0, 0, 0, 0, 0, 0x20, 0, 0]);
    space.capability(0xc8, 1, &[3, 0, 0, 0, 0, 0]);
    space.acs(0x1d);
    space.extended(0x140, 0x0f, &[0; 4]);
    space.extended(0x150, 0x13, &[0; 12]);
    space.extended(0x160, 0x10, &[0; 60]);
    space.extended(0x1a0, 0x1b, &[0; 4]);
    space
}

fn machine() -> (Machine, Topology) {
    let mut other = device(1, 2);
    other.bar(0, 0xfeb4_0000, 0x800);
    let mut machine = Machine::new()
        .with(NIC, nic())
        .with(OTHER, other)
        .with(DeviceId::new(0, 0, 5, 0).unwrap(), bridge(1, 1));
    let topology = discover(&mut machine, [BusRange::LEGACY], None);
    (machine, topology)
}

fn attempt(
    machine: &Machine,
    topology: &Topology,
    index: usize,
    holder: Holder,
    (offset, size, value): (u16, u8, u32),
) -> Result<Admitted, Refusal> {
    let space = &machine.spaces[&topology.functions[index].id];
    let world = World {
        functions: &topology.functions,
        windows: &WINDOWS,
        kept: &KEPT,
        allowed_messages: &[HANDED_OUT],
    };
    check(
        &world,
        index,
        holder,
        Write::new(offset, size, value)?,
        |at| space.get32(at),
    )
}

/// One write to the NIC as the walk left it, decoding as given.
fn one(holder: Holder, decode: u16, write: (u16, u8, u32)) -> Result<u32, Refusal> {
    let (mut machine, topology) = machine();
    machine.space(NIC).set16(4, decode);
    attempt(&machine, &topology, 0, holder, write).map(|admitted| admitted.value)
}

#[test]
fn cfg_09_writes_that_straddle_or_have_no_shape_are_refused() {
    for (offset, size) in [
        (1, 2),
        (2, 4),
        (3, 4),
        (4, 8),
        (4, 0),
        (4, 3),
        (0x1000, 4),
        (0xfffe, 2),
    ] {
        assert_eq!(Write::new(offset, size, 0), Err(Refusal::Shape));
    }
    assert!(Write::new(0xfff, 1, 0).is_ok());
}

#[test]
fn cfg_02_bus_mastering_is_never_the_roots() {
    for holder in [Holder::Root, Holder::Blocked, Holder::NeedsReset] {
        assert_eq!(one(holder, 0, (4, 2, 0x407)), Ok(0x403));
        // Nor does the root clear what the hypervisor set.
        assert_eq!(one(holder, 4, (4, 2, 0)), Ok(4));
        assert_eq!(one(holder, 4, (4, 1, 2)), Ok(6));
    }
    assert_eq!(one(Holder::Child, 0, (4, 2, 7)), Err(Refusal::HeldByChild));
}

#[test]
fn cfg_07_each_capability_has_its_answer() {
    use Refusal::*;
    // Offset, size, value; the answer to root, child, blocked.
    let fine = |value| [Ok(value); 3];
    type Answers = [Result<u32, Refusal>; 3];
    let table: [((u16, u8, u32), Answers); 26] = [
        ((0x00, 4, 0), [Err(NotWritable); 3]),
        (
            (0x06, 2, 0xffff),
            [Ok(0xf910), Err(HeldByChild), Ok(0xf910)],
        ),
        ((0x0c, 4, 0), [Err(NotWritable); 3]),
        ((0x28, 4, 0), [Err(NotWritable); 3]),
        ((0x30, 4, 1), [Err(NotWritable); 3]),
        ((0x34, 1, 0), [Err(NotWritable); 3]),
        ((0x3c, 1, 11), [Ok(11), Err(HeldByChild), Ok(11)]),
        (
            (0x3d, 1, 1),
            [Err(NotWritable), Err(HeldByChild), Err(NotWritable)],
        ),
        ((0x52, 2, 0x70), fine(0x180)),
        (
            (0x54, 4, 0xfee0_0018),
            [Ok(0xfee0_0018), Ok(0xfee0_0018), Err(Blocked)],
        ),
        (
            (0x54, 4, 0xfee0_0000),
            [Err(Message), Err(Message), Err(Blocked)],
        ),
        ((0x58, 4, 1), [Err(Message), Err(Message), Err(Blocked)]),
        ((0x5c, 2, 0x400), [Err(Message), Err(Message), Err(Blocked)]),
        ((0x60, 4, 1), [Ok(1), Ok(1), Err(Blocked)]),
        ((0x64, 4, 1), [Err(NotWritable); 3]),
        (
            (0x78, 2, 0xffff),
            [Err(NotBlocked), Err(NotBlocked), Ok(0x8000)],
        ),
        (
            (0x78, 4, u32::MAX),
            [Err(NotBlocked), Err(NotBlocked), Ok(0x8000)],
        ),
        ((0x80, 2, 0x10), [Err(NotWritable); 3]),
        ((0xb2, 2, 0xc000), [Ok(0xc009), Ok(0xc009), Err(Blocked)]),
        ((0xb4, 4, 0), [Err(NotWritable); 3]),
        ((0xcc, 2, 0x8103), [Err(NotBlocked), Err(NotBlocked), Ok(3)]),
        ((0x106, 2, 0), [Err(AccessControl); 3]),
        ((0x146, 2, 0x8000), [Err(Translation); 3]),
        ((0x154, 2, 1), [Err(Translation); 3]),
        ((0x168, 2, 1), [Err(VirtualFunctions); 3]),
        ((0x1a6, 2, 1), [Err(Translation); 3]),
    ];
    for (write, answers) in table {
        for (holder, answer) in [Holder::Root, Holder::Child, Holder::Blocked]
            .into_iter()
            .zip(answers)
        {
            assert_eq!(one(holder, 0, write), answer, "{holder:?} {write:x?}");
        }
        assert_eq!(one(Holder::NeedsReset, 0, write), answers[2], "{write:x?}");
    }
}

#[test]
fn cfg_07_nothing_of_a_bridge_is_written() {
    let (machine, topology) = machine();
    for holder in HOLDERS {
        for offset in (0..0x1000).step_by(4) {
            let answer = attempt(&machine, &topology, 2, holder, (offset, 4, 0));
            assert_eq!(answer, Err(Refusal::Bridge));
        }
        let nobody = attempt(&machine, &topology, 0, holder, (0x40, 4, 0));
        assert!(nobody.is_err());
    }
}

#[test]
fn cfg_07_nothing_of_an_iommu_is_written() {
    let (machine, mut topology) = machine();
    assert!(attempt(&machine, &topology, 1, Holder::Root, (4, 2, 2)).is_ok());
    topology.functions[1].class = 0x08_0600;
    let answer = attempt(&machine, &topology, 1, Holder::Root, (4, 2, 2));
    assert_eq!(answer, Err(Refusal::Iommu));
}

#[test]
fn cfg_03_bars_move_only_inside_windows_and_over_nobody() {
    let bar0 = |value| one(Holder::Root, 0, (0x10, 4, value));
    assert_eq!(bar0(0xfeb0_8000), Ok(0xfeb0_8000));
    // Back where it was; the low bits are not the root's.
    assert_eq!(bar0(0xfeb0_000f), Ok(0xfeb0_0000));
    for wrong in [
        0,
        0x10_0000,
        0xfee0_0000,
        0xfeb4_0000,
        0xfeb8_0000,
        0xfec0_0000,
        u32::MAX,
    ] {
        assert_eq!(bar0(wrong), Err(Refusal::BarPlace), "{wrong:#x}");
    }
    assert_eq!(
        one(Holder::Root, 2, (0x10, 4, 0xfeb0_8000)),
        Err(Refusal::BarInUse)
    );
    assert_eq!(
        one(Holder::Root, 0, (0x10, 2, 0x8000)),
        Err(Refusal::BarInUse)
    );
    assert_eq!(
        one(Holder::Child, 0, (0x10, 4, 0xfeb0_8000)),
        Err(Refusal::HeldByChild)
    );
    assert_eq!(
        one(Holder::Root, 0, (0x14, 4, 0)),
        Err(Refusal::NotWritable)
    );
    // Both halves of the wide one.
    assert_eq!(one(Holder::Root, 0, (0x18, 4, 0x10_0000)), Ok(0x10_000c));
    assert_eq!(one(Holder::Root, 0, (0x1c, 4, 0)), Err(Refusal::BarPlace));
}

#[test]
fn cfg_03_a_page_beside_anothers_small_bar_is_taken() {
    let (mut machine, mut topology) = machine();
    machine.space(OTHER).set16(4, 0);
    let near = |address| (0x10, 4, address);
    let answer = attempt(&machine, &topology, 1, Holder::Root, near(0xfeb0_3800));
    assert_eq!(answer, Err(Refusal::BarPlace));
    let kept = attempt(&machine, &topology, 1, Holder::Root, near(0xfeb8_0000));
    assert_eq!(kept, Err(Refusal::BarPlace));
    let moved = attempt(&machine, &topology, 1, Holder::Root, near(0xfeb0_4800)).unwrap();
    assert_eq!(moved.moved, Some((0, 0xfeb0_4800)));
    topology.note_bar(1, 0, 0xfeb0_4800);
    machine.space(NIC).set16(4, 0);
    let into = attempt(&machine, &topology, 0, Holder::Root, near(0xfeb0_4000));
    assert_eq!(into, Err(Refusal::BarPlace));
}

#[test]
fn a_reset_function_gets_its_bars_back_before_it_decodes() {
    let (mut machine, topology) = machine();
    for register in [0x10, 0x18, 0x1c] {
        machine.space(NIC).set32(register, 0);
    }
    machine.space(NIC).set16(4, 0);
    let answer = attempt(&machine, &topology, 0, Holder::NeedsReset, (4, 2, 2));
    assert_eq!(answer, Err(Refusal::BarPlace));
    for (register, value) in [(0x10, 0xfeb0_0000), (0x18, 0xc), (0x1c, 0x80)] {
        let answer = attempt(
            &machine,
            &topology,
            0,
            Holder::NeedsReset,
            (register, 4, value),
        );
        machine.space(NIC).set32(register, answer.unwrap().value);
    }
    assert!(attempt(&machine, &topology, 0, Holder::NeedsReset, (4, 2, 2)).is_ok());
}

#[test]
fn int_03_msi_is_enabled_only_with_a_message_that_was_handed_out() {
    let (mut machine, topology) = machine();
    let enable = (0x52, 2, 1);
    let answer = attempt(&machine, &topology, 0, Holder::Child, enable);
    assert_eq!(answer, Err(Refusal::Message));
    machine.space(NIC).set32(0x54, 0xfee0_0018);
    assert!(attempt(&machine, &topology, 0, Holder::Child, enable).is_ok());
    let blocked = attempt(&machine, &topology, 0, Holder::Blocked, enable);
    assert_eq!(blocked, Err(Refusal::Blocked));
}

proptest! {
    /// No sequence of writes, by whatever holder, moves a bit that the table denies or places a decoding BAR wrongly.
    #[test]
    fn cfg_07_no_write_sequence_moves_a_denied_bit(
        writes in proptest::collection::vec(
            (0usize..4, prop_oneof![0u16..0x100, 0u16..0x1000], 0u8..5, any::<u32>()), 1..200),
    ) {
        let (mut machine, mut topology) = machine();
        let before = machine.space(NIC).clone();
        for (holder, offset, size, value) in writes {
            // Half of the writes hit values that could pass.
            let value = match value % 4 { 0 => 0xfee0_0018, 1 => 0xfeb0_0000 | value & 0xf_ffff, 2 => value & 0x40f, _ => value };
            let Ok(answer) = attempt(&machine, &topology, 0, HOLDERS[holder], (offset, size, value)) else { continue };
            for (at, byte) in (offset..).zip(answer.value.to_le_bytes()).take(size.into()) {
                machine.space(NIC).set8(at, byte);
            }
            if let Some((bar, address)) = answer.moved {
                topology.note_bar(0, bar, address);
            }
        }
        let allowed = |at: u16| match at {
            4 => 0xf900_0403, 0x10 => 0xffff_c000, 0x18 => 0xfff0_0000, 0x1c => u32::MAX, 0x3c => 0xff,
            0x50 => 1 << 16, 0x54 => !3, 0x58 => u32::MAX, 0x5c => 0xffff, 0x60 => u32::MAX,
            0x78 => 0x8000, 0xb0 => 3 << 30, 0xcc => 3, _ => 0u32,
        };
        let after = machine.space(NIC).clone();
        let moved: Vec<u16> = (0..0x1000).step_by(4)
            .filter(|at| (before.get32(*at) ^ after.get32(*at)) & !allowed(*at) != 0).collect();
        prop_assert!(moved.is_empty(), "{moved:x?}");
        if after.get16(4) & 2 != 0 {
            let bar = after.get32(0x10);
            prop_assert!((0xfe00_0000..=0xfebf_c000).contains(&bar) && !(0xfeb8_0000..0xfeb8_1000).contains(&bar));
        }
        prop_assert!([0, 0xfee0_0018].contains(&after.get32(0x54)));
    }
}
