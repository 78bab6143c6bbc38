//! SynIC messages to this VP (TLFS, "Inter-partition communication").

use core::sync::atomic::{AtomicU64, Ordering, fence};

use abi::message::Message;
use abi::msr::{EOM, SCONTROL, SIMP, SINT0};
use zerocopy::{FromZeros, IntoBytes};

use crate::{MAX_VPS, descriptor, msr};

/// Message slots of a VP.
pub const SLOTS: usize = 16;

/// Where each VP's message page is; 0 until it is enabled.
static PAGES: [AtomicU64; MAX_VPS] = [const { AtomicU64::new(0) }; MAX_VPS];

const ENABLE: u64 = 1;

/// Turns this VP's SynIC on; a message in slot `sint` raises `vector` (32 to 254). The hypervisor chose the page: it
/// stands in the MSR. False where there is none.
pub fn enable(sint: usize, vector: u8) -> bool {
    let page = msr::read(SIMP) & !0xfff;
    if page == 0 {
        return false;
    }
    PAGES[descriptor::vp_slot()].store(page, Ordering::Relaxed);
    msr::write(SIMP, page | ENABLE);
    msr::write(
        SINT0 + sint.min(SLOTS - 1) as u32,
        u64::from(vector.max(32)),
    );
    msr::write(SCONTROL, ENABLE);
    true
}

/// Takes the message out of a slot: copied once, the slot emptied, and the hypervisor told when more wait.
#[must_use]
pub fn take(slot: usize) -> Option<Message> {
    let page = PAGES[descriptor::vp_slot()].load(Ordering::Relaxed);
    if slot >= SLOTS || page == 0 {
        return None;
    }
    let place = (page + 256 * slot as u64) as *mut [u8; 256];
    // SAFETY: the page is the hypervisor's, mapped for this VP; it writes a slot only while its type is 0.
    if unsafe { place.cast::<u32>().read_volatile() } == 0 {
        return None;
    }
    let mut message = Message::new_zeroed();
    // SAFETY: a slot has the size of a message.
    unsafe { crate::pool::copy(place.cast::<u8>(), message.as_mut_bytes().as_mut_ptr(), 256) };
    // SAFETY: as above.
    unsafe { place.cast::<u32>().write_volatile(0) };
    // The flag may have come after the copy: look once the slot is empty.
    fence(Ordering::SeqCst);
    // SAFETY: byte 5 of the slot are its flags.
    let flags = unsafe { place.cast::<u8>().add(5).read_volatile() };
    if flags & 1 != 0 {
        msr::write(EOM, 0);
    }
    Some(message)
}
