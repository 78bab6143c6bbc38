use super::*;

fn express() -> crate::testing::Space {
    let mut space = device(0x8086, 0x10c9);
    space.pcie(0, true);
    space
}

fn controlled(kind: u8, secondary: u8, subordinate: u8) -> crate::testing::Space {
    let mut space = port(kind, secondary, subordinate);
    space.acs(0x1d);
    space
}

fn group(topology: &Topology, id: DeviceId) -> usize {
    topology.function(id).unwrap().group
}

/// Two devices below a switch whose downstream ports have or lack access control.
fn switch(with: bool) -> Machine {
    let downstream = |bus| {
        if with {
            controlled(6, bus, bus)
        } else {
            port(6, bus, bus)
        }
    };
    Machine::new()
        .with(id(0, 3, 0), controlled(4, 1, 4))
        .with(id(1, 0, 0), port(5, 2, 4))
        .with(id(2, 0, 0), downstream(3))
        .with(id(2, 1, 0), downstream(4))
        .with(id(3, 0, 0), express())
        .with(id(4, 0, 0), express())
        .with(id(0, 5, 0), express())
}

#[test]
fn dma_11_devices_below_a_switch_without_access_control_are_one_group() {
    let topology = discover(&mut switch(false), [ALL], None);
    assert_eq!(group(&topology, id(3, 0, 0)), group(&topology, id(4, 0, 0)));
    assert_ne!(group(&topology, id(3, 0, 0)), group(&topology, id(0, 5, 0)));
}

#[test]
fn dma_11_access_control_on_the_whole_path_parts_them() {
    let topology = discover(&mut switch(true), [ALL], None);
    assert_ne!(group(&topology, id(3, 0, 0)), group(&topology, id(4, 0, 0)));
}

#[test]
fn dma_11_one_open_port_opens_the_whole_switch() {
    let mut machine = switch(true).with(id(2, 1, 0), port(6, 4, 4));
    let topology = discover(&mut machine, [ALL], None);
    assert_eq!(group(&topology, id(3, 0, 0)), group(&topology, id(4, 0, 0)));
}

#[test]
fn dma_11_each_missing_control_counts() {
    for missing in [1, 4, 8, 0x10] {
        let mut machine = switch(true);
        let space = machine.space(id(2, 0, 0));
        space.allow(0x104, (0x1d & !missing) << 16);
        let topology = discover(&mut machine, [ALL], None);
        assert_eq!(
            group(&topology, id(3, 0, 0)),
            group(&topology, id(4, 0, 0)),
            "{missing:#x}"
        );
    }
}

#[test]
fn dma_11_functions_of_one_device_need_access_control_each() {
    let two = |with: bool| {
        let mut space = express();
        space.set8(0xe, 0x80);
        if with {
            space.acs(0x0c);
        }
        let machine = Machine::new()
            .with(id(0, 3, 0), space.clone())
            .with(id(0, 3, 1), space);
        discover(&mut { machine }, [ALL], None)
    };
    let (open, closed) = (two(false), two(true));
    assert_eq!(group(&open, id(0, 3, 0)), group(&open, id(0, 3, 1)));
    assert_ne!(group(&closed, id(0, 3, 0)), group(&closed, id(0, 3, 1)));
}

#[test]
fn dma_10_devices_behind_a_conventional_bridge_share_its_ids() {
    let mut machine = Machine::new()
        .with(id(0, 3, 0), controlled(4, 1, 2))
        .with(id(1, 0, 0), port(7, 2, 2))
        .with(id(2, 1, 0), device(0x1234, 0x11e8))
        .with(id(2, 2, 0), device(0x1234, 0x11e8));
    let topology = discover(&mut machine, [ALL], None);
    let edu = topology.function(id(2, 1, 0)).unwrap();
    let ids: Vec<_> = edu.aliases.iter().map(|alias| alias.first.0).collect();
    assert_eq!(ids, [0x208, 0x200, 0x100]);
    assert_eq!(edu.interrupt_source, RequesterRange::buses(2, 2));
    assert_eq!(edu.group, group(&topology, id(2, 2, 0)));
    assert_eq!(edu.group, group(&topology, id(1, 0, 0)));
    assert_ne!(edu.group, group(&topology, id(0, 3, 0)));
}

#[test]
fn dma_10_a_conventional_bridge_on_the_root_bus_speaks_for_what_is_below() {
    let mut machine = Machine::new()
        .with(id(0, 3, 0), bridge(1, 1))
        .with(id(1, 4, 0), device(0x1234, 0x11e8))
        .with(id(0, 4, 0), device(0x1234, 0x11e8));
    let topology = discover(&mut machine, [ALL], None);
    let edu = topology.function(id(1, 4, 0)).unwrap();
    let ids: Vec<_> = edu.aliases.iter().map(|alias| alias.first.0).collect();
    assert_eq!(ids, [0x120, 0x18]);
    assert_eq!(
        edu.interrupt_source,
        RequesterRange::single(RequesterId(0x18))
    );
    assert_ne!(edu.group, group(&topology, id(0, 4, 0)));
}

#[test]
fn dma_10_more_aliases_than_are_tracked_rule_the_device_out() {
    let mut machine = Machine::new();
    for bus in 0..9 {
        machine = machine.with(id(bus, 1, 0), bridge(bus + 1, 9));
    }
    machine = machine.with(id(9, 1, 0), device(1, 2));
    let topology = discover(&mut machine, [ALL], None);
    let last = topology.function(id(9, 1, 0)).unwrap();
    assert_eq!(last.unassignable, Some(Reason::TooManyAliases));
}

#[test]
fn cfg_06_a_page_with_two_owners_is_nobodys() {
    let small = |address| {
        let mut space = express();
        space.bar(0, address, 0x100);
        space
    };
    let machine = |second| {
        Machine::new()
            .with(id(0, 3, 0), small(0xfeb0_0000))
            .with(id(0, 4, 0), small(second))
    };
    let units = super::units::covering_all();
    let dmar = Dmar::parse(&units).unwrap();
    let shared = discover(&mut machine(0xfeb0_0f00), [ALL], Some(&dmar));
    assert_eq!(
        shared.functions[0].unassignable,
        Some(Reason::SharesPage(id(0, 4, 0)))
    );
    assert_eq!(
        shared.functions[1].unassignable,
        Some(Reason::SharesPage(id(0, 3, 0)))
    );
    let apart = discover(&mut machine(0xfeb0_1000), [ALL], Some(&dmar));
    assert_eq!(apart.functions[0].unassignable, None);
}
