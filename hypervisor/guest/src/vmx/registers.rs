//! A guest's registers by their numbers in the hypercall interface, and which values they take.

use abi::register as name;

use super::control_register::{
    CR0_MASK, CR4_KNOWN, CR4_MASK, is_valid_cr0, real_cr0, real_cr4, seen,
};
use super::save::{SaveArea, segment};
use super::segment::{Segment, Table};
use crate::msr::{index, is_canonical};

const RFLAGS_ALWAYS: u64 = 1 << 1;
const RFLAGS_KNOWN: u64 = 0x003f_7fd5;
/// DR6, between DR3 and DR7 in the interface's numbers.
const DR6: u32 = name::DR7 - 1;

impl SaveArea {
    /// The value of a register; `None`: it is not one of these.
    #[must_use]
    pub fn register(&self, register: u32) -> Option<u128> {
        if let name::ES..=name::TR = register {
            let segment = self.segments.get((register - name::ES) as usize)?;
            return Some(segment.to_register());
        }
        if let Some(msr) = msr_of(register) {
            return self.read_msr(msr).map(u128::from);
        }
        Some(match register {
            name::RSP => self.rsp.into(),
            name::RIP => self.rip.into(),
            name::RFLAGS => self.rflags.into(),
            name::CR0 => seen(self.cr0, self.cr0_shadow, CR0_MASK).into(),
            name::CR2 => self.cr2.into(),
            name::CR3 => self.cr3.into(),
            name::CR4 => seen(self.cr4, self.cr4_shadow, CR4_MASK).into(),
            DR6 => self.dr6.into(),
            name::DR7 => self.dr7.into(),
            name::GDTR => self.gdtr.to_register(),
            name::IDTR => self.idtr.to_register(),
            _ => return None,
        })
    }

    /// Writes a register. `Err(true)`: it is not one of these; `Err(false)`: it does not take this value (nothing has
    /// changed then).
    ///
    /// # Errors
    /// See above.
    pub fn set_register(&mut self, register: u32, value: u128) -> Result<(), bool> {
        match register {
            name::ES..=name::TR => {
                return self.set_segment((register - name::ES) as usize, value);
            }
            name::GDTR => return set_table(&mut self.gdtr, value),
            name::IDTR => return set_table(&mut self.idtr, value),
            _ => {}
        }
        let value = u64::try_from(value).map_err(|_| false)?;
        if register == name::EFER {
            return accept(self.set_efer(value));
        }
        if let Some(msr) = msr_of(register) {
            return accept(self.write_msr(msr, value) == Some(true));
        }
        self.set_plain(register, value)
    }

    fn set_plain(&mut self, register: u32, value: u64) -> Result<(), bool> {
        match register {
            name::RSP => self.rsp = value,
            name::RIP => {
                self.rip = value;
                // Whoever moves the guest on ends the shadow of the instruction before.
                self.interruptibility &= !super::window::SHADOW;
            }
            name::RFLAGS => {
                accept(value & !(RFLAGS_KNOWN | RFLAGS_ALWAYS) == 0)?;
                self.rflags = value | RFLAGS_ALWAYS;
            }
            name::CR0 => {
                accept(is_valid_cr0(value))?;
                self.set_cr0(value);
            }
            name::CR2 => self.cr2 = value,
            name::CR3 => {
                accept(value >> 52 == 0)?;
                self.cr3 = value;
            }
            name::CR4 => {
                accept(value & !CR4_KNOWN == 0)?;
                (self.cr4, self.cr4_shadow) = (real_cr4(value), value);
            }
            DR6 => {
                accept(value >> 32 == 0)?;
                self.dr6 = value;
            }
            name::DR7 => {
                accept(value >> 32 == 0)?;
                self.dr7 = value;
            }
            _ => return Err(true),
        }
        Ok(())
    }

    pub(super) const fn set_cr0(&mut self, value: u64) {
        (self.cr0, self.cr0_shadow) = (real_cr0(value), value);
        self.follow_paging();
    }

