//! Device to IOMMU unit: by the firmware's device scopes walked through real bridges (DMAR), or by its ranges of requester ids
//! (IVRS, in `ivrs`).

mod ivrs;

use address::{DeviceId, RequesterId};
use alloc::vec::Vec;

use firmware::Error;
use firmware::dmar::{DeviceScope, Dmar, Drhd, Rmrr, ScopeKind, Scopes, Structure};

use firmware::ivrs::Ivrs;

use crate::{
    Function, Header, Problem, Reason, ReservedRange, SpecialDevice, SpecialKind, Topology, Unit,
    UnitKind,
};

/// The firmware's table of units, of which a machine has one or none.
#[derive(Clone, Copy, Debug)]
pub enum Remapping<'a> {
    /// Units are not described.
    None,
    /// Units and scopes.
    Dmar(&'a Dmar<'a>),
    /// Units and ranges of ids.
    Ivrs(&'a Ivrs<'a>),
}

impl<'a> From<Option<&'a Dmar<'a>>> for Remapping<'a> {
    fn from(dmar: Option<&'a Dmar<'a>>) -> Self {
        dmar.map_or(Self::None, Self::Dmar)
    }
}

/// That a scope names a function, or a bridge with all below it.
#[derive(Clone, Copy)]
struct Claim {
    unit: usize,
    subtree: bool,
}

/// Claims by the index of the function that they name.
type Claims = Vec<Vec<Claim>>;

impl Topology {
    /// Reads the table, if there is one, and gives every function its unit or a reason.
    pub(crate) fn find_units(&mut self, remapping: Remapping<'_>) {
        let read = match remapping {
            Remapping::None => return self.refuse(None, Reason::NoIommu),
            Remapping::Dmar(dmar) => self.read_table(dmar),
            Remapping::Ivrs(ivrs) => self.read_ivrs(ivrs),
        };
        if let Err(error) = read {
            self.problems.push(Problem::Table(error));
            self.refuse(None, Reason::MalformedTable);
        }
        if matches!(remapping, Remapping::Dmar(dmar) if !dmar.interrupt_remapping()) {
            self.refuse(None, Reason::NoInterruptRemapping);
        }
    }

    fn read_table(&mut self, dmar: &Dmar<'_>) -> Result<(), Error> {
        let mut claims: Claims = self.functions.iter().map(|_| Vec::new()).collect();
        // What stands before the fault is still used to block devices: only assignment is off the table.
        let result = self.read_structures(dmar, &mut claims);
        self.refuse_twins();
        self.drop_double_specials();
        for index in 0..self.functions.len() {
            let found = self.unit_of(index, &claims);
            if let Some(function) = self.functions.get_mut(index) {
                function.unit = found.ok();
                function.unassignable = function.unassignable.or(found.err());
            }
        }
        self.refuse_behind_twins();
        result
    }

    fn refuse_behind_twins(&mut self) {
        for (index, unit) in self.units.clone().into_iter().enumerate() {
            if unit.refused {
                self.refuse(Some(index), Reason::UnitTwice);
            }
        }
    }

    fn read_structures(&mut self, dmar: &Dmar<'_>, claims: &mut Claims) -> Result<(), Error> {
        for structure in dmar.structures() {
            match structure? {
                Structure::Drhd(unit) => self.unit(&unit, claims)?,
                Structure::Rmrr(region) => self.region(&region)?,
                _ => {}
            }
        }
        dmar.check()
    }

    fn unit(&mut self, unit: &Drhd<'_>, claims: &mut Claims) -> Result<(), Error> {
        let index = self.units.len();
        self.units.push(Unit {
            base: unit.base,
            register_bytes: unit.register_bytes,
            segment: unit.segment,
            include_all: unit.include_all,
            refused: false,
            kind: UnitKind::RootTable,
            function: None,
            caches_absent: false,
        });
        for scope in unit.scopes.clone() {
            self.scope(index, unit.segment, &scope?, claims);
        }
        Ok(())
    }

    fn scope(&mut self, unit: usize, segment: u16, scope: &DeviceScope<'_>, claims: &mut Claims) {
        let found = match scope.kind {
            ScopeKind::Endpoint | ScopeKind::SubHierarchy => {
                let subtree = scope.kind == ScopeKind::SubHierarchy;
                let named = self.resolve(segment, scope);
                named
                    .and_then(|index| claims.get_mut(index))
                    .map(|claims| claims.push(Claim { unit, subtree }))
            }
            ScopeKind::IoApic => self.add_special(SpecialKind::IoApic, unit, segment, scope),
            ScopeKind::Hpet => self.add_special(SpecialKind::Hpet, unit, segment, scope),
            ScopeKind::NamespaceDevice | ScopeKind::Other(_) => Some(()),
        };
        if found.is_none() {
            self.problems.push(Problem::ScopeLeadsNowhere {
                unit,
                start_bus: scope.start_bus,
            });
        }
    }

    fn region(&mut self, region: &Rmrr<'_>) -> Result<(), Error> {
        let owners = self.owners(region.segment, region.scopes.clone())?;
        for owner in &owners {
            if let Some(function) = self.functions.get_mut(*owner) {
                function.rmrr = true;
                function.unassignable = function.unassignable.or(Some(Reason::ReservedMemory));
            }
        }
        let range = region.range();
        self.problems.extend(range.err().map(Problem::Table));
        self.reserved.push(ReservedRange {
            range: range.ok(),
            read: true,
            write: true,
            owners,
        });
        Ok(())
    }

