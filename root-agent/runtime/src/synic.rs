//! SynIC messages to this VP (TLFS, "Inter-partition communication").

use abi::message::Message;
use abi::msr::{EOM, SCONTROL, SIMP, SINT0};
use zerocopy::{FromZeros, IntoBytes};

use crate::cell::Shared;
use crate::{MAX_VPS, descriptor, msr};

/// Message slots of a VP.
pub const SLOTS: usize = 16;

type Slots = [[u8; 256]; SLOTS];

static PAGES: Shared<[Slots; MAX_VPS]> = Shared::new([[[0; 256]; SLOTS]; MAX_VPS]);

const ENABLE: u64 = 1;

/// Turns this VP's SynIC on; a message in slot `sint` raises `vector` (32 to 254).
pub fn enable(sint: usize, vector: u8) {
    msr::write(SIMP, page() as u64 | ENABLE);
    msr::write(
        SINT0 + sint.min(SLOTS - 1) as u32,
        u64::from(vector.max(32)),
    );
    msr::write(SCONTROL, ENABLE);
}

/// Takes the message out of a slot: copied once, the slot emptied, and the hypervisor told when more wait.
#[must_use]
pub fn take(slot: usize) -> Option<Message> {
    if slot >= SLOTS {
        return None;
    }
    // SAFETY: the slot is below SLOTS.
    let place = unsafe { page().cast::<[u8; 256]>().add(slot) };
    // SAFETY: the page is this VP's own; the hypervisor writes a slot only while its type is 0.
    if unsafe { place.cast::<u32>().read_volatile() } == 0 {
        return None;
    }
    let mut message = Message::new_zeroed();
    // SAFETY: a slot has the size of a message.
    unsafe { crate::pool::copy(place.cast::<u8>(), message.as_mut_bytes().as_mut_ptr(), 256) };
    // SAFETY: as above.
    unsafe { place.cast::<u32>().write_volatile(0) };
    // The flag may have come after the copy: look once the slot is empty.
    core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
    // SAFETY: byte 5 of the slot are its flags.
    let flags = unsafe { place.cast::<u8>().add(5).read_volatile() };
    if flags & 1 != 0 {
        msr::write(EOM, 0);
    }
    Some(message)
}

fn page() -> *mut Slots {
    // SAFETY: `vp_slot` is below MAX_VPS.
    unsafe { PAGES.pointer().cast::<Slots>().add(descriptor::vp_slot()) }
}
