//! The mask table: for each aligned 4 bytes of configuration space, the bits that a write of the root may change.

use super::{Holder, Refusal};
use crate::{Bar, BarKind, Function, Header};

/// Offset of the command and status registers.
pub(super) const COMMAND: u16 = 0x04;
/// Status bits that a 1 clears.
const STATUS_CLEARS: u32 = 0xf900_0000;
/// I/O and memory decoding, INTx disable. Bus mastering (bit 2) is not among them.
const COMMAND_BITS: u32 = 1 | 2 | 1 << 10;
/// Device status bits that a 1 clears.
const DEVICE_STATUS: u32 = 0x000f_0000;

/// What a write may do to 4 bytes. Bits in no field keep their value.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Rule {
    /// Bits that take what is written.
    pub plain: u32,
    /// Bits that a written 1 clears, and may.
    pub clears: u32,
    /// Bits that a written 1 would clear, and may not: they are always written as 0.
    pub zero: u32,
}

impl Rule {
    const fn plain(plain: u32) -> Self {
        Self {
            plain,
            clears: 0,
            zero: 0,
        }
    }

    /// The 4 bytes after a write of the covered bits of `value`.
    pub(super) const fn apply(self, old: u32, value: u32, covered: u32) -> u32 {
        let plain = self.plain & covered;
        let kept = old & !(plain | self.clears | self.zero);
        kept | value & plain | value & self.clears & covered
    }
}

/// The rule for the aligned 4 bytes at an offset.
pub(super) fn rule(function: &Function, holder: Holder, at: u16) -> Result<Rule, Refusal> {
    if function.header != Header::Device || function.base_class() == 6 {
        return Err(Refusal::Bridge);
    }
    if function.is_iommu() {
        return Err(Refusal::Iommu);
    }
    if at < 0x40 {
        return header(function, holder, at);
    }
    interrupts(function, holder, at)
        .or_else(|| reset(function, holder, at))
        .unwrap_or_else(|| Err(denied(function, at)))
}

fn header(function: &Function, holder: Holder, at: u16) -> Result<Rule, Refusal> {
    let rule = match at {
        COMMAND => Rule {
            plain: COMMAND_BITS,
            clears: STATUS_CLEARS,
            zero: 0,
        },
        0x10..=0x24 => Rule::plain(bar(function, at)?),
        // Interrupt line: a scratch byte.
        0x3c => Rule::plain(0xff),
        _ => return Err(Refusal::NotWritable),
    };
    if holder == Holder::Child {
        return Err(Refusal::HeldByChild);
    }
    Ok(rule)
}

/// The BAR that a register belongs to, with the index of its first register.
pub(super) fn bar_of(function: &Function, register: usize) -> Option<(usize, Bar)> {
    let at = |index: usize| Some((index, (*function.bars.get(index)?)?));
    at(register).or_else(|| {
        at(register.checked_sub(1)?)
            .filter(|(_, bar)| matches!(bar.kind, BarKind::Memory { wide: true, .. }))
    })
}

/// The address bits of a BAR register.
fn bar(function: &Function, at: u16) -> Result<u32, Refusal> {
    let register = usize::from((at - 0x10) / 4);
    let (index, bar) = bar_of(function, register).ok_or(Refusal::NotWritable)?;
    let mask = !bar.size.wrapping_sub(1);
    Ok(match (bar.kind, register == index) {
        (BarKind::Io, _) => mask as u32 & 0xfffc,
        (BarKind::Memory { .. }, true) => mask as u32 & !0xf,
        (BarKind::Memory { .. }, false) => (mask >> 32) as u32,
    })
}

/// MSI: enable, address, data, masks. MSI-X: enable, function mask. Multiple messages stay off.
fn interrupts(function: &Function, holder: Holder, at: u16) -> Option<Result<Rule, Refusal>> {
    if function.msix.is_some_and(|msix| at == msix.offset) {
        return Some(Ok(Rule::plain(3 << 30)));
    }
    let msi = function.msi?;
    let bits = if at == msi.offset {
        return Some(Ok(Rule::plain(1 << 16)));
    } else if at == msi.offset + 4 {
        !3
    } else if at == msi.data() {
        0xffff
    } else if msi.mask() == Some(at) || msi.wide && at == msi.offset + 8 {
        u32::MAX
    } else {
        return None;
    };
    Some(if holder.attached() {
        Ok(Rule::plain(bits))
    } else {
        Err(Refusal::Blocked)
    })
}

/// Function-level reset and power state.
fn reset(function: &Function, holder: Holder, at: u16) -> Option<Result<Rule, Refusal>> {
    let rule = if function
        .pcie
        .is_some_and(|pcie| pcie.flr && at == pcie.offset + 8)
    {
        Rule {
            plain: 1 << 15,
            clears: 0,
            zero: DEVICE_STATUS,
        }
    } else if function
        .advanced_features
        .is_some_and(|offset| function.flr && at == offset + 4)
    {
        Rule::plain(1)
    } else if function.power.is_some_and(|offset| at == offset + 4) {
        Rule {
            plain: 3,
            clears: 0,
            zero: 1 << 15,
        }
    } else {
        return None;
    };
    Some(if holder.attached() {
        Err(Refusal::NotBlocked)
    } else {
        Ok(rule)
    })
}

/// Why no rule lets the 4 bytes be written, as exactly as it is known.
fn denied(function: &Function, at: u16) -> Refusal {
    let within = |offset: Option<u16>, bytes: u16| {
        offset.is_some_and(|offset| at >= offset && at < offset.saturating_add(bytes))
    };
    if within(function.acs.map(|acs| acs.offset), 8) {
        Refusal::AccessControl
    } else if within(function.ats, 8) || within(function.pri, 16) || within(function.pasid, 8) {
        Refusal::Translation
    } else if within(function.sriov.map(|sriov| sriov.offset), 64) {
        Refusal::VirtualFunctions
    } else {
        Refusal::NotWritable
    }
}
