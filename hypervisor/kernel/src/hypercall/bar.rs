//! What the root may know of a function's base address registers without a write to them.

use abi::Status;
use abi::partition::privilege;
use abi::vendor::{BarInfo, BarOf, bar_flags};
use topology::{Bar, BarKind, MsiX};

use super::device::pci;
use super::{Outcome, Request};
use crate::Kernel;
use crate::seams::Machine;

impl<M: Machine> Kernel<M> {
    pub(super) fn vendor_bar_info(&self, request: &mut Request<'_>) -> Result<Outcome, Status> {
        request.caller.needs(privilege::CPU_MANAGEMENT)?;
        let input: BarOf = request.parameters()?;
        let device = pci(input.device)?;
        let pci = self.pci.lock();
        let function = pci.function(device).ok_or(Status::INVALID_DEVICE_ID)?;
        let index = usize::try_from(input.index).map_err(|_| Status::NO_DATA)?;
        let answer =
            describe(&function.bars, function.msix.as_ref(), index).ok_or(Status::NO_DATA)?;
        request.answer(0, &answer);
        Ok(Outcome::Done)
    }
}

/// The register with an index; all zero where it decodes no memory, `None` past the last.
fn describe(bars: &[Option<Bar>], msix: Option<&MsiX>, index: usize) -> Option<BarInfo> {
    let Some(bar) = bars.get(index)? else {
        return Some(BarInfo::default());
    };
    let BarKind::Memory { wide, prefetchable } = bar.kind else {
        return Some(BarInfo::default());
    };
    let mut info = BarInfo {
        address: bar.address,
        size: bar.size,
        flags: (u32::from(wide) * bar_flags::WIDE)
            | (u32::from(prefetchable) * bar_flags::PREFETCHABLE),
        ..BarInfo::default()
    };
    if let Some(msix) = msix.filter(|msix| usize::from(msix.table_bar) == index) {
        info.table_offset = u64::from(msix.table_offset);
        info.table_bytes = msix.table_bytes();
    }
    if let Some(msix) = msix.filter(|msix| usize::from(msix.pba_bar) == index) {
        info.pending_offset = u64::from(msix.pba_offset);
        info.pending_bytes = msix.pba_bytes();
    }
    Some(info)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAR: Bar = Bar {
        address: 0xfebd_0000,
        size: 0x4000,
        kind: BarKind::Memory {
            wide: true,
            prefetchable: false,
        },
    };
    const MSIX: MsiX = MsiX {
        offset: 0xa0,
        vectors: 5,
        table_bar: 3,
        table_offset: 0,
        pba_bar: 1,
        pba_offset: 0x2000,
    };

    #[test]
    fn a_bar_is_told_with_what_of_the_interrupt_table_lies_in_it() {
        let bars = [None, Some(BAR), None, Some(BAR)];
        let info = describe(&bars, Some(&MSIX), 3).unwrap();
        assert_eq!((info.address, info.size), (0xfebd_0000, 0x4000));
        assert_eq!(info.flags, bar_flags::WIDE);
        assert_eq!((info.table_offset, info.table_bytes), (0, 80));
        assert_eq!(info.pending_bytes, 0);
        let info = describe(&bars, Some(&MSIX), 1).unwrap();
        assert_eq!((info.pending_offset, info.pending_bytes), (0x2000, 8));
        assert_eq!(info.table_bytes, 0);
    }

    #[test]
    fn what_decodes_no_memory_has_no_size() {
        let ports = Bar {
            kind: BarKind::Io,
            ..BAR
        };
        let bars = [None, Some(ports)];
        assert_eq!(describe(&bars, None, 0), Some(BarInfo::default()));
        assert_eq!(describe(&bars, None, 1), Some(BarInfo::default()));
        assert_eq!(describe(&bars, None, 2), None);
    }
}
