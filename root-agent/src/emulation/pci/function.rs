//! A function as the child sees it.

use abi::interrupt::Entry;
use address::DeviceId;
use alloc::vec::Vec;

use super::bar::{VirtualBar, is_trapped};
use super::hardware::Hardware;
use super::msi::Msi;
use super::msix::Msix;
use super::space::Space;
use crate::emulation::map;
use crate::facts::Span;
use crate::pci::config::{command, register};
use crate::pci::description::Description;

/// A virtual function and the real one behind it.
pub struct Function {
    /// The real one.
    pub device: DeviceId,
    /// Its device number on the child's bus.
    pub slot: u8,
    space: Space,
    bars: Vec<VirtualBar>,
    msi: Option<Msi>,
    msix: Option<Msix>,
}

impl Function {
    /// The twin of a described function, its BARs placed by `window`; `None` where the window is too small.
    #[must_use]
    pub fn new(
        device: DeviceId,
        slot: u8,
        description: &Description,
        window: &mut Window,
    ) -> Option<Self> {
        let mut space = Space::of(description);
        let mut bars = Vec::new();
        for &real in &description.bars {
            let bar = VirtualBar::new(real, &mut space);
            bar.place(&mut space, window.take(bar.length())?);
            bars.push(bar);
        }
        Some(Self {
            device,
            slot,
            space,
            bars,
            msi: description.msi.map(Msi::new),
            msix: description.msix.map(Msix::new),
        })
    }

    /// Reads virtual configuration space.
    #[must_use]
    pub fn read(&self, offset: u16, size: u8) -> u32 {
        self.space.read(offset, size)
    }

    /// Writes virtual configuration space, and makes everything follow. `taken` are ranges of other functions.
    pub fn write(
        &mut self,
        (offset, size): (u16, u8),
        value: u32,
        (vps, taken): (u32, &[Span]),
        hardware: &mut impl Hardware,
    ) {
        self.space.write(offset, size, value);
        self.settle_bars(taken, hardware);
        if let Some(msi) = &mut self.msi {
            msi.settle(&self.space, vps, hardware);
        }
        if let Some(msix) = &mut self.msix {
            msix.settle(&self.space, vps, hardware);
        }
    }

    fn settle_bars(&mut self, taken: &[Span], hardware: &mut impl Hardware) {
        let decoding = self.space.read(register::COMMAND, 2) as u16 & command::MEMORY != 0;
        let msix = self.msix.as_ref().map(|msix| msix.description);
        let wanted = |bar: &VirtualBar, space: &Space| bar.wanted(space).filter(|_| decoding);
        // Hide first: a BAR may move to where another one was.
        for bar in &mut self.bars {
            if bar.shown.is_some() && bar.shown != wanted(bar, &self.space) {
                bar.hide(msix.as_ref(), hardware);
            }
        }
        for index in 0..self.bars.len() {
            let others: Vec<Span> = self.spans().chain(taken.iter().copied()).collect();
            let Some(bar) = self.bars.get_mut(index) else {
                return;
            };
            let free = |start: &u64| {
                let span = Span {
                    start: *start,
                    length: bar.length(),
                };
                !others.iter().any(|other| other.overlaps(span))
            };
            if bar.shown.is_none()
                && let Some(at) = wanted(bar, &self.space).filter(free)
            {
                bar.show(at, msix.as_ref(), hardware);
            }
        }
    }

    /// Guest-physical ranges of the BARs that are shown.
    pub fn spans(&self) -> impl Iterator<Item = Span> + '_ {
        self.bars.iter().filter_map(VirtualBar::span)
    }

    /// BAR and offset of an address in a trapped page.
    fn trapped(&self, address: u64, size: u8) -> Option<(u8, u64)> {
        let msix = self.msix.as_ref()?;
        let bar = self.bars.iter().find(|bar| {
            bar.span()
                .is_some_and(|span| span.contains(address, u64::from(size)))
        })?;
        let offset = address - bar.shown?;
        let trapped = is_trapped(&bar.real, offset & !0xfff, Some(&msix.description));
        trapped.then_some((bar.real.index, offset))
    }

    /// Whether an address lies in a trapped page of a BAR.
    #[must_use]
    pub fn answers(&self, address: u64, size: u8) -> bool {
        self.trapped(address, size).is_some()
    }

    /// Reads from a trapped page.
    pub fn read_memory(&self, address: u64, size: u8, hardware: &mut impl Hardware) -> u64 {
        match (self.trapped(address, size), &self.msix) {
            (Some((bar, offset)), Some(msix)) => msix.read(bar, offset, size, hardware),
            _ => u64::MAX,
        }
    }

    /// Writes to a trapped page.
    pub fn write_memory(
        &mut self,
        (address, size): (u64, u8),
        value: u64,
        vps: u32,
        hardware: &mut impl Hardware,
    ) {
        if let (Some((bar, offset)), Some(msix)) = (self.trapped(address, size), &mut self.msix) {
            msix.write((bar, offset, size), value, (&self.space, vps), hardware);
        }
    }

    /// The interrupt of an MSI-X table entry, or of MSI as entry 0.
    #[must_use]
    pub fn interrupt(&self, index: usize) -> Option<Entry> {
        let msix = self.msix.as_ref().and_then(|msix| msix.entry(index));
        let msi = self.msi.as_ref().filter(|_| index == 0);
        msix.or_else(|| msi.and_then(Msi::entry))
    }

    /// Takes everything from the child: interrupts, then BARs.
    pub fn withdraw(&mut self, hardware: &mut impl Hardware) {
        if let Some(msi) = &mut self.msi {
            msi.disable(hardware);
        }
        if let Some(msix) = &mut self.msix {
            msix.disable(hardware);
        }
        let msix = self.msix.as_ref().map(|msix| msix.description);
        for bar in &mut self.bars {
            bar.hide(msix.as_ref(), hardware);
        }
    }
}

