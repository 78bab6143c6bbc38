//! PCI functions as the boot walk found them, their configuration space behind the guard, and whose MMIO is whose.

use alloc::vec::Vec;

use address::{DeviceId, PAGE_SHIFT};
use topology::guard::{self, Admitted, Message, Refusal, Window, World, Write};
use topology::{Bar, ConfigSpace, Function, Topology};

/// Functions, windows, and the way to configuration space.
#[derive(Debug)]
pub struct Pci<C> {
    topology: Topology,
    windows: Vec<Window>,
    kept: Vec<Window>,
    config: C,
    /// Pages of each function's BARs that a partition's SLAT maps, by index of the function.
    mapped: Vec<u32>,
}

impl<C: ConfigSpace> Pci<C> {
    /// What the boot walk found; where BARs may stand; what the hypervisor keeps. Allocates, and so is for boot only.
    #[must_use]
    pub fn new(topology: Topology, windows: Vec<Window>, kept: Vec<Window>, config: C) -> Self {
        let mapped = topology.functions.iter().map(|_| 0).collect();
        Self {
            topology,
            windows,
            kept,
            config,
            mapped,
        }
    }

    /// A function.
    #[must_use]
    pub fn function(&self, device: DeviceId) -> Option<&Function> {
        self.topology.function(device)
    }

    /// An IOMMU's register base, by its index.
    #[must_use]
    pub fn unit_base(&self, index: usize) -> Option<u64> {
        self.topology
            .units
            .get(index)
            .map(|unit| unit.base.as_u64())
    }

    /// The function whose BAR page may be mapped to the function's owner: wholly inside one memory BAR, with nothing of an
    /// interrupt table on it. `None` for every other page.
    #[must_use]
    pub fn device_at(&self, page: u64) -> Option<DeviceId> {
        self.function_at(page)
            .and_then(|index| self.topology.functions.get(index))
            .map(|function| function.id)
    }

    fn function_at(&self, page: u64) -> Option<usize> {
        self.topology
            .functions
            .iter()
            .position(|function| owns_page(function, page))
    }

    /// Counts a mapping of a BAR page, or one fewer.
    pub fn count(&mut self, page: u64, more: bool) {
        let Some(count) = self
            .function_at(page)
            .and_then(|index| self.mapped.get_mut(index))
        else {
            return;
        };
        *count = if more {
            count.saturating_add(1)
        } else {
            count.saturating_sub(1)
        };
    }

    /// BAR pages of a function that a SLAT maps.
    #[must_use]
    pub fn mapped(&self, device: DeviceId) -> u32 {
        self.topology
            .find(device)
            .and_then(|index| self.mapped.get(index))
            .copied()
            .unwrap_or(0)
    }

    /// Writes configuration space as far as the guard lets it; returns what the register holds then.
    ///
    /// # Errors
    /// The guard's. Nothing was written.
    pub fn write(
        &mut self,
        device: DeviceId,
        holder: guard::Holder,
        write: Write,
        messages: &[Message],
        (offset, size): (u16, u8),
    ) -> Result<u32, Refusal> {
        let index = self.topology.find(device).ok_or(Refusal::NoFunction)?;
        let world = World {
            functions: &self.topology.functions,
            windows: &self.windows,
            kept: &self.kept,
            allowed_messages: messages,
        };
        let config = &mut self.config;
        let admitted = guard::check(&world, index, holder, write, |dword| {
            config.read32(device, dword)
        })?;
        // A BAR that a partition's SLAT shows stands still: its pages would change their meaning.
        if admitted.moved.is_some() && self.mapped(device) != 0 {
            return Err(Refusal::BarInUse);
        }
        self.perform(device, offset, size, &admitted);
        if let Some((bar, address)) = admitted.moved {
            self.topology.note_bar(index, bar, address);
        }
        Ok(self.read(device, offset, size))
    }

    /// Programs a function's MSI capability and switches it on, without asking the guard; false where it has none.
    #[cfg(feature = "test-calls")]
    pub fn put_message(&mut self, device: DeviceId, address: u32, data: u16) -> bool {
        let Some(msi) = self.topology.function(device).and_then(|it| it.msi) else {
            return false;
        };
        self.config.write32(device, msi.offset + 4, address);
        if msi.wide {
            self.config.write32(device, msi.offset + 8, 0);
        }
        self.config.write16(device, msi.data(), data);
        let control = self.config.read16(device, msi.offset + 2);
        // Bit 0: on; bits 6:4: one message.
        self.config
            .write16(device, msi.offset + 2, control & !0x70 | 1);
        true
    }

    fn perform(&mut self, device: DeviceId, offset: u16, size: u8, admitted: &Admitted) {
        match size {
            1 => self.config.write8(device, offset, admitted.value as u8),
            2 => self.config.write16(device, offset, admitted.value as u16),
            _ => self.config.write32(device, offset, admitted.value),
        }
    }

    fn read(&mut self, device: DeviceId, offset: u16, size: u8) -> u32 {
        match size {
            1 => u32::from(self.config.read8(device, offset)),
            2 => u32::from(self.config.read16(device, offset)),
            _ => self.config.read32(device, offset),
        }
    }
}

/// Whether a whole page lies in one memory BAR of the function, away from its MSI-X table and pending bits.
fn owns_page(function: &Function, page: u64) -> bool {
    function.bars.iter().enumerate().any(|(index, bar)| {
        bar.as_ref().is_some_and(|bar| {
            holds_page(bar, page) && !touches_interrupt_table(function, index, bar, page)
        })
    })
}

fn holds_page(bar: &Bar, page: u64) -> bool {
    let (Some(start), Some(end)) = (bar.memory(), bar.end()) else {
        return false;
    };
    page >= start.page() && page < end >> PAGE_SHIFT && start.page_offset() == 0
}

fn touches_interrupt_table(function: &Function, index: usize, bar: &Bar, page: u64) -> bool {
    let Some(msix) = &function.msix else {
        return false;
    };
    let on_page = |in_bar: u8, offset: u32, bytes: u64| {
        let first = bar.address.wrapping_add(u64::from(offset));
        let last = first.wrapping_add(bytes.saturating_sub(1));
        usize::from(in_bar) == index && page >= first >> PAGE_SHIFT && page <= last >> PAGE_SHIFT
    };
    on_page(msix.table_bar, msix.table_offset, msix.table_bytes())
        || on_page(msix.pba_bar, msix.pba_offset, msix.pba_bytes())
}
