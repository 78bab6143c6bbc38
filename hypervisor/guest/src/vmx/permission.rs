//! Intel SDM volume 3, section "MSR-bitmap address": one bit per MSR and direction. A set bit leaves the guest; so does
//! every MSR that has no bit.

use crate::msr::index;

/// Bytes of the map: reads of 0 to 1FFFh, reads of C000_0000h to C000_1FFFh, then writes of the same.
pub const MSR_BYTES: usize = 4096;

/// Every MSR leaves the guest but those that the hypervisor switches with the VP.
pub const MSR: [u8; MSR_BYTES] = msr_map();

const HIGH: usize = 0x400;
const WRITES: usize = 0x800;

/// What a guest reads and writes without an exit: in the control structure, or switched with the VP, and checked by the
/// processor.
const DIRECT: [u32; 10] = [
    index::SYSENTER_CS,
    index::SYSENTER_ESP,
    index::SYSENTER_EIP,
    index::STAR,
    index::LSTAR,
    index::CSTAR,
    index::SFMASK,
    index::FS_BASE,
    index::GS_BASE,
    index::KERNEL_GS_BASE,
];

const fn msr_map() -> [u8; MSR_BYTES] {
    let mut map = [0xff; MSR_BYTES];
    let mut i = 0;
    while i < DIRECT.len() {
        let bit = (DIRECT[i] & 0x1fff) as usize;
        let start = if DIRECT[i] >> 30 != 0 { HIGH } else { 0 };
        map[start + bit / 8] &= !(1 << (bit % 8));
        map[start + WRITES + bit / 8] &= !(1 << (bit % 8));
        i += 1;
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_03_the_msr_map_has_these_raw_values() {
        // SYSENTER_CS..EIP are MSRs 174h to 176h.
        assert_eq!((MSR[0x2e], MSR[0x82e]), (0x8f, 0x8f));
        // EFER C000_0080h leaves, STAR to SFMASK do not.
        assert_eq!((MSR[0x410], MSR[0xc10]), (0xe1, 0xe1));
        // FS, GS and kernel GS base do not, TSC_AUX does.
        assert_eq!((MSR[0x420], MSR[0xc20]), (0xf8, 0xf8));
        let clear: u32 = MSR.iter().map(|byte| byte.count_zeros()).sum();
        assert_eq!(clear, 20);
    }
}
