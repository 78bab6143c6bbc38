//! Units that name requester ids (IVRS), one by one or by ranges, and the aliases under which ids come.

use address::{DeviceId, PageSize, RequesterId};
use alloc::vec::Vec;

use firmware::Error;
use firmware::ivrs::{Entry, Ivhd, Ivmd, Ivrs, SIGNATURE, SpecialKind as Variety, Structure};

use crate::{
    ConfigSpace, Function, Problem, Reason, RequesterRange, ReservedRange, SpecialDevice,
    SpecialKind, Topology, Unit, UnitKind,
};

/// Ranges of ids that are read. More are on no machine, and would be a long search for every function.
const MOST_CLAIMS: usize = 8192;

/// That a unit names the ids from `first` to `last`.
#[derive(Clone, Copy)]
struct Claim {
    segment: u16,
    first: RequesterId,
    last: RequesterId,
    unit: usize,
}

impl Claim {
    fn names(&self, segment: u16, id: RequesterId) -> bool {
        self.segment == segment && self.first <= id && id <= self.last
    }
}

impl Topology {
    /// Adds the aliases that the table states, before groups are made of them.
    pub(crate) fn find_named_aliases(&mut self, ivrs: &Ivrs<'_>) {
        let units = ivrs.units().map_while(Result::ok);
        let entries = units.flat_map(|unit| {
            let segment = unit.segment;
            unit.devices
                .map_while(Result::ok)
                .map(move |entry| (segment, entry))
        });
        for (segment, entry) in entries.take(MOST_CLAIMS) {
            if let Entry::Devices {
                first,
                last,
                alias: Some(alias),
            } = entry
            {
                let named = |function: &&mut Function| {
                    let id = function.id;
                    id.segment == segment && first <= id.requester && id.requester <= last
                };
                self.functions
                    .iter_mut()
                    .filter(named)
                    .for_each(|function| add_alias(function, alias));
            }
        }
    }

    pub(super) fn read_ivrs(&mut self, ivrs: &Ivrs<'_>) -> Result<(), Error> {
        let mut claims = Vec::new();
        // What stands before the fault is still used to block devices: only assignment is off the table.
        let result = self.read_blocks(ivrs, &mut claims);
        self.refuse_twins();
        self.drop_double_specials();
        for function in &mut self.functions {
            let found = unit_of(function, &claims);
            function.unit = found.ok();
            function.unassignable = function.unassignable.or(found.err());
        }
        self.refuse_behind_twins();
        result
    }

    fn read_blocks(&mut self, ivrs: &Ivrs<'_>, claims: &mut Vec<Claim>) -> Result<(), Error> {
        for unit in ivrs.units() {
            self.read_unit(unit?, claims)?;
        }
        for block in ivrs.structures() {
            if let Structure::Ivmd(memory) = block? {
                self.read_memory(&memory);
            }
        }
        ivrs.check()
    }

    fn read_unit(&mut self, unit: Ivhd<'_>, claims: &mut Vec<Claim>) -> Result<(), Error> {
        let (index, segment) = (self.units.len(), unit.segment);
        let own = DeviceId::from_requester(segment, unit.function);
        self.units.push(Unit {
            base: unit.base,
            register_bytes: unit.register_bytes,
            segment,
            include_all: false,
            refused: false,
            kind: UnitKind::DeviceTable,
            function: Some((own, unit.capability)),
            caches_absent: true,
        });
        for function in self.functions.iter_mut().filter(|it| it.id == own) {
            function.unassignable = Some(Reason::Iommu);
        }
        for entry in unit.devices {
            let claim = |first, last| Claim {
                segment,
                first,
                last,
                unit: index,
            };
            match entry? {
                Entry::Devices { first, last, alias } => {
                    claims.push(claim(first, last));
                    claims.extend(alias.map(|alias| claim(alias, alias)));
                }
                Entry::Namespace { requester, .. } => claims.push(claim(requester, requester)),
                Entry::Special {
                    kind,
                    handle,
                    requester,
                } => self.add_named_special(index, kind, handle, requester),
            }
            if claims.len() > MOST_CLAIMS {
                return Err(Error::TooMany {
                    table: SIGNATURE,
                    most: MOST_CLAIMS,
                });
            }
        }
        Ok(())
    }

