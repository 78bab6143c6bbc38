//! Where a VP's registers stand: in the processor and the current structure while it is live, in its own area otherwise.

use core::arch::asm;

use guest::msr::index;
use guest::vmx::control::ENTRY_LONG_MODE;
use guest::vmx::save::segment;
use guest::vmx::{Field, SaveArea};
use x86_64::registers::control::Cr2;

use super::instruction::{self, vmread, vmwrite};
use super::structure;
use super::vcpu::Vmx;
use crate::cpu::msr;

impl Vmx {
    /// A field's value, from where it stands now.
    #[inline]
    pub(super) fn field(&self, field: Field, parked: u64) -> u64 {
        if self.live { vmread(field) } else { parked }
    }

    #[inline]
    pub(super) fn put(&mut self, field: Field, value: u64) {
        // SAFETY: guest state, an event or a window: nothing that leads out of the partition.
        unsafe { vmwrite(field, value) };
    }

    #[inline]
    pub(super) fn interruptibility(&self) -> u64 {
        self.field(Field::GUEST_INTERRUPTIBILITY, self.area.interruptibility)
    }

    pub(super) fn code_rights(&self) -> u64 {
        let parked = self.area.segments[segment::CS].access_rights;
        let field = Field::GUEST_ACCESS_RIGHTS.of_segment(segment::CS as u32);
        self.field(field, parked.into())
    }

    pub(super) fn efer(&self) -> u64 {
        self.field(Field::GUEST_EFER, self.area.efer)
    }

    /// All registers, wherever they stand.
    pub(super) fn snapshot(&self) -> SaveArea {
        let mut area = self.area;
        if self.live {
            area.read(vmread);
            area.cr2 = Cr2::read_raw();
            area.dr6 = read_dr6();
            for (register, value) in switched_msrs(&mut area) {
                *value = msr::read(register);
            }
        }
        area
    }

    /// Puts registers into the processor and the current structure.
    pub(super) fn load(&mut self, mut area: SaveArea) {
        // SAFETY: guest state, which cannot lead out of the partition.
        area.write(|field, value| unsafe {
            vmwrite(field, value);
        });
        let long = if area.in_long_mode() {
            ENTRY_LONG_MODE
        } else {
            0
        };
        self.put(Field::ENTRY_CONTROLS, (self.features.entry | long).into());
        self.load_processor(&mut area);
        self.refused = !area.violations(&self.limits).is_empty();
        self.changed = false;
    }

    /// The part of [`Self::load`] that the structure does not hold.
    pub(super) fn load_processor(&mut self, area: &mut SaveArea) {
        // SAFETY: the hypervisor uses none of these registers; the values are canonical.
        unsafe {
            asm!("mov cr2, {0}", "mov dr6, {1}", in(reg) area.cr2, in(reg) area.dr6,
                options(nomem, nostack, preserves_flags));
            for (register, value) in switched_msrs(area) {
                msr::write(register, *value);
            }
        }
    }

    /// Changes registers, wherever they stand.
    pub(super) fn change<T>(&mut self, change: impl FnOnce(&mut SaveArea) -> T) -> T {
        let mut area = self.snapshot();
        let result = change(&mut area);
        if self.live {
            self.load(area);
        } else {
            self.area = area;
            self.changed = true;
        }
        result
    }

    /// Makes the structure this LP's current one.
    pub(super) fn take_structure(&mut self) {
        // SAFETY: the structure is this VP's and active nowhere: `new` and `park` leave it so.
        unsafe {
            if self.fresh {
                instruction::vmclear(self.structure);
            }
            instruction::vmptrld(self.structure);
        }
        if self.fresh {
            self.fresh = false;
            structure::write_controls(&self.setup, &self.features);
        }
        structure::write_host();
    }
}

/// The MSRs that neither entry nor exit switches, with their place.
fn switched_msrs(area: &mut SaveArea) -> [(u32, &mut u64); 5] {
    [
        (index::STAR, &mut area.star),
        (index::LSTAR, &mut area.lstar),
        (index::CSTAR, &mut area.cstar),
        (index::SFMASK, &mut area.sfmask),
        (index::KERNEL_GS_BASE, &mut area.kernel_gs_base),
    ]
}

pub(super) fn read_dr6() -> u64 {
    let value;
    // SAFETY: reading a debug register changes nothing.
    unsafe { asm!("mov {}, dr6", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}
