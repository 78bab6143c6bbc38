//! What a guest writes into a device's message registers (SDM volume 3, "Message Signalled Interrupts"): it
//! names a virtual APIC and a vector, and never reaches hardware.

/// A vector of a VP.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Target {
    /// VP; its index is its APIC id.
    pub vp: u32,
    /// Vector, 16 to 255.
    pub vector: u8,
}

impl Target {
    /// Reads address and data; `None` where they name nothing that a child of `vps` VPs may have: another address
    /// range, a delivery mode other than fixed or lowest priority, a reserved vector, a VP that it does not have.
    #[must_use]
    pub fn decode(address: u64, data: u32, vps: u32) -> Option<Self> {
        let in_range = address >> 20 == 0xfee;
        let mode = data >> 8 & 7;
        let vector = data as u8;
        let destination = (address >> 12 & 0xff) as u8;
        let logical = address & 1 << 2 != 0;
        let vp = if logical {
            // Flat model: one bit per VP; any of them may take it.
            destination.trailing_zeros()
        } else {
            u32::from(destination)
        };
        (in_range && mode <= 1 && vector >= 16 && vp < vps).then_some(Self { vp, vector })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_a_vp_and_a_vector() {
        let target = |vp, vector| Some(Target { vp, vector });
        assert_eq!(Target::decode(0xfee0_1000, 0x41, 2), target(1, 0x41));
        assert_eq!(Target::decode(0xfee0_200c, 0x0130, 2), target(1, 0x30));
    }

    #[test]
    fn int_01_what_a_child_may_not_raise_names_nothing() {
        for (address, data) in [
            (0xfee0_2000, 0x41),
            (0xfee0_0000, 0x0f),
            (0xfee0_0000, 0x441),
            (0xfee0_0000, 0x541),
            (0x1_fee0_0000, 0x41),
            (0x1000, 0x41),
            (0xfee0_0004, 0x41),
        ] {
            assert_eq!(
                Target::decode(address, data, 2),
                None,
                "{address:x} {data:x}"
            );
        }
    }
}
