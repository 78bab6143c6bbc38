//! Intel VT-d specification 4.1, section 8.3.1 "Device Scope Structure".

use address::RequesterId;

use super::SIGNATURE;
use crate::Error;
use crate::bytes::{Record, RecordHeader, Records, u8_at};

const FIXED: usize = 6;

/// What a scope names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ScopeKind {
    /// Type 1: one PCI endpoint.
    Endpoint,
    /// Type 2: a bridge and all that stands below it.
    SubHierarchy,
    /// Type 3: an IOAPIC; the enumeration id is its MADT id.
    IoApic,
    /// Type 4: an HPET block that raises messages; the enumeration id is its number.
    Hpet,
    /// Type 5: a device of the ACPI namespace; the enumeration id is its ANDD number.
    NamespaceDevice,
    /// A type that later editions may define. It names nothing here.
    Other(u8),
}

/// One step of a path: device and function on the bus that the steps before it lead to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PathStep {
    /// Device number, 0 to 31.
    pub device: u8,
    /// Function number, 0 to 7.
    pub function: u8,
}

impl PathStep {
    /// The requester id of this step on a bus.
    #[must_use]
    pub const fn on(self, bus: u8) -> RequesterId {
        RequesterId((bus as u16) << 8 | (self.device as u16 & 31) << 3 | self.function as u16 & 7)
    }
}

/// A device, named by the way to it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DeviceScope<'a> {
    /// What it is.
    pub kind: ScopeKind,
    /// IOAPIC id, HPET number or ANDD number; else without meaning.
    pub enumeration_id: u8,
    /// Bus at which the path starts.
    pub start_bus: u8,
    /// Pairs of device and function, at least one, each within its range.
    path: &'a [u8],
}

impl<'a> DeviceScope<'a> {
    /// The steps from `start_bus`, at least one. All but the last go through bridges.
    pub fn path(&self) -> impl DoubleEndedIterator<Item = PathStep> + ExactSizeIterator + use<'a> {
        let (steps, _) = self.path.as_chunks::<2>();
        steps
            .iter()
            .map(|&[device, function]| PathStep { device, function })
    }
}

/// The scopes of one structure. After the first malformed one it ends.
#[derive(Clone, Debug)]
pub struct Scopes<'a>(Records<'a>);

impl<'a> Scopes<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(Records::new(SIGNATURE, RecordHeader::Bytes, bytes))
    }
}

impl<'a> Iterator for Scopes<'a> {
    type Item = Result<DeviceScope<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let scope = self.0.next()?.and_then(|record| scope(&record));
        if scope.is_err() {
            self.0 = Records::new(SIGNATURE, RecordHeader::Bytes, &[]);
        }
        Some(scope)
    }
}

fn scope<'a>(record: &Record<'a>) -> Result<DeviceScope<'a>, Error> {
    let short = record.short(SIGNATURE, FIXED);
    let kind = u8_at(record.bytes, 0).ok_or(short)?;
    let scope = DeviceScope {
        kind: scope_kind(kind),
        enumeration_id: u8_at(record.bytes, 4).ok_or(short)?,
        start_bus: u8_at(record.bytes, 5).ok_or(short)?,
        path: record.bytes.get(FIXED..).ok_or(short)?,
    };
    let (steps, odd) = scope.path.as_chunks::<2>();
    let sound = |[device, function]: &[u8; 2]| *device < 32 && *function < 8;
    if steps.is_empty() || !odd.is_empty() || !steps.iter().all(sound) {
        return Err(Error::Path {
            kind,
            start_bus: scope.start_bus,
            bytes: scope.path.len(),
        });
    }
    Ok(scope)
}

const fn scope_kind(kind: u8) -> ScopeKind {
    match kind {
        1 => ScopeKind::Endpoint,
        2 => ScopeKind::SubHierarchy,
        3 => ScopeKind::IoApic,
        4 => ScopeKind::Hpet,
        5 => ScopeKind::NamespaceDevice,
        other => ScopeKind::Other(other),
    }
}
