//! The hypervisor's own leaves: TLFS, "Feature and interface discovery".

use abi::partition::privilege;

use super::Facts;

const LAST: u32 = 0x4000_0008;
/// The vendor string that stock guests look for: "Microsoft Hv".
const VENDOR: [u32; 3] = [0x7263_694d, 0x666f_736f, 0x7648_2074];
/// "Hv#1": the interface that the other leaves and the hypercalls follow.
const INTERFACE: u32 = 0x3123_7648;
const NEVER: u32 = u32::MAX;

/// Privileges that only a partition with children may have (TLFS requirements: bits 32 to 35, 38, 40 and 44 are clear).
const PARENT_ONLY: u64 = 0xf << 32 | 1 << 38 | 1 << 40 | 1 << 44;

/// The privileges of `wanted` that a child may have.
#[must_use]
pub const fn child_privileges(wanted: u64) -> u64 {
    wanted & !PARENT_ONLY
}

pub(super) const fn answer(leaf: u32, facts: &Facts) -> [u32; 4] {
    match leaf {
        0x4000_0000 => [LAST, VENDOR[0], VENDOR[1], VENDOR[2]],
        0x4000_0001 => [INTERFACE, 0, 0, 0],
        // Build 1 of version 10.0, no service pack.
        0x4000_0002 => [1, 10 << 16, 0, 0],
        0x4000_0003 => features(facts),
        0x4000_0004 => recommendations(facts),
        0x4000_0005 => [
            facts.max_vps,
            if facts.root {
                facts.lps
            } else {
                facts.vp_count
            },
            facts.interrupt_entries,
            0,
        ],
        0x4000_0006 => hardware(facts),
        _ => [0; 4],
    }
}

const fn features(facts: &Facts) -> [u32; 4] {
    const FREQUENCY_MSRS: u32 = 1 << 8;
    const DEVICE_DOMAINS: u32 = 1 << 24;
    let mask = if facts.root {
        facts.privileges
    } else {
        child_privileges(facts.privileges)
    };
    let frequencies = if mask & privilege::FREQUENCY_MSRS != 0 {
        FREQUENCY_MSRS
    } else {
        0
    };
    let domains = if facts.root && facts.device_width != 0 {
        DEVICE_DOMAINS
    } else {
        0
    };
    [mask as u32, (mask >> 32) as u32, 0, frequencies | domains]
}

const fn recommendations(facts: &Facts) -> [u32; 4] {
    const RELAXED_TIMING: u32 = 1 << 5;
    const NO_AUTO_EOI: u32 = 1 << 9;
    [
        RELAXED_TIMING | NO_AUTO_EOI,
        NEVER,
        facts.physical_bits as u32,
        0,
    ]
}

const fn hardware(facts: &Facts) -> [u32; 4] {
    const MSR_BITMAPS: u32 = 1 << 1;
    const SLAT: u32 = 1 << 3;
    const DMA_REMAPPING: u32 = 1 << 4 | 1 << 7;
    const INTERRUPT_REMAPPING: u32 = 1 << 5;
    let dma = if facts.device_width != 0 {
        DMA_REMAPPING
    } else {
        0
    };
    let interrupts = if facts.interrupt_entries != 0 {
        INTERRUPT_REMAPPING
    } else {
        0
    };
    let width = if facts.root {
        facts.device_width as u32
    } else {
        0
    };
    [MSR_BITMAPS | SLAT | dma | interrupts, width, 0, 0]
}
