//! The local APIC in x2APIC mode (SDM volume 3, "Extended xAPIC"; APM volume 2, section 16.3 onwards).

use crate::{interrupt, msr};

const ID: u32 = 0x802;
const VERSION: u32 = 0x803;
const EOI: u32 = 0x80b;
const SPURIOUS: u32 = 0x80f;
const ICR: u32 = 0x830;
const TIMER: u32 = 0x832;
const INITIAL_COUNT: u32 = 0x838;
const CURRENT_COUNT: u32 = 0x839;
const DIVIDE: u32 = 0x83e;
const SELF_IPI: u32 = 0x83f;

const MASKED: u64 = 1 << 16;
const PERIODIC: u64 = 1 << 17;
const ASSERT: u64 = 1 << 14;
/// Timer divider 1.
const DIVIDE_BY_1: u64 = 0b1011;

/// Turns x2APIC mode and the local APIC on.
pub fn enable() {
    let base = msr::read(msr::APIC_BASE);
    if base >> 10 & 3 != 3 {
        msr::write(msr::APIC_BASE, base | 1 << 11);
        msr::write(msr::APIC_BASE, base | 3 << 10);
    }
    msr::write(SPURIOUS, 1 << 8 | u64::from(interrupt::SPURIOUS));
}

/// APIC id of this VP.
#[must_use]
pub fn id() -> u32 {
    msr::read(ID) as u32
}

/// Version register.
#[must_use]
pub fn version() -> u32 {
    msr::read(VERSION) as u32
}

/// Ends the interrupt in service. Handlers of [`interrupt::set_handler`] need not.
pub fn eoi() {
    msr::write(EOI, 0);
}

/// Raises a vector on the VP with this APIC id.
pub fn send(apic_id: u32, vector: u8) {
    msr::write(ICR, u64::from(apic_id) << 32 | ASSERT | u64::from(vector));
}

/// Raises a vector on this VP.
pub fn send_to_self(vector: u8) {
    msr::write(SELF_IPI, u64::from(vector));
}

/// Sends an NMI.
pub fn send_nmi(apic_id: u32) {
    msr::write(ICR, u64::from(apic_id) << 32 | ASSERT | 4 << 8);
}

/// Sends INIT.
pub fn send_init(apic_id: u32) {
    msr::write(ICR, u64::from(apic_id) << 32 | ASSERT | 5 << 8);
}

/// Sends a start-up IPI: the VP begins at page `page` of the first MiB, in real mode.
pub fn send_startup(apic_id: u32, page: u8) {
    msr::write(
        ICR,
        u64::from(apic_id) << 32 | ASSERT | 6 << 8 | u64::from(page),
    );
}

/// Raises `vector` once after `count` ticks of the timer.
pub fn one_shot(vector: u8, count: u32) {
    start_timer(u64::from(vector), count);
}

/// Raises `vector` every `count` ticks of the timer.
pub fn periodic(vector: u8, count: u32) {
    start_timer(u64::from(vector) | PERIODIC, count);
}

/// Stops the timer.
pub fn stop_timer() {
    msr::write(TIMER, MASKED);
    msr::write(INITIAL_COUNT, 0);
}

/// Ticks until the timer ends; 0 when it does not run.
#[must_use]
pub fn timer_left() -> u32 {
    msr::read(CURRENT_COUNT) as u32
}

fn start_timer(entry: u64, count: u32) {
    msr::write(DIVIDE, DIVIDE_BY_1);
    msr::write(TIMER, entry);
    msr::write(INITIAL_COUNT, u64::from(count));
}
