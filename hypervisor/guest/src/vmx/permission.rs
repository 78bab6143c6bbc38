//! Intel SDM volume 3, section "MSR-bitmap address": one bit per MSR and direction. A set bit leaves the guest; so does
//! every MSR that has no bit.

use crate::apic::msr as apic;
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

/// The same for a guest whose x2APIC's interrupts the processor serves: registers of the virtual APIC page that are always
/// as the guest should see them do not leave, nor do writes that the processor carries out.
pub const MSR_SERVED: [u8; MSR_BYTES] = served_map();

/// ID, version, TPR, PPR, LDR; besides them ISR, TMR, and IRR but its first, which has a bit that is none of the guest's
/// ([`FLOOR`](super::virtual_apic::FLOOR)).
const SERVED_READS: [u32; 5] = [apic::ID, apic::VERSION, apic::TPR, apic::PPR, apic::LDR];
const SERVED_WRITES: [u32; 3] = [apic::TPR, apic::EOI, apic::SELF_IPI];

const fn msr_map() -> [u8; MSR_BYTES] {
    let mut map = [0xff; MSR_BYTES];
    let mut i = 0;
    while i < DIRECT.len() {
        let start = if DIRECT[i] >> 30 != 0 { HIGH } else { 0 };
        open(&mut map, start, DIRECT[i]);
        open(&mut map, start + WRITES, DIRECT[i]);
        i += 1;
    }
    map
}

const fn served_map() -> [u8; MSR_BYTES] {
    let mut map = msr_map();
    let mut i = 0;
    while i < SERVED_READS.len() {
        open(&mut map, 0, SERVED_READS[i]);
        i += 1;
    }
    let mut register = apic::ISR0;
    while register <= apic::IRR7 {
        if register != apic::IRR0 {
            open(&mut map, 0, register);
        }
        register += 1;
    }
    i = 0;
    while i < SERVED_WRITES.len() {
        open(&mut map, WRITES, SERVED_WRITES[i]);
        i += 1;
    }
    map
}

const fn open(map: &mut [u8; MSR_BYTES], start: usize, msr: u32) {
    let bit = (msr & 0x1fff) as usize;
    map[start + bit / 8] &= !(1 << (bit % 8));
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

    #[test]
    fn cpu_03_a_served_guest_reaches_these_registers_of_its_page_and_no_others() {
        let opened = |start: usize| {
            (0x800..0x900_usize)
                .filter(move |msr| MSR_SERVED[start + msr / 8] >> (msr % 8) & 1 == 0)
        };
        let reads = [0x802, 0x803, 0x808, 0x80a, 0x80d]
            .into_iter()
            .chain((0x810..0x828).filter(|&msr| msr != 0x820));
        assert!(opened(0).eq(reads));
        assert!(opened(WRITES).eq([0x808, 0x80b, 0x83f]));
        let others = |map: &[u8; MSR_BYTES], start: usize| {
            map[start..start + 0x100] == MSR[start..start + 0x100]
        };
        assert!(others(&MSR_SERVED, 0) && others(&MSR_SERVED, WRITES));
        assert_eq!(MSR_SERVED[0x120..0x800], MSR[0x120..0x800]);
        assert_eq!(MSR_SERVED[0x920..], MSR[0x920..]);
    }
}
