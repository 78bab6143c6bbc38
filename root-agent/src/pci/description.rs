//! What a function is, read once when it is assigned. Nothing that the device says later changes it.

use abi::Status;
use abi::vendor::BarInfo;
use alloc::vec::Vec;

use super::bar::Bar;
use super::capability::{self, id};
use super::config::ConfigSpace;

/// Where an MSI-X structure lies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InBar {
    /// BAR that holds it.
    pub bar: Bar,
    /// Offset of the first byte.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
}

impl InBar {
    /// Whether the page with this offset in the BAR holds a part of it.
    #[must_use]
    pub fn touches_page(&self, page: u64) -> bool {
        page < self.offset + self.length && self.offset < page + 4096
    }

    /// Whether these bytes of the BAR lie in it.
    #[must_use]
    pub fn contains(&self, offset: u64, size: u8) -> bool {
        offset >= self.offset && offset + u64::from(size) <= self.offset + self.length
    }
}

/// MSI-X (PCI Local Bus Specification 3.0, 6.8.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MsixDescription {
    /// Offset of the capability.
    pub offset: u8,
    /// Entries of the table.
    pub entries: u16,
    /// The table.
    pub table: InBar,
    /// The pending bits.
    pub pending: InBar,
}

/// MSI (PCI Local Bus Specification 3.0, 6.8.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MsiDescription {
    /// Offset of the capability.
    pub offset: u8,
    /// Whether the address has 64 bits.
    pub wide: bool,
}

/// A function.
#[derive(Clone, Debug)]
pub struct Description {
    /// The first 256 bytes of its configuration space.
    pub bytes: [u8; 256],
    /// Its memory BARs.
    pub bars: Vec<Bar>,
    /// Offset of its PCI Express capability.
    pub express: Option<u8>,
    /// Offset of its power management capability.
    pub power: Option<u8>,
    /// Message-signalled interrupts.
    pub msi: Option<MsiDescription>,
    /// MSI-X.
    pub msix: Option<MsixDescription>,
}

/// Why a function cannot be described.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unusable {
    /// Nothing answers in its configuration space.
    Silent,
    /// Its MSI-X capability says something else than at boot.
    Msix,
}

impl Description {
    /// Reads a function; `bars` is what the hypervisor says of its base address registers, in their order.
    pub fn read(config: &impl ConfigSpace, bars: &[BarInfo]) -> Result<Self, Unusable> {
        if config.read(0, 2) == 0xffff {
            return Err(Unusable::Silent);
        }
        let mut bytes = [0; 256];
        for (offset, word) in (0u16..).step_by(4).zip(bytes.chunks_exact_mut(4)) {
            word.copy_from_slice(&config.read(offset, 4).to_le_bytes());
        }
        let snapshot = Snapshot(&bytes);
        let capabilities = capability::list(&snapshot);
        let offset_of = |id| capabilities.iter().find(|c| c.id == id).map(|c| c.offset);
        let msix = match offset_of(id::MSIX) {
            Some(offset) => Some(read_msix(&snapshot, bars, offset).ok_or(Unusable::Msix)?),
            None => None,
        };
        let msi = offset_of(id::MSI).filter(|&offset| offset <= 0xf0);
        Ok(Self {
            bytes,
            express: offset_of(id::EXPRESS).filter(|&offset| offset <= 0xec),
            power: offset_of(id::POWER).filter(|&offset| offset <= 0xf8),
            msi: msi.map(|offset| MsiDescription {
                offset,
                wide: snapshot.read(u16::from(offset) + 2, 2) & 1 << 7 != 0,
            }),
            msix,
            bars: numbered(bars)
                .filter_map(|(index, info)| Bar::new(index, info))
                .collect(),
        })
    }
}

fn numbered(bars: &[BarInfo]) -> impl Iterator<Item = (u8, &BarInfo)> {
    (0u8..).zip(bars)
}

/// Configuration space as it was read once.
struct Snapshot<'b>(&'b [u8; 256]);

impl ConfigSpace for Snapshot<'_> {
    fn read(&self, offset: u16, size: u8) -> u32 {
        let start = usize::from(offset);
        let bytes = self.0.get(start..start + usize::from(size)).unwrap_or(&[]);
        bytes
            .iter()
            .rev()
            .fold(0, |value, &byte| value << 8 | u32::from(byte))
    }

    fn write(&self, _: u16, _: u8, _: u32) -> Result<u32, Status> {
        Err(Status::OPERATION_DENIED)
    }
}

