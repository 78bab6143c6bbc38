//! Intel SDM volume 3, section "Basic VM-exit information": exit qualifications.

use address::Gpa;
use bitfield_struct::bitfield;

use crate::{Access, MemoryAccess, PortAccess};

/// Exit qualification of an I/O instruction.
#[bitfield(u64)]
pub struct PortInfo {
    /// Bytes per access, less one.
    #[bits(3)]
    pub size_less_one: u8,
    /// IN or INS.
    pub input: bool,
    /// INS or OUTS.
    pub string: bool,
    /// REP prefix.
    pub rep: bool,
    /// The port stands in the instruction.
    pub immediate: bool,
    #[bits(9)]
    _reserved_7: u16,
    /// Port.
    pub port: u16,
    _reserved_32: u32,
}

impl PortInfo {
    /// The access, in the words of both dialects.
    #[must_use]
    pub const fn access(self) -> PortAccess {
        PortAccess {
            port: self.port(),
            size: self.size_less_one() + 1,
            write: !self.input(),
            string: self.string(),
            rep: self.rep(),
        }
    }
}

/// Exit qualification of an EPT violation.
#[bitfield(u64)]
pub struct FaultInfo {
    /// The access was a read.
    pub read: bool,
    /// The access was a write.
    pub write: bool,
    /// The access was an instruction fetch.
    pub fetch: bool,
    /// What the tables allow: read, write, execute, and execute for user addresses.
    #[bits(4)]
    pub allowed: u8,
    /// There was a linear address.
    pub linear: bool,
    /// The access was to what the linear address stands for, not to the guest's own page tables.
    pub final_address: bool,
    #[bits(3)]
    _advanced: u8,
    /// An IRET had ended the blocking of NMIs before it faulted.
    pub nmi_unblocked: bool,
    #[bits(51)]
    _reserved_13: u64,
}

impl FaultInfo {
    /// The access, in the words of both dialects.
    #[must_use]
    pub const fn access(self, gpa: u64) -> MemoryAccess {
        let access = if self.fetch() {
            Access::Execute
        } else if self.write() {
            Access::Write
        } else {
            Access::Read
        };
        MemoryAccess {
            gpa: Gpa::new(gpa),
            access,
            table_walk: self.linear() && !self.final_address(),
        }
    }
}

/// Exit qualification of a control-register access.
#[bitfield(u64)]
pub struct ControlRegisterInfo {
    /// Number of the control register.
    #[bits(4)]
    pub register: u8,
    /// 0 MOV to, 1 MOV from, 2 CLTS, 3 LMSW.
    #[bits(2)]
    pub kind: u8,
    /// LMSW from memory.
    pub memory_operand: bool,
    _reserved_7: bool,
    /// Number of the general-purpose register.
    #[bits(4)]
    pub gpr: u8,
    #[bits(4)]
    _reserved_12: u8,
    /// LMSW's source.
    pub source: u16,
    _reserved_32: u32,
}

/// A MOV to a control register, in [`ControlRegisterInfo::kind`].
pub const MOV_TO: u8 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outb_and_a_rep_insw_have_these_raw_values() {
        let out = PortInfo::from_bits(0x03f8_0000).access();
        let expected = PortAccess {
            port: 0x3f8,
            size: 1,
            write: true,
            string: false,
            rep: false,
        };
        assert_eq!(out, expected);
        let ins = PortInfo::from_bits(0x01f0_0000 | 1 | 1 << 3 | 1 << 4 | 1 << 5).access();
        let expected = PortAccess {
            port: 0x1f0,
            size: 2,
            write: false,
            string: true,
            rep: true,
        };
        assert_eq!(ins, expected);
        assert_eq!(PortInfo::from_bits(0x0cf8_0003).access().size, 4);
    }

    #[test]
    fn violations_tell_fetch_write_and_table_walk_apart() {
        let read = FaultInfo::from_bits(0x181).access(0xfed0_0000);
        assert_eq!((read.access, read.table_walk), (Access::Read, false));
        assert_eq!(read.gpa, Gpa::new(0xfed0_0000));
        assert_eq!(FaultInfo::from_bits(0x182).access(0).access, Access::Write);
        assert_eq!(
            FaultInfo::from_bits(0x184).access(0).access,
            Access::Execute
        );
        assert!(FaultInfo::from_bits(0x82).access(0).table_walk);
        assert!(FaultInfo::from_bits(1 << 12).nmi_unblocked());
    }

    #[test]
    fn a_write_of_cr4_from_r10_has_these_raw_values() {
        let info = ControlRegisterInfo::from_bits(0xa04);
        assert_eq!((info.register(), info.kind(), info.gpr()), (4, MOV_TO, 10));
    }
}
