//! From a control block to the words of both dialects: why the guest was left, and how long its instruction is.

use super::exit_code as code;
use super::exit_info::{FaultInfo, PortInfo};
use super::segment::LONG;
use super::{Features, Vmcb};
use crate::{Exit, length};

/// Why the guest was left.
#[must_use]
#[inline]
pub fn exit(block: &Vmcb) -> Exit {
    let c = &block.control;
    match c.exit_code {
        code::CPUID => Exit::Cpuid,
        code::VMMCALL => Exit::Hypercall,
        code::MSR if c.exit_info_1 & 1 == 0 => Exit::ReadMsr,
        code::MSR => Exit::WriteMsr,
        code::IOIO => Exit::Port(PortInfo::from_bits(c.exit_info_1).access()),
        code::NPF => Exit::Memory(FaultInfo::from_bits(c.exit_info_1).access(c.exit_info_2)),
        code::HLT => Exit::Halt,
        code::PAUSE => Exit::Pause,
        code::VINTR => Exit::InterruptWindow,
        // IRET leaves to end the guest's own NMI, a write of CR8 to open a window; they run at the next entry.
        code::INTR | code::NMI | code::SMI | code::INIT | code::IRET | code::CR8_WRITE => {
            Exit::Host
        }
        other => rare(other, c.exit_info_1),
    }
}

/// Whether the guest was left for something that [`exit`] calls the host's.
pub const fn is_hosts(exit_code: u64) -> bool {
    matches!(
        exit_code,
        code::INTR | code::NMI | code::SMI | code::INIT | code::IRET | code::CR8_WRITE
    )
}

#[cold]
fn rare(exit_code: u64, info: u64) -> Exit {
    const ALIGNMENT: u8 = 17;
    match exit_code {
        code::EXCEPTION_0..=code::EXCEPTION_31 => {
            let vector = (exit_code - code::EXCEPTION_0) as u8;
            let error_code = match vector {
                8 | 10..=14 | ALIGNMENT | 21 | 29 | 30 => Some(info as u32),
                _ => None,
            };
            Exit::Exception { vector, error_code }
        }
        code::XSETBV => Exit::Xsetbv,
        code::INVD | code::WBINVD => Exit::CacheFlush,
        code::RDPMC
        | code::RSM
        | code::INVLPGA
        | code::VMRUN
        | code::VMLOAD..=code::SKINIT
        | code::MONITOR..=code::MWAIT_ARMED
        | code::RDPRU
        | code::INVLPGB
        | code::INVLPGB_ILLEGAL
        | code::MCOMMIT
        | code::TLBSYNC => Exit::NoSuchInstruction,
        code::SHUTDOWN => Exit::Shutdown,
        other if other as u32 == code::INVALID => Exit::InvalidState,
        other => Exit::Unknown(other),
    }
}

/// Length of an intercepted instruction without prefixes; 0 where it is not known.
const fn plain_length(exit_code: u64) -> u8 {
    match exit_code {
        code::CPUID => length::CPUID,
        code::MSR => length::MSR,
        code::PAUSE => length::PAUSE,
        code::INVD | code::WBINVD => length::CACHE_FLUSH,
        code::VMMCALL => length::HYPERCALL,
        code::XSETBV => length::XSETBV,
        code::HLT => length::HALT,
        _ => 0,
    }
}

/// Where the guest goes on after the instruction that it left at.
#[must_use]
#[inline]
pub fn next_rip(block: &Vmcb, features: Features) -> u64 {
    let c = &block.control;
    if features.next_rip && c.next_rip != 0 {
        return c.next_rip;
    }
    if c.exit_code == code::IOIO {
        return c.exit_info_2;
    }
    next_after(block, plain_length(c.exit_code).into())
}

/// Where the guest goes on after an instruction of this length.
const fn next_after(block: &Vmcb, length: u64) -> u64 {
    let next = block.save.rip.wrapping_add(length);
    if block.save.cs.attributes & LONG != 0 {
        next
    } else {
        next & 0xffff_ffff
    }
}

impl Vmcb {
    /// Steps over an instruction of this length; the interrupt shadow ends.
    #[inline]
    pub const fn advance_by(&mut self, length: u8) {
        self.save.rip = next_after(self, length as u64);
        self.control.interrupt_shadow = 0;
    }
}

/// Length of the instruction that the guest left at, 1 to 15; 0 where it is not known.
#[must_use]
pub fn instruction_length(block: &Vmcb, features: Features) -> u8 {
    let length = next_rip(block, features).wrapping_sub(block.save.rip);
    if length <= 15 { length as u8 } else { 0 }
}

/// Bytes of the instruction that faulted in the nested tables, and their count.
#[must_use]
pub fn instruction_bytes(block: &Vmcb, features: Features) -> ([u8; 15], u8) {
    let c = &block.control;
    if !features.decode_assists || c.exit_code != code::NPF {
        return ([0; 15], 0);
    }
    (c.fetched_bytes, c.fetched_count.min(15))
}

#[cfg(test)]
mod tests {
    use address::Gpa;

    use super::*;
    use crate::svm::vmcb::tests::block;
    use crate::{Access, MemoryAccess};

    fn left(exit_code: u64, info_1: u64, info_2: u64) -> Vmcb {
        let mut block = block(Features::default());
        block.control.exit_code = exit_code;
        block.control.exit_info_1 = info_1;
        block.control.exit_info_2 = info_2;
        block.save.rip = 0x1000;
        block
    }

