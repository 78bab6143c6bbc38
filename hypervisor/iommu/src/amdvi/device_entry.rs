//! Device Table Entry. AMD I/O Virtualization Technology (IOMMU) Specification, "Device Table Entry Format": 256 bits, one per
//! requester id. A zeroed entry *forwards* everything: no entry is ever left zero.
//!
//! Words 0 and 1 say what becomes of memory requests and are only written together, with one store of 128 bits; word 2 says what
//! becomes of interrupts and stands alone; word 3 is zero.

use address::{RequesterId, Spa};
use bitfield_struct::bitfield;

use crate::DomainName;

/// Word 0.
#[bitfield(u64)]
#[derive(Eq, PartialEq)]
pub(crate) struct Translation {
    /// The words on memory requests count. Never clear: requests would pass.
    pub valid: bool,
    /// The table below counts. Never clear.
    pub translation_valid: bool,
    #[bits(7)]
    __: u8,
    /// Levels of the host table; 0: none, the rights below are all there is.
    #[bits(3)]
    pub mode: u8,
    /// Frame number of the host root table.
    #[bits(40)]
    pub table: u64,
    /// Page requests and guest translation. Never set.
    #[bits(9)]
    pub guest: u16,
    /// Reads are allowed.
    pub read: bool,
    /// Writes are allowed.
    pub write: bool,
    __: bool,
}

/// Word 1.
#[bitfield(u64)]
#[derive(Eq, PartialEq)]
pub(crate) struct Domain {
    /// Name of the domain; 0 for what is blocked.
    pub name: u16,
    __: u16,
    /// The device may cache translations itself. Never set.
    pub device_cache: bool,
    /// Only the first fault is logged. Never set.
    pub suppress_further: bool,
    /// No fault is logged.
    pub suppress_all: bool,
    /// Port accesses of the device. 0: refused.
    #[bits(2)]
    pub ports: u8,
    __: bool,
    /// Table walks do not snoop. Never set.
    pub snoop_disable: bool,
    /// The exclusion range counts. Never set.
    pub exclusion: bool,
    /// System management messages of the device. 0: refused.
    #[bits(2)]
    pub system_management: u8,
    #[bits(22)]
    __: u32,
}

/// Word 2.
#[bitfield(u64)]
#[derive(Eq, PartialEq)]
pub(crate) struct Interrupts {
    /// The words on interrupts count. Never clear: interrupts would pass.
    pub valid: bool,
    /// Logarithm of the number of entries.
    #[bits(4)]
    pub length: u8,
    /// Faults of interrupts are not logged.
    pub ignore: bool,
    /// Address of the interrupt table, in units of 64 bytes.
    #[bits(46)]
    pub table: u64,
    #[bits(4)]
    __: u8,
    /// INIT messages pass. Never set.
    pub pass_init: bool,
    /// ExtINT messages pass. Never set.
    pub pass_external: bool,
    /// NMI messages pass. Never set.
    pub pass_nmi: bool,
    __: bool,
    /// Fixed and arbitrated interrupts: 0 refused, 2 remapped. 1, passed, is never written.
    #[bits(2)]
    pub control: u8,
    /// LINT0 messages pass. Never set.
    pub pass_lint0: bool,
    /// LINT1 messages pass. Never set.
    pub pass_lint1: bool,
}

const REMAP: u8 = 2;

/// 64-bit words of an entry.
pub(crate) const WORDS: usize = 4;
/// Entries in a frame.
pub(crate) const PER_FRAME: usize = 128;

impl Translation {
    /// Nothing is allowed, and no table looked at.
    pub(crate) const BLOCKED: Self = Self::new().with_valid(true).with_translation_valid(true);

    /// Requests go through a table of `levels` (1 to 6).
    pub(crate) const fn through(root: Spa, levels: u8) -> Self {
        Self::BLOCKED
            .with_mode(levels & 7)
            .with_table(root.page())
            .with_read(true)
            .with_write(true)
    }

    /// Whether it allows anything.
    pub(crate) const fn is_blocked(self) -> bool {
        !self.read() && !self.write()
    }
}

impl Domain {
    /// Of what is blocked.
    pub(crate) const NONE: Self = Self::new();