    /// The functions that scopes name, with everything below where they name a hierarchy.
    fn owners(&self, segment: u16, scopes: Scopes<'_>) -> Result<Vec<usize>, Error> {
        let mut owners = Vec::new();
        for scope in scopes {
            let scope = scope?;
            let Some(named) = self.resolve(segment, &scope) else {
                continue;
            };
            let subtree = scope.kind == ScopeKind::SubHierarchy;
            let owned = |index: &usize| {
                *index == named || subtree && self.upstream(*index).any(|above| above == named)
            };
            owners.extend((0..self.functions.len()).filter(owned));
        }
        owners.sort_unstable();
        owners.dedup();
        Ok(owners)
    }

    /// The bus that all steps of a path but the last lead to, by the bridges' own numbers.
    fn last_bus(&self, segment: u16, scope: &DeviceScope<'_>) -> Option<u8> {
        let steps = scope.path().rev().skip(1).rev();
        let mut bus = scope.start_bus;
        for step in steps {
            let id = DeviceId::from_requester(segment, step.on(bus));
            match self.function(id)?.header {
                Header::Bridge(bridge) if bridge.walked => bus = bridge.secondary,
                _ => return None,
            }
        }
        Some(bus)
    }

    fn requester(&self, segment: u16, scope: &DeviceScope<'_>) -> Option<RequesterId> {
        let bus = self.last_bus(segment, scope)?;
        scope.path().next_back().map(|step| step.on(bus))
    }

    fn resolve(&self, segment: u16, scope: &DeviceScope<'_>) -> Option<usize> {
        let requester = self.requester(segment, scope)?;
        self.find(DeviceId::from_requester(segment, requester))
    }

    /// An IOAPIC or HPET need not be a function that answers: its last step is its requester id all the same.
    fn add_special(
        &mut self,
        kind: SpecialKind,
        unit: usize,
        segment: u16,
        scope: &DeviceScope<'_>,
    ) -> Option<()> {
        let requester = self.requester(segment, scope)?;
        self.specials.push(SpecialDevice {
            kind,
            number: scope.enumeration_id,
            unit,
            requester,
        });
        Some(())
    }

    /// FW-03: an IOAPIC or HPET that two scopes claim belongs to neither.
    fn drop_double_specials(&mut self) {
        let all = self.specials.clone();
        let twin = |one: &SpecialDevice| {
            let same =
                |other: &&SpecialDevice| (other.kind, other.number) == (one.kind, one.number);
            all.iter().filter(same).count() > 1
        };
        for double in all.iter().filter(|special| twin(special)) {
            let problem = Problem::SpecialTwice {
                kind: double.kind,
                number: double.number,
            };
            if !self.problems.contains(&problem) {
                self.problems.push(problem);
            }
        }
        self.specials.retain(|special| !twin(special));
    }

    /// FW-02: register blocks that overlap, or two units that cover all of one segment: nobody touches either.
    fn refuse_twins(&mut self) {
        for second in 0..self.units.len() {
            for first in 0..second {
                let (Some(&one), Some(&other)) = (self.units.get(first), self.units.get(second))
                else {
                    continue;
                };
                if overlap(&one, &other)
                    || one.include_all && other.include_all && one.segment == other.segment
                {
                    self.problems.push(Problem::UnitTwice { first, second });
                    for unit in [first, second] {
                        self.units
                            .get_mut(unit)
                            .into_iter()
                            .for_each(|unit| unit.refused = true);
                    }
                }
            }
        }
    }

    /// The unit that names the function itself, else the nearest bridge above it, else the one that covers all of its
    /// segment (section 8.3.1).
    fn unit_of(&self, index: usize, claims: &Claims) -> Result<usize, Reason> {
        let own = claims.get(index).map(Vec::as_slice).unwrap_or_default();
        if let Some(unit) = single(own.iter())? {
            return Ok(unit);
        }
        for above in self.upstream(index) {
            let named = claims.get(above).map(Vec::as_slice).unwrap_or_default();
            if let Some(unit) = single(named.iter().filter(|claim| claim.subtree))? {
                return Ok(unit);
            }
        }
        let function: Option<&Function> = self.functions.get(index);
        let all = |unit: &Unit| {
            unit.include_all && function.is_some_and(|function| function.id.segment == unit.segment)
        };
        self.units.iter().position(all).ok_or(Reason::NotCovered)
    }
}

/// The unit of some claims, if they agree.
fn single<'a>(claims: impl Iterator<Item = &'a Claim>) -> Result<Option<usize>, Reason> {
    let mut unit = None;
    for claim in claims {
        if unit.is_some_and(|unit| unit != claim.unit) {
            return Err(Reason::CoveredTwice);
        }
        unit = Some(claim.unit);
    }
    Ok(unit)
}

fn overlap(one: &Unit, other: &Unit) -> bool {
    let end = |unit: &Unit| unit.base.as_u64().saturating_add(unit.register_bytes);
    one.base.as_u64() < end(other) && other.base.as_u64() < end(one)
}