    #[test]
    fn exits_of_every_day() {
        assert_eq!(exit(&left(0x72, 0, 0)), Exit::Cpuid);
        assert_eq!(exit(&left(0x81, 0, 0)), Exit::Hypercall);
        assert_eq!(exit(&left(0x7c, 0, 0)), Exit::ReadMsr);
        assert_eq!(exit(&left(0x7c, 1, 0)), Exit::WriteMsr);
        assert_eq!(exit(&left(0x78, 0, 0)), Exit::Halt);
        assert_eq!(exit(&left(0x60, 0, 0)), Exit::Host);
        assert_eq!(exit(&left(0x64, 0, 0)), Exit::InterruptWindow);
        let memory = MemoryAccess {
            gpa: Gpa::new(0xfed0_00f0),
            access: Access::Write,
            table_walk: false,
        };
        assert_eq!(
            exit(&left(0x400, 1 << 32 | 6, 0xfed0_00f0)),
            Exit::Memory(memory)
        );
    }

    #[test]
    fn a_decoded_instruction_is_stepped_over_with_its_shadow() {
        let mut block = left(0x400, 0, 0);
        block.save.rip = 0xffff_fffe;
        block.control.interrupt_shadow = 1;
        block.advance_by(6);
        assert_eq!((block.save.rip, block.control.interrupt_shadow), (4, 0));
        block.save.cs.attributes |= LONG;
        block.save.rip = 0xffff_fffe;
        block.advance_by(6);
        assert_eq!(block.save.rip, 0x1_0000_0004);
    }

    #[test]
    fn rare_exits() {
        assert_eq!(
            exit(&left(0x51, 0, 0)),
            Exit::Exception {
                vector: 17,
                error_code: Some(0)
            }
        );
        assert_eq!(
            exit(&left(0x41, 0, 0)),
            Exit::Exception {
                vector: 1,
                error_code: None
            }
        );
        assert_eq!(exit(&left(0x7f, 0, 0)), Exit::Shutdown);
        assert_eq!(exit(&left(0x8d, 0, 0)), Exit::Xsetbv);
        assert_eq!(exit(&left(0x89, 0, 0)), Exit::CacheFlush);
        for instruction in [
            0x6f, 0x73, 0x7a, 0x80, 0x82, 0x83, 0x84, 0x85, 0x86, 0x8a, 0x8b, 0x8c, 0x8e, 0xa0,
        ] {
            assert_eq!(
                exit(&left(instruction, 0, 0)),
                Exit::NoSuchInstruction,
                "{instruction:#x}"
            );
        }
        assert_eq!(exit(&left(0x401, 0, 0)), Exit::Unknown(0x401));
    }

    #[test]
    fn what_is_the_hosts_is_said_in_one_way() {
        for exit_code in 0..0x410 {
            let host = exit(&left(exit_code, 0, 0)) == Exit::Host;
            assert_eq!(is_hosts(exit_code), host, "{exit_code:#x}");
        }
    }

    #[test]
    fn refused_state_is_known_by_its_low_half() {
        assert_eq!(exit(&left(u64::MAX, 0, 0)), Exit::InvalidState);
        assert_eq!(exit(&left(0xffff_ffff, 0, 0)), Exit::InvalidState);
    }

    #[test]
    fn without_nrips_lengths_are_those_of_the_plain_instructions() {
        let none = Features::default();
        for (exit_code, length) in [
            (0x72, 2),
            (0x81, 3),
            (0x7c, 2),
            (0x78, 1),
            (0x8d, 3),
            (0x77, 2),
            (0x76, 2),
        ] {
            let block = left(exit_code, 0, 0);
            assert_eq!(next_rip(&block, none), 0x1000 + length, "{exit_code:#x}");
            assert_eq!(u64::from(instruction_length(&block, none)), length);
        }
        assert_eq!(next_rip(&left(0x7b, 0, 0x1003), none), 0x1003);
        assert_eq!(instruction_length(&left(0x400, 4, 0), none), 0);
    }

    #[test]
    fn nrips_counts_prefixes_too() {
        let features = Features {
            next_rip: true,
            ..Features::default()
        };
        let mut block = left(0x72, 0, 0);
        block.control.next_rip = 0x1004;
        assert_eq!(
            (
                next_rip(&block, features),
                instruction_length(&block, features)
            ),
            (0x1004, 4)
        );
        assert_eq!(next_rip(&block, Features::default()), 0x1002);
    }

    #[test]
    fn outside_64_bit_code_the_instruction_pointer_wraps() {
        let mut block = left(0x78, 0, 0);
        block.save.rip = 0xffff_ffff;
        assert_eq!(next_rip(&block, Features::default()), 0);
        block.save.cs.attributes |= LONG;
        assert_eq!(next_rip(&block, Features::default()), 0x1_0000_0000);
    }

    #[test]
    fn captured_bytes_are_taken_where_the_processor_has_them() {
        let mut block = left(0x400, 4, 0);
        block.control.fetched_count = 200;
        block.control.fetched_bytes[0] = 0x8b;
        assert_eq!(instruction_bytes(&block, Features::default()), ([0; 15], 0));
        let features = Features {
            decode_assists: true,
            ..Features::default()
        };
        let (bytes, count) = instruction_bytes(&block, features);
        assert_eq!((bytes[0], count), (0x8b, 15));
    }
}
