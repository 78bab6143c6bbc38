//! ACPI 6.5, section 5.2.12 "Multiple APIC Description Table".

use address::{ApicId, Spa};

use crate::bytes::{Record, RecordHeader, Records, u8_at, u16_at, u32_at, u64_at};
use crate::{Error, Signature, Table};

/// The table's signature.
pub const SIGNATURE: Signature = Signature(*b"APIC");
const FIXED: usize = 44;

/// A checked MADT.
#[derive(Clone, Copy, Debug)]
pub struct Madt<'a> {
    table: Table<'a>,
}

/// One logical processor (types 0 and 9).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Processor {
    /// Its local APIC id.
    pub apic_id: ApicId,
    /// ACPI processor UID.
    pub uid: u32,
    /// Flag 0: usable now.
    pub enabled: bool,
    /// Flag 1: may be brought online later. Means nothing where `enabled` is set.
    pub online_capable: bool,
}

/// One IOAPIC (type 1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct IoApic {
    /// Its id; device scopes call it enumeration id.
    pub id: u8,
    /// Physical address of its registers.
    pub address: Spa,
    /// Global system interrupt of its first pin.
    pub gsi_base: u32,
}

/// Polarity and trigger mode (section 5.2.12.5, "MPS INTI Flags").
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct IntiFlags(pub u16);

impl IntiFlags {
    /// Whether the line is active low; `None` where it follows its bus.
    #[must_use]
    pub const fn active_low(self) -> Option<bool> {
        match self.0 & 3 {
            1 => Some(false),
            3 => Some(true),
            _ => None,
        }
    }

    /// Whether the line is level-triggered; `None` where it follows its bus.
    #[must_use]
    pub const fn level(self) -> Option<bool> {
        match self.0 >> 2 & 3 {
            1 => Some(false),
            3 => Some(true),
            _ => None,
        }
    }
}

/// An ISA interrupt that is not wired to the pin of its own number (type 2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SourceOverride {
    /// Bus; always 0, ISA.
    pub bus: u8,
    /// ISA interrupt number.
    pub source: u8,
    /// Global system interrupt that it raises.
    pub gsi: u32,
    /// Polarity and trigger mode.
    pub flags: IntiFlags,
}

/// An NMI line of a local APIC (types 4 and 10).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LocalNmi {
    /// ACPI processor UID; `None`: every processor.
    pub uid: Option<u32>,
    /// LINT pin, 0 or 1.
    pub lint: u8,
    /// Polarity and trigger mode.
    pub flags: IntiFlags,
}

/// One entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Entry {
    /// Types 0 and 9.
    Processor(Processor),
    /// Type 1.
    IoApic(IoApic),
    /// Type 2.
    SourceOverride(SourceOverride),
    /// Type 3: a pin that raises an NMI.
    NmiSource {
        /// Global system interrupt.
        gsi: u32,
        /// Polarity and trigger mode.
        flags: IntiFlags,
    },
    /// Types 4 and 10.
    LocalNmi(LocalNmi),
    /// Type 5: the local APICs' address in 64 bits.
    LocalApicAddress(Spa),
    /// A type that nobody here reads.
    Other(u8),
}

