//! AMD64 Architecture Programmer's Manual volume 2, appendix B: the virtual machine control block.

use address::Spa;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::Features;
use super::control::{self, ControlArea};
use super::intercepts;
use super::save::SaveArea;
use super::virtual_interrupt::VirtualInterrupt;

/// A virtual machine control block: one frame.
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Vmcb {
    /// What the processor does to the guest.
    pub control: ControlArea,
    /// The guest's registers.
    pub save: SaveArea,
}

const _: () = assert!(size_of::<Vmcb>() == 4096);

/// What a control block is made from. Every address is one that the hypervisor chose (CPU-19).
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// I/O permission map, 12 KiB.
    pub io_permissions: Spa,
    /// MSR permission map, 8 KiB.
    pub msr_permissions: Spa,
    /// Root of the nested page tables.
    pub slat_root: Spa,
    /// Name of the partition's translations, not 0.
    pub asid: u16,
}

/// PAUSE instructions until an exit, and how near to each other they stand in a loop, in cycles.
const PAUSE_COUNT: u16 = 3000;
const PAUSE_THRESHOLD: u16 = 128;

impl Vmcb {
    /// Writes the control area from scratch: every required intercept, nested paging, virtual interrupt masking; no AVIC,
    /// no virtual VMLOAD and VMSAVE, nothing cached.
    pub fn prepare(&mut self, setup: &Setup, features: Features) {
        let intercepts = intercepts::required(features);
        let c = &mut self.control;
        c.as_mut_bytes().fill(0);
        c.intercept_exceptions = intercepts.exceptions;
        c.intercept_3 = intercepts.words[0];
        c.intercept_4 = intercepts.words[1];
        c.intercept_5 = intercepts.words[2];
        if features.pause_filter {
            c.pause_filter_count = PAUSE_COUNT;
            c.pause_filter_threshold = PAUSE_THRESHOLD;
        }
        c.iopm_base = setup.io_permissions.as_u64();
        c.msrpm_base = setup.msr_permissions.as_u64();
        c.asid = u32::from(setup.asid.max(1));
        c.tlb_control = control::tlb::EVERYTHING;
        c.virtual_interrupt = VirtualInterrupt::new().with_masking(true);
        c.nested_control = control::NESTED_PAGING;
        c.nested_cr3 = setup.slat_root.as_u64();
    }
}

#[cfg(test)]
pub(super) mod tests {
    use zerocopy::FromZeros;

    use super::*;

    /// A prepared block in the state after INIT.
    pub(in crate::svm) fn block(features: Features) -> Vmcb {
        let mut block = Vmcb::new_zeroed();
        let setup = Setup {
            io_permissions: Spa::new(0x10_0000),
            msr_permissions: Spa::new(0x20_0000),
            slat_root: Spa::new(0x30_0000),
            asid: 7,
        };
        block.prepare(&setup, features);
        block.reset(crate::Reset::Init);
        block
    }

    #[test]
    fn cpu_19_a_new_block_has_these_raw_values() {
        let block = block(Features::default());
        let bytes = block.as_bytes();
        let word = |at: usize| u64::from_le_bytes(core::array::from_fn(|i| bytes[at + i]));
        assert_eq!(
            (word(0x40), word(0x48), word(0xb0)),
            (0x10_0000, 0x20_0000, 0x30_0000)
        );
        assert_eq!(word(0x58), 7 | 1 << 32);
        assert_eq!(word(0x60), 1 << 24, "V_INTR_MASKING alone: AVIC is off");
        assert_eq!((word(0x90), word(0xb8), word(0xc0)), (1, 0, 0));
        assert_eq!(word(0x3c), word(0x3c) & 0xffff_ffff_0000_0000);
        assert_eq!(word(0x4d0) & 1 << 12, 1 << 12, "EFER.SVME");
    }

    #[test]
    fn an_asid_of_zero_is_the_hosts_and_never_used() {
        let mut block = Vmcb::new_zeroed();
        let zero = Spa::new(0);
        let setup = Setup {
            io_permissions: zero,
            msr_permissions: zero,
            slat_root: zero,
            asid: 0,
        };
        block.prepare(&setup, Features::default());
        assert_eq!(block.control.asid, 1);
    }
}
