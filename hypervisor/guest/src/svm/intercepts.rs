//! AMD64 Architecture Programmer's Manual volume 2, section 15.9 and appendix B: the intercept vectors.

use super::Features;
use super::exit_code as code;

/// What leaves the guest.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Intercepts {
    /// One bit per exception.
    pub exceptions: u32,
    /// One bit per exit code, from 60h on.
    pub words: [u32; 3],
}

/// #DB: a breakpoint on its own delivery would never end (CVE-2015-8104).
const DEBUG: u32 = 1 << 1;
/// #AC: the same for an unaligned stack (CVE-2015-5307).
const ALIGNMENT: u32 = 1 << 17;
/// #MC is the machine's, not the guest's.
const MACHINE_CHECK: u32 = 1 << 18;

/// Always: what belongs to the host, what the hypervisor emulates, and every instruction of SVM, which guests do not have.
const ALWAYS: [u64; 25] = [
    code::INTR,
    code::NMI,
    code::INIT,
    code::RDPMC,
    code::CPUID,
    code::RSM,
    code::INVD,
    code::HLT,
    code::INVLPGA,
    code::IOIO,
    code::MSR,
    code::SHUTDOWN,
    code::VMRUN,
    code::VMMCALL,
    code::VMLOAD,
    code::VMSAVE,
    code::STGI,
    code::CLGI,
    code::SKINIT,
    code::WBINVD,
    code::MONITOR,
    code::MWAIT,
    code::MWAIT_ARMED,
    code::XSETBV,
    code::RDPRU,
];

impl Intercepts {
    const fn with(mut self, codes: &[u64]) -> Self {
        let mut i = 0;
        while i < codes.len() {
            let bit = codes[i] - code::INTR;
            self.words[(bit / 32) as usize] |= 1 << (bit % 32);
            i += 1;
        }
        self
    }
}

/// The bit of an exit code between 60h and 7Fh in its word.
#[must_use]
pub const fn bit(exit_code: u64) -> u32 {
    1 << (exit_code & 31)
}

/// The intercepts of every guest. PAUSE leaves only where the processor counts it first: without a filter each one would
/// cost an exit.
#[must_use]
pub const fn required(features: Features) -> Intercepts {
    let none = Intercepts {
        exceptions: DEBUG | ALIGNMENT | MACHINE_CHECK,
        words: [0; 3],
    };
    let mut all = none.with(&ALWAYS);
    if features.pause_filter {
        all = all.with(&[code::PAUSE]);
    }
    if features.invlpgb {
        all = all.with(&[code::INVLPGB, code::INVLPGB_ILLEGAL, code::TLBSYNC]);
    }
    if features.mcommit {
        all = all.with(&[code::MCOMMIT]);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Intercepts = required(Features {
        asids: 0,
        next_rip: false,
        flush_by_asid: false,
        decode_assists: false,
        pause_filter: false,
        invlpgb: false,
        mcommit: false,
        branch_barrier: false,
    });

    #[test]
    fn the_words_have_these_raw_values() {
        assert_eq!(PLAIN.exceptions, 0x0006_0002);
        assert_eq!(PLAIN.words, [0x9d4c_800b, 0x0000_7e7f, 0]);
    }

    #[test]
    fn cpu_08_09_alignment_and_debug_exceptions_leave_the_guest() {
        assert_eq!(PLAIN.exceptions & (1 << 17 | 1 << 1), 1 << 17 | 1 << 1);
    }

    #[test]
    fn cpu_18_19_instructions_of_svm_and_of_the_machine_leave_the_guest() {
        let left = |exit: u64| {
            let bit = exit - 0x60;
            PLAIN.words[(bit / 32) as usize] >> (bit % 32) & 1 != 0
        };
        // VMRUN, VMMCALL, VMLOAD, VMSAVE, STGI, CLGI, SKINIT
        assert!((0x80..=0x86).all(left));
        // INVLPGA, RSM, INVD, WBINVD, MONITOR, MWAIT, XSETBV, RDPRU, RDPMC, HLT
        assert!(
            [
                0x7a, 0x73, 0x76, 0x89, 0x8a, 0x8b, 0x8c, 0x8d, 0x8e, 0x6f, 0x78
            ]
            .into_iter()
            .all(left)
        );
        // I/O, MSR, shutdown, INTR, NMI, INIT
        assert!([0x7b, 0x7c, 0x7f, 0x60, 0x61, 0x63].into_iter().all(left));
    }

    #[test]
    fn instructions_that_only_some_processors_have_leave_it_there() {
        let features = Features {
            invlpgb: true,
            mcommit: true,
            pause_filter: true,
            ..Features::default()
        };
        let all = required(features);
        assert_eq!(all.words[2], 0b11011);
        assert_eq!(all.words[0], PLAIN.words[0] | 1 << 23);
    }
}