impl<'a> Madt<'a> {
    /// Checks the table's header; entries are checked as they are walked.
    ///
    /// # Errors
    /// Those of [`Table::parse`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        Table::parse(bytes, SIGNATURE, FIXED).map(|table| Self { table })
    }

    /// Physical address of the local APICs' registers: a type 5 entry's, else the fixed field's.
    #[must_use]
    pub fn local_apic_address(&self) -> Spa {
        let wide = self.entries().find_map(|entry| match entry {
            Ok(Entry::LocalApicAddress(address)) => Some(address),
            _ => None,
        });
        let narrow = u32_at(self.table.bytes(), 36).unwrap_or(0);
        wide.unwrap_or(Spa::new(narrow.into()))
    }

    /// Flag 0: the machine has a pair of 8259 controllers too.
    #[must_use]
    pub fn has_8259(&self) -> bool {
        u32_at(self.table.bytes(), 40).is_some_and(|flags| flags & 1 != 0)
    }

    /// All entries in their order. The first malformed one is the last item.
    pub fn entries(&self) -> impl Iterator<Item = Result<Entry, Error>> + use<'a> {
        let mut broken = false;
        Records::new(SIGNATURE, RecordHeader::Bytes, self.table.from(FIXED))
            .map(|record| entry(&record?))
            .take_while(move |entry| !core::mem::replace(&mut broken, entry.is_err()))
    }

    /// Logical processors that are enabled or may come online.
    pub fn processors(&self) -> impl Iterator<Item = Result<Processor, Error>> + use<'a> {
        self.select(|entry| match entry {
            Entry::Processor(p) if p.enabled || p.online_capable => Some(p),
            _ => None,
        })
    }

    /// IOAPICs.
    pub fn io_apics(&self) -> impl Iterator<Item = Result<IoApic, Error>> + use<'a> {
        self.select(|entry| match entry {
            Entry::IoApic(io_apic) => Some(io_apic),
            _ => None,
        })
    }

    /// Interrupt source overrides.
    pub fn source_overrides(
        &self,
    ) -> impl Iterator<Item = Result<SourceOverride, Error>> + use<'a> {
        self.select(|entry| match entry {
            Entry::SourceOverride(source) => Some(source),
            _ => None,
        })
    }

    fn select<T, F: Fn(Entry) -> Option<T>>(
        &self,
        pick: F,
    ) -> impl Iterator<Item = Result<T, Error>> + use<'a, T, F> {
        self.entries()
            .filter_map(move |entry| entry.map(&pick).transpose())
    }
}

fn entry(record: &Record<'_>) -> Result<Entry, Error> {
    let minimum = match record.kind {
        0 | 3 => 8,
        1 | 5 | 10 => 12,
        2 => 10,
        4 => 6,
        9 => 16,
        _ => 2,
    };
    if record.bytes.len() < minimum {
        return Err(record.short(SIGNATURE, minimum));
    }
    decode(record.kind, record.bytes)
        .ok_or_else(|| record.short(SIGNATURE, minimum))
        .and_then(check)
}

fn decode(kind: u16, bytes: &[u8]) -> Option<Entry> {
    Some(match kind {
        0 => local_apic(bytes)?,
        1 => Entry::IoApic(IoApic {
            id: u8_at(bytes, 2)?,
            address: Spa::new(u32_at(bytes, 4)?.into()),
            gsi_base: u32_at(bytes, 8)?,
        }),
        2 => Entry::SourceOverride(SourceOverride {
            bus: u8_at(bytes, 2)?,
            source: u8_at(bytes, 3)?,
            gsi: u32_at(bytes, 4)?,
            flags: IntiFlags(u16_at(bytes, 8)?),
        }),
        3 => Entry::NmiSource {
            flags: IntiFlags(u16_at(bytes, 2)?),
            gsi: u32_at(bytes, 4)?,
        },
        4 => Entry::LocalNmi(LocalNmi {
            uid: Some(u8_at(bytes, 2)?.into()).filter(|uid| *uid != 0xff),
            flags: IntiFlags(u16_at(bytes, 3)?),
            lint: u8_at(bytes, 5)?,
        }),
        5 => Entry::LocalApicAddress(Spa::new(u64_at(bytes, 4)?)),
        9 => local_x2apic(bytes)?,
        10 => Entry::LocalNmi(LocalNmi {
            uid: Some(u32_at(bytes, 4)?).filter(|uid| *uid != u32::MAX),
            flags: IntiFlags(u16_at(bytes, 2)?),
            lint: u8_at(bytes, 8)?,
        }),
        // The record's type is one byte wide.
        other => Entry::Other(other as u8),
    })
}

fn local_apic(bytes: &[u8]) -> Option<Entry> {
    processor(
        u8_at(bytes, 3)?.into(),
        u8_at(bytes, 2)?.into(),
        u32_at(bytes, 4)?,
    )
}

fn local_x2apic(bytes: &[u8]) -> Option<Entry> {
    processor(u32_at(bytes, 4)?, u32_at(bytes, 12)?, u32_at(bytes, 8)?)
}

fn processor(apic_id: u32, uid: u32, flags: u32) -> Option<Entry> {
    Some(Entry::Processor(Processor {
        apic_id: ApicId(apic_id),
        uid,
        enabled: flags & 1 != 0,
        online_capable: flags & 2 != 0,
    }))
}

