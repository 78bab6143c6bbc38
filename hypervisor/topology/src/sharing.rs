//! What functions share besides requester ids: pages, interrupt lines, and the fate of their group.

use address::{DeviceId, PAGE_SHIFT};
use alloc::vec::Vec;

use crate::{Bar, ConfigSpace, Function, Header, Intx, Reason, Topology};

/// First and last page of a memory BAR that stands somewhere.
pub(crate) fn pages(bar: &Bar) -> Option<(u64, u64)> {
    let end = bar.memory().and(bar.end())?;
    Some((bar.address >> PAGE_SHIFT, end.checked_sub(1)? >> PAGE_SHIFT))
}

/// The pin of a function, 0 to 3.
pub(crate) fn pin<C: ConfigSpace>(config: &mut C, id: DeviceId) -> Option<u8> {
    config.read8(id, 0x3d).checked_sub(1).filter(|pin| *pin < 4)
}

impl Topology {
    /// CFG-06: a page is mapped whole, so two groups with memory in one page cannot have different owners.
    pub(crate) fn find_shared_pages(&mut self) {
        let mut all: Vec<(u64, u64, usize)> = Vec::new();
        for (index, function) in self.functions.iter().enumerate() {
            let ranges = function.bars.iter().flatten().filter_map(pages);
            all.extend(ranges.map(|(first, last)| (first, last, index)));
        }
        all.sort_unstable();
        for (at, &(_, last, one)) in all.iter().enumerate() {
            let later = all.iter().skip(at + 1);
            for &(_, _, other) in later.take_while(|(first, ..)| *first <= last) {
                self.refuse_page(one, other);
            }
        }
    }

    fn refuse_page(&mut self, one: usize, other: usize) {
        let names = self.functions.get(one).zip(self.functions.get(other));
        let Some((first, second)) =
            names.map(|(one, other)| ((one.id, one.group), (other.id, other.group)))
        else {
            return;
        };
        if first.1 != second.1 {
            self.give_reason(one, Reason::SharesPage(second.0));
            self.give_reason(other, Reason::SharesPage(first.0));
        }
    }

    fn give_reason(&mut self, index: usize, reason: Reason) {
        if let Some(function) = self.functions.get_mut(index) {
            function.unassignable = function.unassignable.or(Some(reason));
        }
    }

    /// Follows interrupt pins up to the root bus, turned at each bridge (PCI-to-PCI Bridge Specification 1.2, section 9.1).
    pub(crate) fn find_shared_lines(&mut self) {
        for index in 0..self.functions.len() {
            let line = self.line(index);
            if let Some(function) = self.functions.get_mut(index) {
                function.intx = line;
            }
        }
        let place = |line: &Intx| (line.root_bus, line.root_device, line.pin);
        let lines: Vec<_> = self
            .functions
            .iter()
            .filter_map(|f| Some((f.id.segment, place(f.intx.as_ref()?))))
            .collect();
        for function in &mut self.functions {
            let segment = function.id.segment;
            if let Some(line) = &mut function.intx {
                let here = (segment, place(line));
                line.shared = lines.iter().filter(|other| **other == here).count() > 1;
            }
        }
    }

    fn line(&self, index: usize) -> Option<Intx> {
        let function = self.functions.get(index)?;
        let own = function.intx?;
        let mut line = Intx {
            root_device: function.id.device(),
            root_bus: function.id.bus(),
            ..own
        };
        for above in self.upstream(index) {
            let bridge = self.functions.get(above)?.id;
            line.pin = (line.pin + line.root_device) % 4;
            line.root_device = bridge.device();
            line.root_bus = bridge.bus();
        }
        Some(line)
    }

    /// What one member of a group may not, none may: they move together. Bridges do no DMA of their own and do not count.
    pub(crate) fn spread_reasons(&mut self) {
        let bad = |function: &Function| {
            let counts =
                !matches!(function.header, Header::Bridge(_)) && !function.is_host_bridge();
            counts && function.unassignable.is_some()
        };
        for group in self.groups.clone() {
            let functions = group
                .members
                .iter()
                .filter_map(|index| self.functions.get(*index));
            let culprit = functions
                .filter(|function| bad(function))
                .map(|function| function.id)
                .next();
            let Some(culprit) = culprit else {
                continue;
            };
            for index in &group.members {
                self.give_reason(*index, Reason::SharesGroup(culprit));
            }
        }
    }
}
