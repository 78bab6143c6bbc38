use super::*;
use crate::testing::{Machine, bridge, device, port};
use address::{DeviceId, RequesterId};
use firmware::dmar::Dmar;
extern crate std;
use std::vec::Vec;

mod groups;
mod named;
mod trees;
mod units;

const ALL: BusRange = BusRange::LEGACY;

fn id(bus: u8, device: u8, function: u8) -> DeviceId {
    DeviceId::new(0, bus, device, function).unwrap()
}

fn found(topology: &Topology) -> Vec<DeviceId> {
    topology
        .functions
        .iter()
        .map(|function| function.id)
        .collect()
}

#[test]
fn functions_behind_bridges_and_on_further_root_buses_are_found() {
    let mut machine = Machine::new()
        .with(id(0, 3, 0), port(4, 1, 3))
        .with(id(1, 0, 0), port(5, 2, 3))
        .with(id(2, 0, 0), port(6, 3, 3))
        .with(id(3, 0, 0), device(0x8086, 0x10c9))
        .with(id(3, 5, 0), device(0x8086, 0xdead))
        .with(id(0x40, 1, 0), device(0x8086, 0x100e));
    let topology = discover(&mut machine, [ALL, ALL], None);
    // The link below a port has one device: what answers at 03:05.0 is a ghost.
    assert_eq!(
        found(&topology),
        [
            id(0, 3, 0),
            id(1, 0, 0),
            id(2, 0, 0),
            id(3, 0, 0),
            id(0x40, 1, 0)
        ]
    );
    assert_eq!(topology.upstream(3).collect::<Vec<_>>(), [2, 1, 0]);
    assert!(topology.problems.is_empty());
    assert_eq!(topology.functions[3].unassignable, Some(Reason::NoIommu));
    assert_eq!(topology.functions[2].unassignable, Some(Reason::Bridge));
}

#[test]
fn fw_03_bus_numbers_that_loop_or_overlap_stop_the_walk_there() {
    for (secondary, subordinate) in [(0, 3), (1, 0), (5, 4), (4, 9), (2, 2), (0, 0)] {
        let mut machine = Machine::new()
            .with(id(0, 1, 0), bridge(1, 3))
            .with(id(0, 2, 0), bridge(4, 4))
            .with(id(1, 1, 0), bridge(secondary, subordinate))
            .with(id(1, 2, 0), bridge(2, 3));
        let topology = discover(&mut machine, [ALL], None);
        assert_eq!(topology.functions.len(), 4);
        let wrong = topology.problems.len();
        assert_eq!(
            wrong,
            usize::from((secondary, subordinate) != (0, 0)),
            "{secondary} {subordinate}"
        );
    }
}

