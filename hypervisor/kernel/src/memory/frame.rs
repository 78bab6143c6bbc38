//! What is known of one frame of RAM: its owner, the child that shares it, and how often.

use bitfield_struct::bitfield;

/// Slot of a partition in the kernel's table, 1 to 63; 0 stands for nobody.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(transparent)]
pub struct Holder(pub u8);

impl Holder {
    /// Nobody.
    pub const NOBODY: Self = Self(0);

    const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    const fn into_bits(self) -> u8 {
        self.0
    }
}

/// To whom a frame belongs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Owner {
    /// The root partition.
    Root = 0,
    /// The hypervisor, since boot.
    Kept = 1,
    /// The hypervisor, as a deposit of the holder.
    Deposit = 2,
    /// Nobody: hardware that failed could still reach it.
    Quarantined = 3,
}

impl Owner {
    const fn from_bits(bits: u8) -> Self {
        match bits {
            0 => Self::Root,
            1 => Self::Kept,
            2 => Self::Deposit,
            _ => Self::Quarantined,
        }
    }

    const fn into_bits(self) -> u8 {
        self as u8
    }
}

/// State of one 4 KiB frame, in one word: zero is a frame of the root's that nobody shares.
#[bitfield(u64)]
#[derive(Eq, PartialEq)]
pub(super) struct Frame {
    #[bits(8)]
    pub(super) owner: Owner,
    #[bits(8)]
    pub(super) holder: Holder,
    /// Mappings in the holder's SLAT.
    pub(super) slat: u16,
    /// Mappings in the holder's own device domains, the identity domain not counted.
    pub(super) domain: u16,
    #[bits(16)]
    _unused: u16,
}

impl Frame {
    /// A frame of the root's that this child maps once: the state of nearly every frame that a child has.
    pub(super) const fn shared_once(holder: Holder) -> Self {
        Self::new().with_holder(holder).with_slat(1)
    }

    /// Nobody's but the owner's, where no mapping is left.
    pub(super) fn forget_unused_holder(&mut self) {
        if self.slat() == 0 && self.domain() == 0 {
            self.set_holder(Holder::NOBODY);
        }
    }
}

const _: () = assert!(size_of::<Frame>() <= 16, "1/256 of RAM at most");