    fn add_named_special(
        &mut self,
        unit: usize,
        variety: Variety,
        number: u8,
        requester: RequesterId,
    ) {
        let kind = match variety {
            Variety::IoApic => SpecialKind::IoApic,
            Variety::Hpet => SpecialKind::Hpet,
            Variety::Other(_) => return,
        };
        self.specials.push(SpecialDevice {
            kind,
            number,
            unit,
            requester,
        });
    }

    /// Unity and exclusion are one wish: that a device reach memory whatever its domain says. No device that has it is assigned.
    fn read_memory(&mut self, memory: &Ivmd) {
        let mut owners = Vec::new();
        for (index, function) in self.functions.iter_mut().enumerate() {
            let id = function.id;
            let named = id.segment == memory.segment
                && memory.first <= id.requester
                && id.requester <= memory.last;
            if named {
                function.rmrr = true;
                function.unassignable = function.unassignable.or(Some(Reason::ReservedMemory));
                owners.push(index);
            }
        }
        let range = memory.range();
        self.problems.extend(range.err().map(Problem::Table));
        self.reserved.push(ReservedRange {
            // A wish for nothing is none, and still a reason.
            range: range.ok().filter(|_| memory.read || memory.write),
            read: memory.read,
            write: memory.write,
            owners,
        });
    }

    /// Enables the registers of units whose own function keeps them off, and reads there what registers do not tell.
    pub(crate) fn wake_units<C: ConfigSpace>(&mut self, config: &mut C) {
        for unit in &mut self.units {
            let Some((function, capability)) = unit.function else {
                continue;
            };
            // The list begins behind the header, and an entry has five registers.
            let inside = (0x40..=0x100 - 0x14).contains(&capability) && capability % 4 == 0;
            let header = if inside {
                config.read32(function, capability)
            } else {
                u32::MAX
            };
            if header & 0xff != CAPABILITY || header >> 16 & 7 != CAPABILITY_TYPE {
                continue;
            }
            unit.caches_absent = header & CACHES_ABSENT != 0;
            let low = config.read32(function, capability + 4);
            if low & ENABLE == 0 {
                let base = unit.base.as_u64();
                config.write32(function, capability + 8, (base >> 32) as u32);
                let low = base as u32 & !(PageSize::Size4K.bytes() as u32 * 4 - 1);
                config.write32(function, capability + 4, low | ENABLE);
            }
            let command = config.read16(function, COMMAND);
            config.write16(function, COMMAND, command | BUS_MASTER);
        }
    }
}

/// AMD I/O Virtualization Technology (IOMMU) Specification, "PCI Resources": capability header, and base address low.
const CAPABILITY: u32 = 0xf;
const CAPABILITY_TYPE: u32 = 3;
const CACHES_ABSENT: u32 = 1 << 26;
const ENABLE: u32 = 1;
/// Command register and its bus mastering bit, by which a unit raises interrupts of its own.
const COMMAND: u16 = 4;
const BUS_MASTER: u16 = 1 << 2;

fn add_alias(function: &mut Function, alias: RequesterId) {
    let range = RequesterRange::single(alias);
    if function.id.requester == alias || function.aliases.contains(&range) {
        return;
    }
    if function.aliases.try_push(range).is_err() {
        function.unassignable = function.unassignable.or(Some(Reason::TooManyAliases));
        return;
    }
    // A bridge that may speak for the function in several ways says so by its buses: they hold the alias, or it is refused.
    if function.interrupt_source.is_single() {
        function.interrupt_source = range;
    } else if !function.interrupt_source.contains(alias) {
        function.unassignable = function.unassignable.or(Some(Reason::TooManyAliases));
    }
}

/// The unit that names the function; what it is seen under must not be another's.
fn unit_of(function: &Function, claims: &[Claim]) -> Result<usize, Reason> {
    let segment = function.id.segment;
    let mut named = claims
        .iter()
        .filter(|claim| claim.names(segment, function.id.requester));
    let unit = named.next().ok_or(Reason::NotCovered)?.unit;
    let ids = function.aliases.iter().map(|alias| alias.first);
    for id in ids {
        let mut others = claims.iter().filter(|claim| claim.names(segment, id));
        if others.any(|claim| claim.unit != unit) {
            return Err(Reason::CoveredTwice);
        }
    }
    Ok(unit)
}