/// Hands out addresses of the child's MMIO window, as firmware would.
pub struct Window {
    next: u64,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            next: map::BARS.start,
        }
    }
}

impl Window {
    /// An aligned range of a power of two.
    pub fn take(&mut self, length: u64) -> Option<u64> {
        let start = self.next.checked_next_multiple_of(length)?;
        if !map::BARS.contains(start, length) {
            return None;
        }
        self.next = start + length;
        Some(start)
    }
}

#[cfg(test)]
mod tests {
    use super::super::hardware::tests::Recorder;
    use super::*;
    use crate::pci::description::tests::Fake;

    fn function() -> Function {
        let description = Fake::network_card().describe().unwrap();
        let device = DeviceId::new(0, 2, 0, 0).unwrap();
        Function::new(device, 1, &description, &mut Window::default()).unwrap()
    }

    fn write(function: &mut Function, hardware: &mut Recorder, at: (u16, u8), value: u32) {
        function.write(at, value, (2, &[]), hardware);
    }

    #[test]
    fn cfg_01_the_decode_bit_is_virtual_and_hides_the_bars() {
        let (mut function, mut hardware) = (function(), Recorder::default());
        write(&mut function, &mut hardware, (4, 2), 6);
        // BAR 0 whole; BAR 3 without the pages of table and pending bits.
        let shown: Vec<_> = hardware.mapped.iter().map(|(g, m)| (*g, *m)).collect();
        assert_eq!(
            shown,
            [
                (0xc000_0000, (0xfeb8_0000, 32)),
                (0xc002_1000, (0xfebd_1000, 1)),
                (0xc002_3000, (0xfebd_3000, 1)),
            ]
        );
        assert!(function.answers(0xc002_0000, 4));
        write(&mut function, &mut hardware, (4, 2), 4);
        assert!(hardware.mapped.is_empty());
        assert!(!function.answers(0xc002_0000, 4));
        assert!(hardware.config_writes.is_empty(), "hardware saw nothing");
    }

    #[test]
    fn cfg_03_a_bar_moves_in_the_window_and_nowhere_else() {
        let (mut function, mut hardware) = (function(), Recorder::default());
        write(&mut function, &mut hardware, (4, 2), 2);
        write(&mut function, &mut hardware, (0x10, 4), 0xc800_0000);
        assert!(hardware.mapped.contains_key(&0xc800_0000));
        for address in [
            0,
            0x10_0000,
            0xfee0_0000,
            0xe000_0000,
            0xdfff_0000 + 0x1_0000,
        ] {
            write(&mut function, &mut hardware, (0x10, 4), address);
            let low = hardware.mapped.keys().filter(|g| **g != 0xc002_1000);
            assert_eq!(low.count(), 1, "{address:x}: shown nowhere");
        }
        write(&mut function, &mut hardware, (0x10, 4), 0xc002_0000);
        assert_eq!(hardware.mapped.len(), 2, "not over its sibling");
        assert!(
            hardware.config_writes.is_empty(),
            "the real one never moves"
        );
    }

    #[test]
    fn cfg_04_sizing_shows_nothing_at_the_sizing_value() {
        let (mut function, mut hardware) = (function(), Recorder::default());
        write(&mut function, &mut hardware, (4, 2), 2);
        write(&mut function, &mut hardware, (0x10, 4), 0xffff_ffff);
        assert_eq!(function.read(0x10, 4), 0xfffe_0000);
        assert_eq!(hardware.mapped.len(), 2);
        write(&mut function, &mut hardware, (0x30, 4), 0xffff_ffff);
        assert_eq!(function.read(0x30, 4), 0, "no expansion ROM");
    }

    #[test]
    fn msi_is_given_moved_and_taken() {
        let (mut function, mut hardware) = (function(), Recorder::default());
        write(&mut function, &mut hardware, (0xd4, 4), 0xfee0_0000);
        write(&mut function, &mut hardware, (0xdc, 2), 0x41);
        write(&mut function, &mut hardware, (0xd2, 2), 1);
        assert_eq!(
            hardware.config_writes,
            [
                (0xd4, 4, 0xfee0_0010),
                (0xd8, 4, 0),
                (0xdc, 2, 1),
                (0xd2, 2, 1)
            ]
        );
        write(&mut function, &mut hardware, (0xdc, 2), 0x42);
        assert_eq!(hardware.interrupts[&0x1_fee0_0010].vector, 0x42);
        function.withdraw(&mut hardware);
        assert!(hardware.interrupts.is_empty());
        assert_eq!(hardware.config_writes.last(), Some(&(0xd2, 2, 0)));
    }

    #[test]
    fn cfg_05_all_that_was_shown_is_hidden_again() {
        let (mut function, mut hardware) = (function(), Recorder::default());
        write(&mut function, &mut hardware, (4, 2), 6);
        function.withdraw(&mut hardware);
        assert!(hardware.mapped.is_empty());
    }
}