fn check(entry: Entry) -> Result<Entry, Error> {
    match entry {
        Entry::IoApic(IoApic { address, .. })
            if address.as_u64() == 0 || address.as_u64() & 0xf != 0 =>
        {
            Err(Error::Address {
                table: SIGNATURE,
                address: address.as_u64(),
            })
        }
        sound => Ok(sound),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::table;
    extern crate std;
    use std::vec::Vec;

    /// What QEMU's q35 shows for two processors, with an x2APIC and a disabled entry added.
    fn sample() -> Vec<u8> {
        let mut body = Vec::from([0, 0, 0xe0, 0xfe, 1, 0, 0, 0]);
        body.extend([0, 8, 0, 0, 1, 0, 0, 0]);
        body.extend([0, 8, 1, 1, 1, 0, 0, 0]);
        body.extend([0, 8, 2, 2, 0, 0, 0, 0]);
        body.extend([9, 16, 0, 0, 0, 1, 0, 0, 2, 0, 0, 0, 7, 0, 0, 0]);
        body.extend([1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0]);
        body.extend([2, 10, 0, 0, 2, 0, 0, 0, 0, 0]);
        body.extend([2, 10, 0, 5, 5, 0, 0, 0, 0xd, 0]);
        body.extend([4, 6, 0xff, 0, 0, 1]);
        body.extend([3, 8, 0xf, 0, 9, 0, 0, 0]);
        body
    }

    #[test]
    fn the_table_of_an_emulated_machine_is_read() {
        let bytes = table(b"APIC", 3, &sample());
        let madt = Madt::parse(&bytes).unwrap();
        assert!(madt.has_8259());
        assert_eq!(madt.local_apic_address(), Spa::new(0xfee0_0000));
        let lps: Vec<_> = madt.processors().map(|p| p.unwrap()).collect();
        assert_eq!(
            lps.iter()
                .map(|p| (p.apic_id.0, p.uid, p.enabled))
                .collect::<Vec<_>>(),
            [(0, 0, true), (1, 1, true), (0x100, 7, false)]
        );
        let io: Vec<_> = madt.io_apics().map(|i| i.unwrap()).collect();
        assert_eq!(
            io,
            [IoApic {
                id: 0,
                address: Spa::new(0xfec0_0000),
                gsi_base: 0
            }]
        );
        let overrides: Vec<_> = madt.source_overrides().map(|o| o.unwrap()).collect();
        assert_eq!(
            (
                overrides[0].source,
                overrides[0].gsi,
                overrides[0].flags.level()
            ),
            (0, 2, None)
        );
        assert_eq!(
            (overrides[1].flags.level(), overrides[1].flags.active_low()),
            (Some(true), Some(false))
        );
        assert!(madt.entries().any(|e| {
            e == Ok(Entry::LocalNmi(LocalNmi {
                uid: None,
                lint: 1,
                flags: IntiFlags(0),
            }))
        }));
        assert!(
            madt.entries()
                .any(|e| matches!(e, Ok(Entry::NmiSource { gsi: 9, .. })))
        );
    }

    #[test]
    fn a_wide_local_apic_address_counts_before_the_narrow_one() {
        let mut body = sample();
        body.extend([5, 12, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
        let bytes = table(b"APIC", 3, &body);
        let madt = Madt::parse(&bytes).unwrap();
        assert_eq!(madt.local_apic_address(), Spa::new(0x1_0000_0000));
    }

    #[test]
    fn fw_01_entries_too_short_for_their_type_end_the_walk_with_an_error() {
        for (kind, minimum) in [
            (0u8, 8u8),
            (1, 12),
            (2, 10),
            (3, 8),
            (4, 6),
            (5, 12),
            (9, 16),
            (10, 12),
        ] {
            for length in 0..minimum {
                let mut body = Vec::from([0; 8]);
                body.extend([kind, length]);
                body.resize(8 + usize::from(length.max(2)), 0x10);
                body.extend([0, 8, 0, 0, 1, 0, 0, 0]);
                let bytes = table(b"APIC", 3, &body);
                let found: Vec<_> = Madt::parse(&bytes).unwrap().entries().collect();
                assert!(
                    matches!(found[..], [Err(Error::RecordLength { .. })]),
                    "type {kind} length {length}"
                );
            }
        }
    }

    #[test]
    fn fw_01_an_ioapic_at_zero_is_refused() {
        let mut body = Vec::from([0; 8]);
        body.extend([1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let bytes = table(b"APIC", 3, &body);
        let found: Vec<_> = Madt::parse(&bytes).unwrap().io_apics().collect();
        assert!(matches!(
            found[..],
            [Err(Error::Address { address: 0, .. })]
        ));
    }
}