    /// Of what is attached.
    pub(crate) const fn of(name: DomainName) -> Self {
        Self::new().with_name(name.0)
    }
}

impl Interrupts {
    /// No interrupt leads anywhere.
    pub(crate) const BLOCKED: Self = Self::new().with_valid(true);

    /// Interrupts are looked up in a table of 2^`length` entries.
    pub(crate) const fn through(table: Spa, length: u8) -> Self {
        Self::BLOCKED
            .with_length(length & 0xf)
            .with_table(table.as_u64() >> 6 & ((1 << 46) - 1))
            .with_control(REMAP)
    }

    /// The table, where there is one.
    pub(crate) const fn table_base(self) -> Option<Spa> {
        if self.control() == REMAP {
            Some(Spa::new(self.table() << 6))
        } else {
            None
        }
    }
}

/// Frame of the device table, and word in it, where the entry of a requester begins.
pub(crate) const fn place(requester: RequesterId) -> (u64, usize) {
    let id = requester.0 as usize;
    ((id / PER_FRAME) as u64, id % PER_FRAME * WORDS)
}

const _: () = assert!(
    size_of::<Translation>() + size_of::<Domain>() + size_of::<Interrupts>() + 8 == WORDS * 8
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dma_04_raw_value_of_a_blocked_entry() {
        assert_eq!(Translation::BLOCKED.into_bits(), 0x3);
        assert_eq!(Domain::NONE.into_bits(), 0);
        assert_eq!(Interrupts::BLOCKED.into_bits(), 0x1);
        assert!(Translation::BLOCKED.is_blocked());
        assert_eq!(Interrupts::BLOCKED.table_base(), None);
    }

    #[test]
    fn raw_values_of_an_attached_entry() {
        let through = Translation::through(Spa::new(0xabc_d000), 4);
        assert_eq!(through.into_bits(), 0x6000_0000_0abc_d803);
        assert!(!through.is_blocked());
        let deep = Translation::through(Spa::new(0), 6);
        assert_eq!(deep.into_bits(), 0x6000_0000_0000_0c03);
        assert_eq!(Domain::of(DomainName(0x1234)).into_bits(), 0x1234);
        assert_eq!(Domain::new().with_suppress_all(true).into_bits(), 1 << 34);
    }

    #[test]
    fn int_05_raw_values_of_an_interrupt_table() {
        let through = Interrupts::through(Spa::new(0x12_3000), 8);
        assert_eq!(through.into_bits(), 0x2000_0000_0012_3011);
        assert_eq!(through.table_base(), Some(Spa::new(0x12_3000)));
    }

    #[test]
    fn int_07_raw_values_of_what_is_never_written() {
        assert_eq!(Interrupts::new().with_pass_init(true).into_bits(), 1 << 56);
        assert_eq!(
            Interrupts::new().with_pass_external(true).into_bits(),
            1 << 57
        );
        assert_eq!(Interrupts::new().with_pass_nmi(true).into_bits(), 1 << 58);
        assert_eq!(Interrupts::new().with_control(3).into_bits(), 3 << 60);
        assert_eq!(Interrupts::new().with_pass_lint0(true).into_bits(), 1 << 62);
        assert_eq!(Interrupts::new().with_pass_lint1(true).into_bits(), 1 << 63);
        assert_eq!(Domain::new().with_device_cache(true).into_bits(), 1 << 32);
        assert_eq!(
            Domain::new().with_suppress_further(true).into_bits(),
            1 << 33
        );
        assert_eq!(Domain::new().with_ports(3).into_bits(), 3 << 35);
        assert_eq!(Domain::new().with_snoop_disable(true).into_bits(), 1 << 38);
        assert_eq!(Domain::new().with_exclusion(true).into_bits(), 1 << 39);
        assert_eq!(Domain::new().with_system_management(3).into_bits(), 3 << 40);
        assert_eq!(
            Translation::new().with_guest(0x1ff).into_bits(),
            0x1ff << 52
        );
    }

    #[test]
    fn entries_are_where_hardware_looks_for_them() {
        assert_eq!(place(RequesterId(0)), (0, 0));
        assert_eq!(place(RequesterId(127)), (0, 508));
        assert_eq!(place(RequesterId(128)), (1, 0));
        assert_eq!(place(RequesterId(0xffff)), (511, 508));
    }
}
