//! VPs as cores of one package without threads, so that what a guest sees does not depend on where its VPs run.

use super::Facts;

/// Bits of a local APIC id that number the VPs of a partition.
const fn id_bits(vp_count: u32) -> u32 {
    if vp_count <= 1 {
        0
    } else {
        (vp_count - 1).ilog2() + 1
    }
}

/// Leaf Bh, extended topology: one thread per core, all cores in one package.
pub(super) const fn levels(subleaf: u32, facts: &Facts) -> [u32; 4] {
    const THREADS: u32 = 1 << 8;
    const CORES: u32 = 2 << 8;
    match subleaf {
        0 => [0, 1, THREADS, facts.apic_id],
        1 => [
            id_bits(facts.vp_count),
            facts.vp_count & 0xffff,
            CORES | 1,
            facts.apic_id,
        ],
        other => [0, 0, other & 0xff, facts.apic_id],
    }
}

/// Leaves 4 and 8000_001D, caches: sizes as they are, shared with nobody.
pub(super) const fn caches(host: [u32; 4]) -> [u32; 4] {
    [host[0] & 0x3fff, host[1], host[2], host[3]]
}

/// Leaf 8000_0008: address sizes and the number of cores.
pub(super) const fn sizes(host: [u32; 4], facts: &Facts) -> [u32; 4] {
    const VIRTUAL_BITS: u32 = 0xff00;
    const CLZERO: u32 = 1 << 0;
    const XSAVE_ERROR_POINTERS: u32 = 1 << 2;
    const WBNOINVD: u32 = 1 << 9;
    let eax = host[0] & VIRTUAL_BITS | facts.physical_bits as u32;
    let ebx = host[1] & (CLZERO | XSAVE_ERROR_POINTERS | WBNOINVD);
    let count = if facts.vp_count > 256 {
        255
    } else {
        facts.vp_count.saturating_sub(1)
    };
    [eax, ebx, id_bits(facts.vp_count) << 12 | count, 0]
}
