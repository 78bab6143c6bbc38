//! Requester-id aliases, access control and groups (invariant 5).
//!
//! The root complex itself is taken not to route requests between root ports of different slots, nor between its integrated
//! endpoints: no register says whether it does, and every request of theirs passes the IOMMU first.

use address::DeviceId;
use alloc::vec::Vec;

use crate::quiet::ACS_NEEDED;
use crate::{Function, Group, Header, PortType, Reason, RequesterRange, Topology};

impl Topology {
    /// Fills aliases and interrupt sources by walking up from each function.
    pub(crate) fn find_aliases(&mut self) {
        for index in 0..self.functions.len() {
            let bridges: Vec<usize> = self.upstream(index).collect();
            for bridge in bridges {
                self.alias(index, bridge);
            }
        }
    }

    /// A bridge to conventional PCI speaks for what is below it: as its secondary bus, device 0, or as itself.
    fn alias(&mut self, index: usize, bridge: usize) {
        let Some(((bridge, below), Header::Bridge(buses))) = self
            .functions
            .get(bridge)
            .map(|bridge| (bridge.speaker(), bridge.header))
        else {
            return;
        };
        let Some(function) = self.functions.get_mut(index) else {
            return;
        };
        let own = RequesterRange::single(bridge.requester);
        let behind = RequesterRange::buses(buses.secondary, buses.subordinate);
        let aliases: &[RequesterRange] = match below {
            Below::Express => return,
            Below::ConventionalByExpress => &[RequesterRange::single(behind.first), own],
            Below::Conventional => &[own],
        };
        function.interrupt_source = if below == Below::Conventional {
            own
        } else {
            behind
        };
        for alias in aliases {
            if !function.aliases.contains(alias) && function.aliases.try_push(*alias).is_err() {
                function.unassignable = function.unassignable.or(Some(Reason::TooManyAliases));
            }
        }
    }

    /// Finds the groups.
    pub(crate) fn find_groups(&mut self) {
        let mut sets = Sets::new(self.functions.len());
        self.join_paths(&mut sets);
        self.join_switches(&mut sets);
        self.join_slots(&mut sets);
        self.join_aliases(&mut sets);
        for index in 0..self.functions.len() {
            // The root of a set is its smallest member, and so the first one here.
            let root = sets.root(index);
            let number = match self.functions.get(root) {
                Some(first) if root < index => first.group,
                _ => {
                    self.groups.push(Group::default());
                    self.groups.len() - 1
                }
            };
            if let Some(function) = self.functions.get_mut(index) {
                function.group = number;
            }
            if let Some(group) = self.groups.get_mut(number) {
                group.members.push(index);
            }
        }
    }

    /// Everything below a bridge to conventional PCI, or below a port without access control, belongs together.
    fn join_paths(&self, sets: &mut Sets) {
        for index in 0..self.functions.len() {
            for bridge in self.upstream(index) {
                if self
                    .functions
                    .get(bridge)
                    .is_some_and(|bridge| !isolates_below(bridge))
                {
                    sets.join(index, bridge);
                }
            }
        }
    }

    /// A switch with one downstream port without access control routes from there to all its other ports.
    fn join_switches(&self, sets: &mut Sets) {
        let mut open = alloc::vec![false; self.functions.len()];
        for function in &self.functions {
            let leaks =
                port_of(function) == Some(PortType::DownstreamPort) && !isolates_below(function);
            if let Some(open) = function.parent.and_then(|parent| open.get_mut(parent)) {
                *open |= leaks;
            }
        }
        for index in 0..self.functions.len() {
            for bridge in self.upstream(index) {
                if open.get(bridge).copied().unwrap_or(true) {
                    sets.join(index, bridge);
                }
            }
        }
    }

