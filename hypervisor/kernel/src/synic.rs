//! The synthetic interrupt controller, as far as intercept messages need it (TLFS, "Virtual interrupt controller").
//!
//! The hypervisor chooses the message page, a frame of its own that the partition's SLAT maps: the partition reads its place
//! from HV_X64_MSR_SIMP and enables it. Nothing in that page is trusted when read.

use abi::msr;
use address::Spa;

const SINTS: usize = 16;
const ENABLED: u64 = 1;
const SINT_MASKED: u64 = 1 << 16;
/// Vector, masked, automatic EOI.
const SINT_BITS: u64 = 0xff | SINT_MASKED | 1 << 17;

/// State of one VP's SynIC.
#[derive(Debug)]
pub struct SynIc {
    control: u64,
    messages: Option<Spa>,
    messages_enabled: bool,
    sints: [u64; SINTS],
}

/// What a register write asks of the kernel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Effect {
    /// Nothing.
    None,
    /// A message slot may have become free.
    LookForMessages,
}

impl SynIc {
    /// A SynIC after reset, with its message page where the partition has one.
    #[must_use]
    pub const fn new(messages: Option<Spa>) -> Self {
        Self {
            control: 0,
            messages,
            messages_enabled: false,
            sints: [SINT_MASKED; SINTS],
        }
    }

    /// Reads a register; `None` is #GP.
    #[must_use]
    pub fn read(&self, index: u32) -> Option<u64> {
        match index {
            msr::SCONTROL => Some(self.control),
            msr::SVERSION => Some(1),
            msr::SIMP => Some(self.messages?.as_u64() | u64::from(self.messages_enabled)),
            msr::EOM => Some(0),
            msr::SINT0..=msr::SINT15 => self.sints.get((index - msr::SINT0) as usize).copied(),
            _ => None,
        }
    }

    /// Writes a register; `None` is #GP.
    pub fn write(&mut self, index: u32, value: u64) -> Option<Effect> {
        match index {
            msr::SCONTROL if value <= ENABLED => self.control = value,
            msr::SIMP => {
                let page = self.messages?;
                if value & !ENABLED != page.as_u64() {
                    return None;
                }
                self.messages_enabled = value & ENABLED != 0;
            }
            msr::EOM => (),
            msr::SINT0..=msr::SINT15 => {
                let valid =
                    value & !SINT_BITS == 0 && (value & SINT_MASKED != 0 || value & 0xff >= 16);
                if !valid {
                    return None;
                }
                *self.sints.get_mut((index - msr::SINT0) as usize)? = value;
            }
            _ => return None,
        }
        Some(Effect::LookForMessages)
    }

    /// Where a message of this source goes, and the vector that announces it; `None` while the partition does not listen.
    #[must_use]
    pub fn slot(&self, sint: usize) -> Option<(Spa, u8)> {
        let page = self
            .messages
            .filter(|_| self.messages_enabled && self.control & ENABLED != 0)?;
        let setting = *self.sints.get(sint)?;
        if setting & SINT_MASKED != 0 {
            return None;
        }
        let slot = page.checked_add(sint as u64 * size_of::<abi::message::Message>() as u64)?;
        Some((slot, setting as u8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: Spa = Spa::new(0x5000);

    fn listening() -> SynIc {
        let mut synic = SynIc::new(Some(PAGE));
        synic.write(msr::SIMP, 0x5001).unwrap();
        synic.write(msr::SCONTROL, 1).unwrap();
        synic.write(msr::SINT0 + 2, 0x40).unwrap();
        synic
    }

    #[test]
    fn a_message_has_a_place_only_while_the_guest_listens() {
        let mut synic = listening();
        assert_eq!(synic.slot(2), Some((Spa::new(0x5200), 0x40)));
        assert_eq!(synic.slot(0), None, "masked");
        assert_eq!(synic.slot(16), None);
        synic.write(msr::SCONTROL, 0).unwrap();
        assert_eq!(synic.slot(2), None);
    }

    #[test]
    fn hc_19_the_page_cannot_be_moved() {
        let mut synic = listening();
        assert_eq!(synic.write(msr::SIMP, 0x6001), None);
        assert_eq!(SynIc::new(None).write(msr::SIMP, 1), None);
        assert_eq!(synic.read(msr::SIMP), Some(0x5001));
    }

    #[test]
    fn vectors_below_16_and_reserved_bits_are_refused() {
        let mut synic = listening();
        assert_eq!(synic.write(msr::SINT0, 15), None);
        assert_eq!(synic.write(msr::SINT0, 1 << 20 | 0x40), None);
        assert!(synic.write(msr::SINT0, SINT_MASKED).is_some());
        assert_eq!(synic.read(0x4000_0085), None);
    }
}