#[test]
fn cfg_08_a_snapshot_believes_only_what_fits() {
    let lies: [fn(&mut crate::testing::Space); 6] = [
        |space| space.capability(0x90, 0x11, &[0, 0, 7, 0, 0, 0, 7, 0, 0, 0]),
        |space| space.capability(0x90, 0x11, &[0, 0, 0, 0, 0x10, 0, 0, 8, 0, 0]),
        |space| space.capability(0x90, 0x11, &[0xff, 7, 0, 0, 0, 0, 0, 0x20, 0, 0]),
        |space| space.capability(0x90, 0x11, &[9, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        |space| space.capability(0xf4, 0x05, &[0x80, 1]),
        |space| space.capability(0x90, 0x05, &[0x0c, 0]),
    ];
    let sound = device(0x8086, 0x10c9);
    for (index, lie) in lies.into_iter().enumerate() {
        let mut space = sound.clone();
        space.bar(0, 0xfeb0_0000, 0x4000);
        lie(&mut space);
        let mut machine = Machine::new().with(id(0, 3, 0), space);
        let topology = discover(&mut machine, [ALL], None);
        let reason = topology.functions[0].unassignable;
        let expected = if index < 4 {
            Reason::BrokenMsiX
        } else {
            Reason::BrokenCapabilities
        };
        assert_eq!(reason, Some(expected), "lie {index}");
        assert_eq!(
            topology.problems,
            [Problem::Function(id(0, 3, 0), expected)]
        );
    }
    let mut space = sound;
    space.bar(0, 0xfeb0_0000, 0x4000);
    space.capability(0x90, 0x11, &[9, 0, 0, 0, 0, 0, 0, 0x20, 0, 0]);
    let mut machine = Machine::new().with(id(0, 3, 0), space);
    let topology = discover(&mut machine, [ALL], None);
    let msix = topology.functions[0].msix.unwrap();
    assert_eq!(
        (msix.vectors, msix.pba_offset, topology.problems.len()),
        (10, 0x2000, 0)
    );
}

#[test]
fn the_walk_puts_devices_to_rest_and_turns_access_control_on() {
    let mut space = device(0x8086, 0x10c9);
    space.pcie(0, true);
    space.capability(0x50, 5, &[0x81, 0]);
    space.allow(0x50, 0x0071_0000);
    space.set16(4, 7);
    space.acs(0x1d);
    space.extended(0x140, 0x0f, &[0, 0, 0, 0x80]);
    space.allow(0x144, 0x8000_0000);
    space.extended(0x160, 0x10, &[0; 60]);
    space.set16(0x168, 1);
    space.allow(0x168, 1);
    let mut machine = Machine::new().with(id(0, 3, 0), space);
    let topology = discover(&mut machine, [ALL], None);
    let function = &topology.functions[0];
    assert!(function.flr && function.sriov.is_some() && function.ats == Some(0x140));
    assert!(function.mastering, "what firmware left on is known");
    assert_eq!(function.acs.map(|acs| acs.enabled), Some(0x1d));
    let space = machine.space(id(0, 3, 0));
    assert_eq!(
        (
            space.get16(4),
            space.get16(0x52),
            space.get16(0x146),
            space.get16(0x168)
        ),
        (3, 0x80, 0, 0)
    );
}

#[test]
fn rst_01_a_reset_function_is_put_to_rest_again() {
    let mut space = device(0x8086, 0x10c9);
    space.pcie(0, true);
    space.acs(0x1d);
    let mut machine = Machine::new().with(id(0, 3, 0), space);
    let topology = discover(&mut machine, [ALL], None);
    assert!(!topology.functions[0].mastering);
    let space = machine.space(id(0, 3, 0));
    space.set16(0x106, 0);
    space.set16(4, 7);
    assert!(rest(&mut machine, &topology.functions[0]));
    let space = machine.space(id(0, 3, 0));
    assert_eq!((space.get16(0x106), space.get16(4)), (0x1d, 3));
    space.set16(0x106, 0);
    space.allow(0x104, 0);
    assert!(!rest(&mut machine, &topology.functions[0]));
}

#[test]
fn interrupt_lines_are_followed_to_the_root_bus() {
    let wired = || {
        let mut space = device(1, 2);
        space.set8(0x3d, 1);
        space
    };
    let mut machine = Machine::new()
        .with(id(0, 3, 0), bridge(1, 1))
        .with(id(1, 1, 0), wired())
        .with(id(1, 5, 0), wired())
        .with(id(0, 4, 0), wired());
    let topology = discover(&mut machine, [ALL], None);
    let line = |at| topology.function(at).unwrap().intx.unwrap();
    assert_eq!(
        (line(id(1, 1, 0)).root_device, line(id(1, 1, 0)).pin),
        (3, 1)
    );
    assert!(line(id(1, 1, 0)).shared && line(id(1, 5, 0)).shared);
    assert!(!line(id(0, 4, 0)).shared);
}

#[test]
fn requester_ranges_are_written_as_buses() {
    let range = RequesterRange::buses(2, 3);
    assert!(range.contains(RequesterId(0x200)) && range.contains(RequesterId(0x3ff)));
    assert!(!range.contains(RequesterId(0x400)) && !range.is_single());
}
