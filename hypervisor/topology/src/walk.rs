//! The walk over buses and bridges.

use address::DeviceId;
use alloc::vec::Vec;

use crate::{BusRange, ConfigSpace, Function, Header, PortType, Problem, snapshot};

/// Most functions that are tracked. What a hostile machine has beyond stays blocked.
pub(crate) const MOST_FUNCTIONS: usize = 2048;

/// Walks ranges of buses. Each bus is visited at most once: bus numbers rise on every way down, and a bus belongs to one
/// bridge only.
pub(crate) struct Walk<'a, C> {
    config: &'a mut C,
    pub(crate) functions: Vec<Function>,
    pub(crate) problems: Vec<Problem>,
    /// Of the segment at hand: the nearest bridge that leads to each bus.
    owner: [Option<usize>; 256],
}

#[derive(Clone, Copy)]
struct Bus {
    segment: u16,
    number: u8,
    last: u8,
    parent: Option<usize>,
}

impl<'a, C: ConfigSpace> Walk<'a, C> {
    pub(crate) fn new(config: &'a mut C) -> Self {
        Self {
            config,
            functions: Vec::new(),
            problems: Vec::new(),
            owner: [None; 256],
        }
    }

    /// Walks one range. Firmware does not say in its tables which buses are roots: a bus that no bridge leads to is one.
    pub(crate) fn range(&mut self, range: BusRange) {
        self.owner = [None; 256];
        for root in range.first..=range.last {
            if self.owner(root).is_none() {
                self.tree(Bus {
                    segment: range.segment,
                    number: root,
                    last: range.last,
                    parent: None,
                });
            }
        }
    }

    fn owner(&self, bus: u8) -> Option<usize> {
        self.owner.get(usize::from(bus)).copied().flatten()
    }

    fn tree(&mut self, root: Bus) {
        let mut pending = Vec::from([root]);
        while let Some(bus) = pending.pop() {
            let first = self.functions.len();
            self.scan(bus);
            for index in first..self.functions.len() {
                pending.extend(self.below(bus, index));
            }
        }
    }

    /// A port to one link has one device below it.
    fn scan(&mut self, bus: Bus) {
        let port = bus
            .parent
            .and_then(|parent| self.functions.get(parent)?.pcie);
        let one = port
            .is_some_and(|pcie| matches!(pcie.port, PortType::RootPort | PortType::DownstreamPort));
        for device in 0..if one { 1 } else { 32 } {
            self.slot(bus, device);
        }
    }

    fn slot(&mut self, bus: Bus, device: u8) {
        let Some(id) = DeviceId::new(bus.segment, bus.number, device, 0) else {
            return;
        };
        let multifunction = self.config.read8(id, 0x0e) & 0x80 != 0;
        if !self.function(id, bus.parent) || !multifunction {
            return;
        }
        for id in
            (1..8).filter_map(|function| DeviceId::new(bus.segment, bus.number, device, function))
        {
            self.function(id, bus.parent);
        }
    }

    fn function(&mut self, id: DeviceId, parent: Option<usize>) -> bool {
        if self.functions.len() >= MOST_FUNCTIONS {
            let full = Problem::TooManyFunctions(MOST_FUNCTIONS);
            if !self.problems.contains(&full) {
                self.problems.push(full);
            }
            return false;
        }
        let found = snapshot::read(self.config, id, parent);
        let exists = found.is_some();
        self.functions.extend(found);
        exists
    }

    /// The bus below a function, if it is a bridge whose numbers make sense: above its own bus, inside the range of the bridge
    /// above it, and claimed by no sibling.
    fn below(&mut self, above: Bus, index: usize) -> Option<Bus> {
        let function = self.functions.get_mut(index)?;
        let Header::Bridge(bridge) = &mut function.header else {
            return None;
        };
        let (secondary, subordinate) = (bridge.secondary, bridge.subordinate);
        let buses = self
            .owner
            .get_mut(usize::from(secondary)..=usize::from(subordinate))
            .unwrap_or_default();
        let free = !buses.is_empty() && buses.iter().all(|owner| *owner == above.parent);
        if !free || secondary <= above.number || subordinate > above.last {
            // Zero is what a bridge says that nobody set up.
            let unused = secondary == 0 && subordinate == 0;
            let bridge = function.id;
            self.problems
                .extend((!unused).then_some(Problem::BusNumbers {
                    bridge,
                    secondary,
                    subordinate,
                }));
            return None;
        }
        buses.fill(Some(index));
        bridge.walked = true;
        Some(Bus {
            segment: above.segment,
            number: secondary,
            last: subordinate,
            parent: Some(index),
        })
    }
}
