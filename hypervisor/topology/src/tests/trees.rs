//! Generated trees of bridges, with an oracle that knows how they were built.

use super::units::{table, unit};
use super::*;
use proptest::prelude::*;

/// A bridge as built: whether requests from one side of it can reach another without meeting the IOMMU.
struct Built {
    id: DeviceId,
    leaks: bool,
}

/// An endpoint as built, and the bridges above it, topmost first.
struct Leaf {
    id: DeviceId,
    above: Vec<usize>,
}

struct Builder {
    machine: Machine,
    choices: Vec<u8>,
    bus: u8,
    bridges: Vec<Built>,
    leaves: Vec<Leaf>,
}

impl Builder {
    fn new(choices: Vec<u8>) -> Self {
        let mut builder = Self {
            machine: Machine::new(),
            choices,
            bus: 0,
            bridges: Vec::new(),
            leaves: Vec::new(),
        };
        for slot in 1..=builder.choose(5) + 1 {
            match builder.choose(3) {
                0 => builder.leaf(id(0, slot, 0), &[]),
                1 => builder.port(4, id(0, slot, 0), &[]),
                _ => builder.conventional(None, id(0, slot, 0), &[]),
            }
        }
        builder
    }

    fn choose(&mut self, bound: u8) -> u8 {
        self.choices.pop().unwrap_or(0) % bound
    }

    fn leaf(&mut self, id: DeviceId, above: &[usize]) {
        let mut space = device(0x8086, 0x10c9);
        space.pcie(0, true);
        self.machine.spaces.insert(id, space);
        let above = above.to_vec();
        self.leaves.push(Leaf { id, above });
    }

    /// Adds a bridge with a bus of its own; what `below` adds stands under it.
    fn bridge(
        &mut self,
        id: DeviceId,
        leaks: bool,
        mut space: crate::testing::Space,
        above: &[usize],
        below: impl FnOnce(&mut Self, u8, &[usize]),
    ) {
        self.bus += 1;
        let secondary = self.bus;
        space.set8(0x19, secondary);
        self.machine.spaces.insert(id, space);
        self.bridges.push(Built { id, leaks });
        let above = [above, &[self.bridges.len() - 1]].concat();
        below(self, secondary, &above);
        let last = self.bus;
        self.machine.space(id).set8(0x1a, last);
    }

    /// A root port (4) or downstream port (6), with access control or without.
    fn port(&mut self, kind: u8, id: DeviceId, above: &[usize]) {
        let open = self.choose(3) == 0;
        let mut space = port(kind, 0, 0);
        if !open {
            space.acs(0x1d);
        }
        self.bridge(id, open, space, above, Self::link);
        // A switch leaks when one of its ports does.
        if let Some(upstream) = above.last().filter(|_| kind == 6) {
            self.bridges[*upstream].leaks |= open;
        }
    }

    fn link(&mut self, bus: u8, above: &[usize]) {
        let id = id(bus, 0, 0);
        match self.choose(4) {
            0 | 1 => self.leaf(id, above),
            2 if above.len() < 6 => self.bridge(id, false, port(5, 0, 0), above, Self::switch),
            _ => self.conventional(Some(7), id, above),
        }
    }

    fn switch(&mut self, bus: u8, above: &[usize]) {
        for slot in 0..=self.choose(3) {
            self.port(6, id(bus, slot, 0), above);
        }
    }

    fn conventional(&mut self, kind: Option<u8>, at: DeviceId, above: &[usize]) {
        let space = kind.map_or_else(|| bridge(0, 0), |kind| port(kind, 0, 0));
        self.bridge(at, true, space, above, |builder, bus, above| {
            for slot in 0..=builder.choose(3) {
                if builder.choose(4) == 0 && above.len() < 6 {
                    builder.conventional(None, id(bus, slot, 0), above);
                } else {
                    builder.leaf(id(bus, slot, 0), above);
                }
            }
        });
    }

    /// No more than there are: empty buses only cost time.
    fn buses(&self) -> BusRange {
        BusRange {
            last: self.bus,
            ..ALL
        }
    }

    /// The path of a scope that names a leaf from the root bus.
    fn path(&self, leaf: &Leaf) -> Vec<u8> {
        let bridges = leaf.above.iter().map(|bridge| self.bridges[*bridge].id);
        let steps = bridges.chain([leaf.id]);
        steps.flat_map(|id| [id.device(), id.function()]).collect()
    }
}

proptest! {
    /// Two endpoints are in one group exactly when a bridge above both lets them reach each other, and no requester id belongs
    /// to two groups.
    #[test]
    fn dma_10_dma_11_groups_are_what_the_tree_says(choices in proptest::collection::vec(any::<u8>(), 0..60)) {
        let mut builder = Builder::new(choices);
        let buses = [builder.buses()];
        let topology = discover(&mut builder.machine, buses, None);
        prop_assert_eq!(topology.functions.len(), builder.leaves.len() + builder.bridges.len());
        prop_assert!(topology.problems.is_empty());
        for one in &builder.leaves {
            let first = topology.function(one.id).unwrap();
            for other in &builder.leaves {
                let second = topology.function(other.id).unwrap();
                let mut shared = one.above.iter().filter(|bridge| other.above.contains(bridge));
                let together = one.id == other.id || shared.any(|bridge| builder.bridges[*bridge].leaks);
                prop_assert_eq!(first.group == second.group, together, "{} {}", one.id, other.id);
                let mut aliases = first.aliases.iter();
                prop_assert!(together || !aliases.any(|alias| second.aliases.contains(alias)));
            }
        }
    }

    /// Each endpoint ends at the unit whose scope names its path, whatever the bridges' numbers.
    #[test]
    fn fw_03_paths_lead_to_the_units_that_name_them(choices in proptest::collection::vec(any::<u8>(), 0..60)) {
        let mut builder = Builder::new(choices);
        let paths: Vec<_> = builder.leaves.iter().map(|leaf| builder.path(leaf)).collect();
        let scopes = |odd: usize| -> Vec<_> {
            paths.iter().enumerate().filter(|(at, _)| at % 2 == odd).map(|(_, path)| (1u8, 0u8, 0u8, &path[..])).collect()
        };
        let bytes = table(1, &[unit(0xfed9_0000, false, &scopes(0)), unit(0xfed9_1000, false, &scopes(1))]);
        let buses = [builder.buses()];
        let topology = discover(&mut builder.machine, buses, Some(&Dmar::parse(&bytes).unwrap()));
        prop_assert!(topology.problems.is_empty());
        for (at, leaf) in builder.leaves.iter().enumerate() {
            prop_assert_eq!(topology.function(leaf.id).unwrap().unit, Some(at % 2));
        }
    }
}
