//! AMD64 Architecture Programmer's Manual volume 2, sections 15.10.1 and 15.11: the permission maps. A set bit leaves the
//! guest.

use crate::msr::index;

/// Bytes of the I/O permission map: 64 Ki ports and the bits past the last.
pub const IO_BYTES: usize = 3 * 4096;
/// Bytes of the MSR permission map: two bits per MSR, read and write.
pub const MSR_BYTES: usize = 2 * 4096;

/// Every port leaves the guest.
pub const IO: [u8; IO_BYTES] = [0xff; IO_BYTES];

/// Every MSR leaves the guest but those that VMLOAD and VMSAVE switch.
pub const MSR: [u8; MSR_BYTES] = msr_map();

/// What a guest reads and writes without an exit: switched by VMLOAD and VMSAVE, checked by the processor.
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

/// Where the two bits of an MSR stand; `None`: it always leaves the guest.
const fn bit_offset(msr: u32) -> Option<usize> {
    let (base, block) = match msr {
        0..=0x1fff => (0, 0),
        0xc000_0000..=0xc000_1fff => (0xc000_0000, 0x800),
        0xc001_0000..=0xc001_1fff => (0xc001_0000, 0x1000),
        _ => return None,
    };
    Some(block * 8 + (msr - base) as usize * 2)
}

const fn msr_map() -> [u8; MSR_BYTES] {
    let mut map = [0xff; MSR_BYTES];
    let mut i = 0;
    while i < DIRECT.len() {
        if let Some(bit) = bit_offset(DIRECT[i]) {
            map[bit / 8] &= !(0b11 << (bit % 8));
        }
        i += 1;
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_03_the_msr_map_has_these_raw_values() {
        // SYSENTER_CS..EIP are MSRs 174h to 176h: bits 2E8h to 2EDh.
        assert_eq!(MSR[0x5d], 0xc0);
        // EFER C000_0080h leaves, STAR to SFMASK do not.
        assert_eq!((MSR[0x820], MSR[0x821]), (0x03, 0xfc));
        // FS, GS and kernel GS base do not, TSC_AUX does.
        assert_eq!(MSR[0x840], 0xc0);
        let clear: u32 = MSR.iter().map(|byte| byte.count_zeros()).sum();
        assert_eq!(clear, 20);
    }

    #[test]
    fn every_port_leaves_the_guest() {
        assert!(IO.iter().all(|&byte| byte == 0xff));
    }
}
