//! Virtual BARs: the guest moves them inside its own window; the real ones stay where they are.

use super::hardware::Hardware;
use super::space::Space;
use crate::emulation::map;
use crate::facts::Span;
use crate::pci::bar::Bar;
use crate::pci::config::register;
use crate::pci::description::MsixDescription;

const PAGE: u64 = 4096;

/// A BAR of a virtual function.
pub struct VirtualBar {
    /// The real one.
    pub real: Bar,
    /// Where the guest sees it now; `None` while it sees it nowhere.
    pub shown: Option<u64>,
}

impl VirtualBar {
    /// A virtual BAR that is shown nowhere; its register is set up in `space`.
    pub fn new(real: Bar, space: &mut Space) -> Self {
        let at = usize::from(register::BAR0) + 4 * usize::from(real.index);
        let flags = u8::from(real.wide) << 2 | u8::from(real.prefetchable) << 3;
        space.set(at, &[flags]);
        let bar = Self { real, shown: None };
        let mask = !(bar.length() - 1);
        space.allow(at, &(mask as u32 & !0xf).to_le_bytes());
        if real.wide {
            space.allow(at + 4, &((mask >> 32) as u32).to_le_bytes());
        }
        bar
    }

    /// Bytes that the guest sees: whole pages.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.real.size.max(PAGE)
    }

    /// Writes the address that firmware would have given it.
    pub fn place(&self, space: &mut Space, address: u64) {
        let at = register::BAR0 + 4 * u16::from(self.real.index);
        space.write(at, 4, address as u32);
        if self.real.wide {
            space.write(at + 4, 4, (address >> 32) as u32);
        }
    }

    /// Where the register says that it is, if that lies in the child's window.
    #[must_use]
    pub fn wanted(&self, space: &Space) -> Option<u64> {
        let at = register::BAR0 + 4 * u16::from(self.real.index);
        let low = u64::from(space.read(at, 4) & !0xf);
        let high = if self.real.wide {
            u64::from(space.read(at + 4, 4)) << 32
        } else {
            0
        };
        let address = high | low;
        map::BARS
            .contains(address, self.length())
            .then_some(address)
    }

    /// The guest-physical range that it is shown at.
    #[must_use]
    pub fn span(&self) -> Option<Span> {
        self.shown.map(|start| Span {
            start,
            length: self.length(),
        })
    }

    /// Shows it at an address, except the pages that hold MSI-X structures: those are emulated.
    pub fn show(&mut self, at: u64, msix: Option<&MsixDescription>, hardware: &mut impl Hardware) {
        let all = || runs(&self.real, self.length(), msix);
        for (done, (offset, pages)) in all().enumerate() {
            if !hardware.map_pages(at + offset, self.real.address + offset, pages) {
                // Not a page of it stays: what is not shown reads all ones.
                for (offset, pages) in all().take(done) {
                    hardware.unmap_pages(at + offset, pages);
                }
                return;
            }
        }
        self.shown = Some(at);
    }

    /// Hides it.
    pub fn hide(&mut self, msix: Option<&MsixDescription>, hardware: &mut impl Hardware) {
        if let Some(at) = self.shown.take() {
            for (offset, pages) in runs(&self.real, self.length(), msix) {
                hardware.unmap_pages(at + offset, pages);
            }
        }
    }
}

/// Whether a page of a BAR holds MSI-X structures.
#[must_use]
pub fn is_trapped(bar: &Bar, page: u64, msix: Option<&MsixDescription>) -> bool {
    msix.is_some_and(|msix| {
        [msix.table, msix.pending]
            .iter()
            .any(|place| place.bar.index == bar.index && place.touches_page(page))
    })
}

/// Offsets and lengths in pages of what may be shown, in one piece each.
fn runs<'a>(
    bar: &'a Bar,
    length: u64,
    msix: Option<&'a MsixDescription>,
) -> impl Iterator<Item = (u64, u64)> + 'a {
    let mut next = 0;
    core::iter::from_fn(move || {
        while next < length && is_trapped(bar, next, msix) {
            next += PAGE;
        }
        let start = next;
        while next < length && !is_trapped(bar, next, msix) {
            next += PAGE;
        }
        (next > start).then_some((start, (next - start) / PAGE))
    })
}
