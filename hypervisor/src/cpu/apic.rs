//! The local APIC in x2APIC mode (Intel SDM volume 3, "Extended XAPIC (x2APIC)"; AMD APM volume 2, 16.9).

use address::{ApicId, Vector};
use bitflags::bitflags;

use super::msr;

const BASE: u32 = 0x1b;
const ENABLED: u64 = 1 << 11;
const X2APIC: u64 = 1 << 10;

const ID: u32 = 0x802;
const TASK_PRIORITY: u32 = 0x808;
const END_OF_INTERRUPT: u32 = 0x80b;
const SPURIOUS: u32 = 0x80f;
const ERROR_STATUS: u32 = 0x828;
const COMMAND: u32 = 0x830;
const LVT_TIMER: u32 = 0x832;
const LVT_THERMAL: u32 = 0x833;
const LVT_PERFORMANCE: u32 = 0x834;
const LVT_LINT0: u32 = 0x835;
const LVT_LINT1: u32 = 0x836;
const LVT_ERROR: u32 = 0x837;
const TIMER_INITIAL: u32 = 0x838;
const TIMER_DIVIDE: u32 = 0x83e;
const VERSION: u32 = 0x803;

const SOFTWARE_ENABLED: u64 = 1 << 8;
const DIVIDE_BY_1: u64 = 0b1011;

bitflags! {
    /// Local vector table entries and the interrupt command: how a vector is delivered, and to whom. The vector is in bits 7
    /// to 0, an x2APIC destination in bits 63 to 32.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    struct Delivery: u64 {
        /// Delivery mode 4.
        const NMI = 0b100 << 8;
        /// Delivery mode 5.
        const INIT = 0b101 << 8;
        /// Delivery mode 6.
        const START_UP = 0b110 << 8;
        /// Level bit of the interrupt command: set but for an INIT that is taken back.
        const ASSERT = 1 << 14;
        /// Mask bit of a local vector table entry.
        const MASKED = 1 << 16;
        /// Shorthand of the interrupt command.
        const ALL_BUT_SELF = 0b11 << 18;
    }
}

/// Vectors that the hypervisor keeps for itself on every LP, past those of device interrupts
/// ([`device::DEVICE_VECTORS`]).
pub mod vector {
    use address::Vector;

    /// The LP's one-shot timer.
    pub const TIMER: Vector = Vector(0xf0);
    /// Another LP wants this one to leave its guest and look.
    pub const KICK: Vector = Vector(0xf1);
    /// An IOMMU unit has recorded a fault.
    pub const IOMMU_FAULT: Vector = Vector(0xf2);
    /// The VP that runs on this LP has interrupts to take: a processor that serves them takes them without leaving the guest.
    pub const NOTIFY: Vector = Vector(0xf3);
    /// Remapping hardware has left interrupts for a VP of this LP that does not run.
    pub const POSTED: Vector = Vector(0xf4);
    /// Spurious: no end of interrupt.
    pub const SPURIOUS: Vector = Vector(0xff);
}

fn write(register: u32, value: u64) {
    // SAFETY: x2APIC registers of this LP; vectors are ones that the interrupt table handles.
    unsafe { msr::write(register, value) }
}

/// This LP's id, in whatever mode its APIC is.
pub fn initial_id() -> ApicId {
    let leaf = core::arch::x86_64::__cpuid(0);
    if leaf.eax >= 0xb {
        let topology = core::arch::x86_64::__cpuid_count(0xb, 0);
        if topology.ebx != 0 {
            return ApicId(topology.edx);
        }
    }
    ApicId(core::arch::x86_64::__cpuid(1).ebx >> 24)
}

/// Turns x2APIC mode on and puts the APIC into a known state: nothing pending from its own sources, all lines masked.
pub fn start() {
    let base = msr::read(BASE);
    // The mode is entered in two steps: no direct way leads from disabled to x2APIC.
    // SAFETY: the features check found x2APIC; nobody uses the registers in memory.
    unsafe {
        msr::write(BASE, base | ENABLED);
        msr::write(BASE, base | ENABLED | X2APIC);
    }
    let entries = msr::read(VERSION) >> 16 & 0xff;
    write(TASK_PRIORITY, 0);
    write(
        LVT_TIMER,
        Delivery::MASKED.bits() | u64::from(vector::TIMER.0),
    );
    for (index, register) in [(4, LVT_PERFORMANCE), (5, LVT_THERMAL)] {
        if entries >= index {
            write(register, Delivery::MASKED.bits());
        }
    }
    write(LVT_LINT0, Delivery::MASKED.bits());
    // LINT1 is the platform's NMI.
    write(LVT_LINT1, Delivery::NMI.bits());
    write(LVT_ERROR, Delivery::MASKED.bits());
    write(ERROR_STATUS, 0);
    write(SPURIOUS, SOFTWARE_ENABLED | u64::from(vector::SPURIOUS.0));
}

/// This LP's id as its APIC says.
pub fn id() -> ApicId {
    ApicId(msr::read(ID) as u32)
}

/// Ends the interrupt in service with the highest priority.
pub fn end_of_interrupt() {
    write(END_OF_INTERRUPT, 0);
}

/// Sends a fixed interrupt to an LP. Memory written before is visible to the receiver.
pub fn send(to: ApicId, vector: Vector) {
    command(Some(to), Delivery::ASSERT, vector.0);
}

/// Resets an LP: it waits for start-up.
pub fn send_init(to: ApicId) {
    command(Some(to), Delivery::INIT | Delivery::ASSERT, 0);
}

/// Starts an LP at page number `page`, below 100h.
pub fn send_start_up(to: ApicId, page: u8) {
    command(Some(to), Delivery::START_UP | Delivery::ASSERT, page);
}

/// Makes every other LP take an NMI. Does nothing before this LP's APIC is in x2APIC mode.
pub fn stop_others() {
    if msr::read(BASE) & X2APIC != 0 {
        command(
            None,
            Delivery::ALL_BUT_SELF | Delivery::NMI | Delivery::ASSERT,
            0,
        );
    }
}

fn command(to: Option<ApicId>, delivery: Delivery, vector: u8) {
    // Writes to x2APIC registers do not wait for earlier stores.
    // SAFETY: fences have no other effect.
    unsafe { core::arch::asm!("mfence", "lfence", options(nostack, preserves_flags)) };
    let to = to.map_or(0, |id| u64::from(id.0) << 32);
    write(COMMAND, to | delivery.bits() | u64::from(vector));
}

/// Starts the one-shot timer: [`vector::TIMER`] after this many ticks, divider 1. 0 stops it.
pub fn set_timer(ticks: u32) {
    write(TIMER_DIVIDE, DIVIDE_BY_1);
    write(LVT_TIMER, u64::from(vector::TIMER.0));
    write(TIMER_INITIAL, u64::from(ticks));
}
