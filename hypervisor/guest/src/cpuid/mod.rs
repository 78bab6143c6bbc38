//! What a guest sees of its processor. Features that are not in the tables are hidden: a new one must first be known not
//! to lead out of the partition, and to be switched between VPs.

mod features;
mod hypervisor;
#[cfg(test)]
mod tests;
mod topology;

use crate::xstate::{self, Xstate};

pub use hypervisor::child_privileges;

/// What the policy must know beside the processor's own answer.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// The caller is the root partition.
    pub root: bool,
    /// Privilege mask of the partition (`abi::partition::privilege`). A child never sees those of a parent.
    pub privileges: u64,
    /// Local APIC id of the VP.
    pub apic_id: u32,
    /// The local APIC of the VP is on.
    pub apic: bool,
    /// It has x2APIC mode.
    pub x2apic: bool,
    /// VPs of the partition, at least 1.
    pub vp_count: u32,
    /// The VP's CR4.OSXSAVE ([`Vcpu::osxsave`](crate::Vcpu::osxsave)).
    pub osxsave: bool,
    /// Extended state that guests may use.
    pub xstate: Xstate,
    /// Width of guest physical addresses, 32 to 52 bits.
    pub physical_bits: u8,
    /// The most VPs that a partition can have.
    pub max_vps: u32,
    /// LPs of the machine.
    pub lps: u32,
    /// Device interrupts that the machine can remap; 0 without interrupt remapping.
    pub interrupt_entries: u32,
    /// Width of device-visible addresses in bits; 0 without DMA remapping.
    pub device_width: u8,
}

/// Whether the answer to a leaf shows what changes while the VP runs: [`Facts::osxsave`], [`Facts::vp_count`].
#[inline]
#[must_use]
pub const fn changes(leaf: u32) -> bool {
    matches!(leaf, 1 | 0xb | 0x4000_0005 | 0x8000_0001 | 0x8000_0008)
}

/// The answer to CPUID with `leaf` in EAX and `subleaf` in ECX, as EAX, EBX, ECX, EDX. `host` is the answer of the
/// processor under the VP, whose XCR0 is loaded.
#[must_use]
pub fn answer(leaf: u32, subleaf: u32, host: [u32; 4], facts: &Facts) -> [u32; 4] {
    match leaf {
        0x4000_0000..=0x4000_ffff => hypervisor::answer(leaf, facts),
        0x8000_0000..=0x8fff_ffff => extended(leaf, host, facts),
        _ => basic(leaf, subleaf, host, facts),
    }
}

/// The last basic leaf that is shown.
const LAST_BASIC: u32 = 0xd;
/// The last extended leaf that is shown.
const LAST_EXTENDED: u32 = 0x8000_0021;

fn basic(leaf: u32, subleaf: u32, host: [u32; 4], facts: &Facts) -> [u32; 4] {
    match leaf {
        0 => [host[0].min(LAST_BASIC), host[1], host[2], host[3]],
        1 => features::leaf_1(host, facts),
        2 => host,
        4 => topology::caches(host),
        // The virtual local APIC's timer never stops.
        6 => [1 << 2, 0, 0, 0],
        7 => features::leaf_7(subleaf, host, facts),
        0xb => topology::levels(subleaf, facts),
        0xd => extended_state(subleaf, host, facts),
        // 3: serial number; 5: MONITOR; 9 and Ah: performance counters; the rest: not known.
        _ => [0; 4],
    }
}

fn extended(leaf: u32, host: [u32; 4], facts: &Facts) -> [u32; 4] {
    match leaf {
        0x8000_0000 => [host[0].min(LAST_EXTENDED), host[1], host[2], host[3]],
        0x8000_0001 => features::leaf_8000_0001(host, facts),
        // Name, caches, TLBs, and how fast wide operations are.
        0x8000_0002..=0x8000_0006 | 0x8000_0019 | 0x8000_001a => host,
        // Invariant TSC; nothing of power management.
        0x8000_0007 => [0, 0, 0, host[3] & 1 << 8],
        0x8000_0008 => topology::sizes(host, facts),
        0x8000_001d => topology::caches(host),
        0x8000_001e => [facts.apic_id, facts.apic_id & 0xff, 0, 0],
        0x8000_0021 => features::leaf_8000_0021(host),
        // Ah: SVM; 1Bh: sampling; 1Fh: encrypted guests; the rest: not known.
        _ => [0; 4],
    }
}

/// Leaf Dh: the parts of XCR0 that guests may use, nothing supervisor.
fn extended_state(subleaf: u32, host: [u32; 4], facts: &Facts) -> [u32; 4] {
    const XSAVEOPT_XSAVEC_XGETBV: u32 = 0b111;
    let offered = facts.xstate.offered;
    match subleaf {
        0 => [
            offered as u32,
            host[1].min(facts.xstate.bytes),
            facts.xstate.bytes,
            (offered >> 32) as u32,
        ],
        1 => [
            host[0] & XSAVEOPT_XSAVEC_XGETBV,
            host[1].min(xstate::MAX_BYTES),
            0,
            0,
        ],
        2..=63 if offered >> subleaf & 1 != 0 => [host[0], host[1], host[2] & 1 << 1, 0],
        _ => [0; 4],
    }
}