    fn set_segment(&mut self, index: usize, value: u128) -> Result<(), bool> {
        let loaded = Segment::from_register(value);
        accept(is_canonical(loaded.base))?;
        if let Some(place) = self.segments.get_mut(index) {
            *place = if index == segment::TR {
                loaded.busy()
            } else {
                loaded
            };
        }
        Ok(())
    }
}

fn set_table(table: &mut Table, value: u128) -> Result<(), bool> {
    let new = Table::from_register(value);
    accept(is_canonical(new.base))?;
    *table = new;
    Ok(())
}

const fn accept(condition: bool) -> Result<(), bool> {
    if condition { Ok(()) } else { Err(false) }
}

/// The MSR behind a register of the interface.
const fn msr_of(register: u32) -> Option<u32> {
    Some(match register {
        name::EFER => index::EFER,
        name::KERNEL_GS_BASE => index::KERNEL_GS_BASE,
        name::PAT => index::PAT,
        name::SYSENTER_CS => index::SYSENTER_CS,
        name::SYSENTER_EIP => index::SYSENTER_EIP,
        name::SYSENTER_ESP => index::SYSENTER_ESP,
        name::STAR => index::STAR,
        name::LSTAR => index::LSTAR,
        name::CSTAR => index::CSTAR,
        name::SFMASK => index::SFMASK,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Reset;

    fn area() -> SaveArea {
        let mut area = SaveArea::default();
        area.reset(Reset::Init);
        area
    }

    #[test]
    fn a_64_bit_state_can_be_set_in_any_order() {
        let mut area = area();
        let code = 0xa09b_0008_ffff_ffff_0000_0000_0000_0000;
        let steps = [
            (name::EFER, 0xd00),
            (name::CR0, 0x8000_0011),
            (name::CR4, 0x20),
            (name::CR3, 0x1000),
            (name::CS, code),
            (name::RIP, 0x10_0000),
            (name::RFLAGS, 0),
        ];
        for (register, value) in steps {
            assert_eq!(area.set_register(register, value), Ok(()), "{register:#x}");
        }
        assert_eq!(area.register(name::EFER), Some(0xd00));
        assert_eq!(area.register(name::CS), Some(code));
        assert_eq!(area.register(name::RFLAGS), Some(2));
        assert_eq!(area.register(name::CR0), Some(0x8000_0011));
        assert_eq!(area.register(name::CR4), Some(0x20));
        assert!(area.in_long_mode());
        assert_eq!((area.cr0, area.cr4), (0x8000_0031, 0x2060));
    }

    #[test]
    fn cpu_16_states_that_no_processor_has_are_refused() {
        let refused = [
            (name::CR0, 0x8000_0000),
            (name::CR0, 1 << 29),
            (name::CR0, 1 << 32),
            (name::CR3, 1 << 52),
            (name::CR4, 1 << 13),
            (name::EFER, 1 << 12),
            (name::RFLAGS, 1 << 22),
            (name::DR7, 1 << 32),
            (name::FS, 1 << 47),
            (name::GDTR, 1 << (64 + 47)),
            (name::LSTAR, 1 << 47),
            (name::PAT, 2),
            (name::RIP, 1 << 64),
        ];
        let mut area = area();
        for (register, value) in refused {
            assert_eq!(
                area.set_register(register, value),
                Err(false),
                "{register:#x}"
            );
        }
        assert_eq!(area.set_register(0x1234, 0), Err(true));
        assert_eq!(area.register(0x1234), None);
    }

    proptest! {
        #[test]
        fn what_is_accepted_reads_back_and_what_is_not_changes_nothing(
            register in prop_oneof![0x20010u32..0x20012, 0x40000u32..0x40004, 0x50004u32..0x50006, 0x60000u32..0x60008,
                0x70000u32..0x70002, 0x80001u32..0x8000c],
            value in any::<u128>(), shift in 0u32..128,
        ) {
            let mut area = area();
            let before = area;
            match area.set_register(register, value >> shift) {
                Ok(()) => prop_assert!(area.register(register).is_some()),
                Err(_) => prop_assert!(before == area),
            }
            prop_assert_eq!(area.cr0 & 0x6000_0020, 0x20);
            prop_assert_ne!(area.cr4 & 1 << 13, 0);
        }
    }
}
