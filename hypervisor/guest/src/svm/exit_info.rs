//! AMD64 Architecture Programmer's Manual volume 2, sections 15.10.2 and 15.25.6: EXITINFO1 of IOIO and of nested page
//! faults.

use address::Gpa;
use bitfield_struct::bitfield;

use crate::{Access, MemoryAccess, PortAccess};

/// EXITINFO1 of an IOIO exit.
#[bitfield(u64)]
pub struct PortInfo {
    /// IN or INS.
    pub input: bool,
    _reserved_1: bool,
    /// INS or OUTS.
    pub string: bool,
    /// REP prefix.
    pub rep: bool,
    /// Operand size of 8 bits.
    pub size_8: bool,
    /// Operand size of 16 bits.
    pub size_16: bool,
    /// Operand size of 32 bits.
    pub size_32: bool,
    /// Address size of 16, 32 or 64 bits, one bit each; zero where the processor does not tell.
    #[bits(3)]
    pub address_sizes: u8,
    /// Segment of a string access; needs decode assists.
    #[bits(3)]
    pub segment: u8,
    #[bits(3)]
    _reserved_13: u8,
    /// Port.
    pub port: u16,
    _reserved_32: u32,
}

impl PortInfo {
    /// The access, in the words of both dialects.
    #[must_use]
    pub const fn access(self) -> PortAccess {
        let size = if self.size_8() {
            1
        } else if self.size_16() {
            2
        } else {
            4
        };
        PortAccess {
            port: self.port(),
            size,
            write: !self.input(),
            string: self.string(),
            rep: self.rep(),
        }
    }
}

/// EXITINFO1 of a nested page fault.
#[bitfield(u64)]
pub struct FaultInfo {
    /// The nested translation was present.
    pub present: bool,
    /// The access was a write.
    pub write: bool,
    /// The access came with user rights (every access through nested tables does).
    pub user: bool,
    /// A reserved bit was set in the nested tables.
    pub reserved_bit: bool,
    /// The access was an instruction fetch.
    pub fetch: bool,
    #[bits(27)]
    _reserved_5: u32,
    /// The fault was on the final address.
    pub final_address: bool,
    /// The fault was on the guest's own page tables.
    pub table_walk: bool,
    #[bits(30)]
    _reserved_34: u32,
}

impl FaultInfo {
    /// The access, in the words of both dialects.
    #[must_use]
    pub const fn access(self, gpa: u64) -> MemoryAccess {
        let access = if self.fetch() && !self.table_walk() {
            Access::Execute
        } else if self.write() {
            Access::Write
        } else {
            Access::Read
        };
        MemoryAccess {
            gpa: Gpa::new(gpa),
            access,
            table_walk: self.table_walk(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outb_and_a_rep_insw_have_these_raw_values() {
        let out = PortInfo::from_bits(0x03f8_0000 | 1 << 4 | 1 << 7).access();
        let expected = PortAccess {
            port: 0x3f8,
            size: 1,
            write: true,
            string: false,
            rep: false,
        };
        assert_eq!(out, expected);
        let ins = PortInfo::from_bits(0x01f0_0000 | 1 << 5 | 1 << 3 | 1 << 2 | 1).access();
        let expected = PortAccess {
            port: 0x1f0,
            size: 2,
            write: false,
            string: true,
            rep: true,
        };
        assert_eq!(ins, expected);
        assert_eq!(PortInfo::from_bits(0x0cf8_0000 | 1 << 6).access().size, 4);
    }

    #[test]
    fn nested_faults_tell_fetch_write_and_table_walk_apart() {
        let read = FaultInfo::from_bits(1 << 32 | 4).access(0xfed0_0000);
        assert_eq!((read.access, read.table_walk), (Access::Read, false));
        assert_eq!(read.gpa, Gpa::new(0xfed0_0000));
        assert_eq!(
            FaultInfo::from_bits(1 << 32 | 7).access(0).access,
            Access::Write
        );
        assert_eq!(
            FaultInfo::from_bits(1 << 32 | 0x14).access(0).access,
            Access::Execute
        );
        let walk = FaultInfo::from_bits(1 << 33 | 6).access(0);
        assert_eq!((walk.access, walk.table_walk), (Access::Write, true));
    }
}