    /// Functions of one device reach each other unless access control of both says no.
    fn join_slots(&self, sets: &mut Sets) {
        let slots: Vec<_> = self.functions.iter().map(|it| self.slot(it)).collect();
        for (index, (function, slot)) in self.functions.iter().zip(&slots).enumerate() {
            if isolates_itself(function) {
                continue;
            }
            for (other, _) in slots.iter().enumerate().filter(|(_, it)| *it == slot) {
                sets.join(index, other);
            }
        }
    }

    /// Below a port to one link, the whole bus is one device.
    fn slot(&self, function: &Function) -> (u16, u16) {
        let port = function
            .parent
            .and_then(|parent| port_of(self.functions.get(parent)?));
        let link = matches!(port, Some(PortType::RootPort | PortType::DownstreamPort));
        let mask = if link { !0xff } else { !7 };
        (function.id.segment, function.id.requester.0 & mask)
    }

    /// Functions that are seen under one requester id cannot be told apart (DMA-10). Every alias comes from a bridge that has joined
    /// what is below it already; this holds the rule for aliases of any other origin.
    fn join_aliases(&self, sets: &mut Sets) {
        let mut seen: Vec<(DeviceId, usize)> = Vec::new();
        for (index, function) in self.functions.iter().enumerate() {
            for alias in &function.aliases {
                let id = DeviceId::from_requester(function.id.segment, alias.first);
                match seen.iter().find(|(known, _)| *known == id) {
                    Some(&(_, first)) => sets.join(first, index),
                    None => seen.push((id, index)),
                }
            }
        }
    }
}

/// What a bridge does to requests from below.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Below {
    /// They keep their own requester id.
    Express,
    /// They get the secondary bus's, or the bridge's.
    ConventionalByExpress,
    /// They get the bridge's.
    Conventional,
}

impl Function {
    /// Its name, and what it does to requests from below.
    fn speaker(&self) -> (DeviceId, Below) {
        let below = match port_of(self) {
            Some(PortType::RootPort | PortType::UpstreamPort | PortType::DownstreamPort) => {
                Below::Express
            }
            Some(PortType::PcieToPci) => Below::ConventionalByExpress,
            _ => Below::Conventional,
        };
        (self.id, below)
    }
}

fn port_of(function: &Function) -> Option<PortType> {
    function.pcie.map(|pcie| pcie.port)
}

/// Whether requests from below a bridge reach the IOMMU before anything else.
fn isolates_below(bridge: &Function) -> bool {
    match port_of(bridge) {
        // An upstream port has no say: its downstream ports route.
        Some(PortType::UpstreamPort) => true,
        Some(PortType::RootPort | PortType::DownstreamPort) => access_control(bridge),
        _ => false,
    }
}

/// Whether a function of a device with several cannot reach the others.
fn isolates_itself(function: &Function) -> bool {
    function.pcie.is_some() && access_control(function)
}

/// Source validation is what makes a port's word about requester ids true, so a port must have it; a control that a function
/// does not have is one that it does not need (section 7.7.11.2), and one that it has must be on.
fn access_control(function: &Function) -> bool {
    function.acs.is_some_and(|acs| {
        let port = matches!(
            port_of(function),
            Some(PortType::RootPort | PortType::DownstreamPort)
        );
        let needed = ACS_NEEDED & acs.capable | u16::from(port);
        acs.enabled & needed == needed
    })
}

/// Disjoint sets, the smallest index of each its root.
struct Sets(Vec<usize>);

impl Sets {
    fn new(count: usize) -> Self {
        Self((0..count).collect())
    }

    fn root(&mut self, index: usize) -> usize {
        let mut at = index;
        // Each step goes to a smaller index, so it ends.
        while let Some(next) = self.0.get(at).copied().filter(|next| *next < at) {
            at = next;
        }
        if let Some(slot) = self.0.get_mut(index) {
            *slot = at;
        }
        at
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.root(one), self.root(other));
        if let Some(slot) = self.0.get_mut(one.max(other)) {
            *slot = one.min(other);
        }
    }
}
