//! AMD64 Architecture Programmer's Manual volume 3, CPUID function 8000_000A: "SVM features".

/// What the processor offers beyond SVM with nested paging.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Features {
    /// Names of translations that it tells apart, the host's included.
    pub asids: u32,
    /// It stores the address of the next instruction at an exit.
    pub next_rip: bool,
    /// It can flush one guest's translations.
    pub flush_by_asid: bool,
    /// It stores the bytes of an instruction that faulted in the nested tables.
    pub decode_assists: bool,
    /// It counts PAUSE instructions before an exit.
    pub pause_filter: bool,
    /// It has INVLPGB and TLBSYNC, which a guest must not have.
    pub invlpgb: bool,
    /// It has MCOMMIT.
    pub mcommit: bool,
    /// It has the indirect branch prediction barrier.
    pub branch_barrier: bool,
}

impl Features {
    /// What the processor says. `cpuid` answers (leaf, sub-leaf).
    ///
    /// # Errors
    /// A sentence, where something is missing that the hypervisor cannot do without.
    pub fn detect(cpuid: impl Fn(u32, u32) -> [u32; 4]) -> Result<Self, &'static str> {
        const XSAVE: u32 = 1 << 26;
        const X2APIC: u32 = 1 << 21;
        let last = cpuid(0x8000_0000, 0)[0];
        if last < 0x8000_000a || cpuid(0x8000_0001, 0)[2] & 1 << 2 == 0 {
            return Err("the processor has no AMD SVM");
        }
        let [_, asids, _, svm] = cpuid(0x8000_000a, 0);
        if svm & 1 == 0 {
            return Err("the processor has SVM without nested paging");
        }
        if asids < 2 {
            return Err("the processor has no address space identifier for guests");
        }
        let basic = cpuid(1, 0)[2];
        if basic & XSAVE == 0 {
            return Err("the processor has no XSAVE");
        }
        if basic & X2APIC == 0 {
            return Err("the processor has no x2APIC");
        }
        let extended = cpuid(0x8000_0008, 0)[1];
        Ok(Self {
            asids,
            next_rip: svm >> 3 & 1 != 0,
            flush_by_asid: svm >> 6 & 1 != 0,
            decode_assists: svm >> 7 & 1 != 0,
            pause_filter: svm >> 10 & 1 != 0 && svm >> 12 & 1 != 0,
            invlpgb: extended >> 3 & 1 != 0,
            mcommit: extended >> 8 & 1 != 0,
            branch_barrier: extended >> 12 & 1 != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn processor(svm: u32) -> impl Fn(u32, u32) -> [u32; 4] {
        move |leaf, _| match leaf {
            1 => [0, 0, 1 << 26 | 1 << 21, 0],
            0x8000_0000 => [0x8000_001e, 0, 0, 0],
            0x8000_0001 => [0, 0, 1 << 2, 0],
            0x8000_000a => [1, 16, 0, svm],
            _ => [0; 4],
        }
    }

    #[test]
    fn the_emulators_processor_has_none_of_the_extras() {
        let features = Features::detect(processor(1 | 1 << 16 | 1 << 28));
        assert_eq!(
            features,
            Ok(Features {
                asids: 16,
                ..Features::default()
            })
        );
    }

    #[test]
    fn extras_are_told_by_their_bits() {
        let Ok(features) =
            Features::detect(processor(1 | 1 << 3 | 1 << 6 | 1 << 7 | 1 << 10 | 1 << 12))
        else {
            panic!("all is there");
        };
        assert!(
            features.next_rip
                && features.flush_by_asid
                && features.decode_assists
                && features.pause_filter
        );
    }

    #[test]
    fn what_is_missing_is_said() {
        assert_eq!(
            Features::detect(|_, _| [0; 4]),
            Err("the processor has no AMD SVM")
        );
        let Err(sentence) = Features::detect(processor(0)) else {
            panic!("nested paging is needed")
        };
        assert!(sentence.contains("nested paging"));
    }
}