/// MSI-X as the function says, if that is what the hypervisor found at boot: its pages are the ones that it keeps.
fn read_msix(config: &Snapshot, bars: &[BarInfo], offset: u8) -> Option<MsixDescription> {
    let at = u16::from(offset);
    if at > 0xf4 {
        return None;
    }
    let entries = (config.read(at + 2, 2) as u16 & 0x7ff) + 1;
    let place = |register: u32, wanted: u64, found: fn(&BarInfo) -> (u64, u64)| {
        let (index, info) = numbered(bars).find(|(index, _)| u32::from(*index) == register & 7)?;
        let (offset, length) = found(info);
        let same = (offset, length) == (u64::from(register & !7), wanted);
        let bar = Bar::new(index, info)?;
        same.then_some(InBar {
            bar,
            offset,
            length,
        })
    };
    let pending = u64::from(entries.div_ceil(64)) * 8;
    Some(MsixDescription {
        offset,
        entries,
        table: place(config.read(at + 4, 4), u64::from(entries) * 16, |info| {
            (info.table_offset, info.table_bytes)
        })?,
        pending: place(config.read(at + 8, 4), pending, |info| {
            (info.pending_offset, info.pending_bytes)
        })?,
    })
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use core::cell::RefCell;

    /// A function whose BAR sizes are given, and whose configuration space is what the test says.
    pub struct Fake {
        pub bytes: RefCell<[u8; 256]>,
        pub bars: [BarInfo; 6],
    }

    impl Fake {
        pub fn put(&self, offset: u16, bytes: &[u8]) {
            let start = usize::from(offset);
            self.bytes.borrow_mut()[start..start + bytes.len()].copy_from_slice(bytes);
        }

        /// A network card: BAR 0 of 128 KiB, BAR 3 of 16 KiB with an MSI-X table of 5 entries at 0 and its pending
        /// bits at 2000h; MSI, power management, PCI Express with reset, and a vendor capability.
        pub fn network_card() -> Self {
            let mut bars = [BarInfo::default(); 6];
            (bars[0].address, bars[0].size) = (0xfeb8_0000, 0x2_0000);
            bars[3] = BarInfo {
                address: 0xfebd_0000,
                size: 0x4000,
                table_bytes: 5 * 16,
                pending_offset: 0x2000,
                pending_bytes: 8,
                ..BarInfo::default()
            };
            let fake = Self {
                bytes: RefCell::new([0; 256]),
                bars,
            };
            fake.put(0, &[0x86, 0x80, 0xd3, 0x10, 0x06, 0x00, 0x10, 0x00]);
            fake.put(0x08, &[0x00, 0x00, 0x00, 0x02]);
            fake.put(0x10, &0xfeb8_0000u32.to_le_bytes());
            fake.put(0x1c, &0xfebd_0000u32.to_le_bytes());
            fake.put(0x34, &[0xc8]);
            fake.put(0xc8, &[id::POWER, 0xd0, 0x23, 0xc8]);
            fake.put(0xd0, &[id::MSI, 0xe0, 0x80, 0x01]);
            fake.put(0xe0, &[id::EXPRESS, 0xa0, 0x01, 0x00, 0, 0, 0, 0x10]);
            fake.put(
                0xa0,
                &[id::MSIX, 0x40, 0x04, 0x00, 3, 0, 0, 0, 3, 0x20, 0, 0],
            );
            fake.put(0x40, &[0x09, 0x00, 0x10, 0xaa]);
            fake
        }

        /// What it says of itself.
        pub fn describe(&self) -> Result<Description, Unusable> {
            Description::read(self, &self.bars)
        }
    }

    impl ConfigSpace for Fake {
        fn read(&self, offset: u16, size: u8) -> u32 {
            Snapshot(&self.bytes.borrow()).read(offset, size)
        }

        fn write(&self, offset: u16, size: u8, value: u32) -> Result<u32, Status> {
            self.put(offset, &value.to_le_bytes()[..usize::from(size)]);
            Ok(self.read(offset, size))
        }
    }

    #[test]
    fn a_function_is_described_and_left_as_it_was() {
        let fake = Fake::network_card();
        let before = *fake.bytes.borrow();
        let found = fake.describe().unwrap();
        assert_eq!(*fake.bytes.borrow(), before);
        assert_eq!(found.bars.len(), 2);
        assert_eq!(found.bars[1].size, 0x4000);
        let msix = found.msix.unwrap();
        assert_eq!((msix.entries, msix.pending.offset), (5, 0x2000));
        assert!(found.msi.unwrap().wide);
        assert_eq!((found.power, found.express), (Some(0xc8), Some(0xe0)));
    }

    #[test]
    fn cfg_08_lies_about_capabilities_end_in_refusals() {
        for (offset, lie) in [(0xa4u16, 7u8), (0xa4, 1), (0xa3, 0x07), (0xa6, 0xff)] {
            let fake = Fake::network_card();
            fake.put(offset, &[lie]);
            assert_eq!(fake.describe().unwrap_err(), Unusable::Msix);
        }
        let mut fake = Fake::network_card();
        fake.bars[3].address = 0;
        assert_eq!(fake.describe().unwrap_err(), Unusable::Msix, "nowhere");
        let fake = Fake::network_card();
        fake.put(0x41, &[0xc8]);
        assert!(fake.describe().is_ok(), "a loop ends");
        fake.put(0, &[0xff, 0xff]);
        assert_eq!(fake.describe().unwrap_err(), Unusable::Silent);
    }

    #[test]
    fn cfg_08_no_configuration_space_breaks_the_reader() {
        let mut state = 7u32;
        for _ in 0..3000 {
            let fake = Fake::network_card();
            for _ in 0..40 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                fake.put((state >> 8) as u16 & 0xff, &[(state >> 24) as u8]);
            }
            let _ = fake.describe();
        }
    }
}
