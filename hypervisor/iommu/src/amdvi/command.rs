//! Command Buffer Entries, 128 bits. AMD I/O Virtualization Technology (IOMMU) Specification, "Commands". The constructors are
//! the legal forms.

use address::{PAGE_SHIFT, RequesterId, Spa};
use bitfield_struct::bitfield;

use crate::DomainName;
use crate::cover::Block;

/// A command: lower and upper half.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Command {
    pub low: u64,
    pub high: u64,
}

/// Lower half of COMPLETION_WAIT.
#[bitfield(u64)]
struct CompletionWait {
    /// Write the data when all before is done.
    store: bool,
    interrupt: bool,
    flush_queue: bool,
    /// Where to, in units of 8 bytes.
    #[bits(49)]
    address: u64,
    __: u8,
    #[bits(4, default = 1)]
    opcode: u8,
}

/// Lower half of the commands that name a requester.
#[bitfield(u64)]
struct OfRequester {
    requester: u16,
    #[bits(44)]
    __: u64,
    #[bits(4)]
    opcode: u8,
}

/// Lower half of INVALIDATE_IOMMU_PAGES.
#[bitfield(u64)]
struct Pages {
    #[bits(32)]
    __: u32,
    domain: u16,
    #[bits(12)]
    __: u16,
    #[bits(4, default = 3)]
    opcode: u8,
}

/// Upper half of INVALIDATE_IOMMU_PAGES.
#[bitfield(u64)]
struct PagesAddress {
    /// More than one page: the lowest zero bit of the page number says how many.
    several: bool,
    /// Cached pointers to tables go as well.
    tables: bool,
    guest: bool,
    #[bits(9)]
    __: u16,
    #[bits(52)]
    page: u64,
}

const DEVICE_ENTRY: u8 = 2;
const INTERRUPT_TABLE: u8 = 5;
const ALL: u64 = 8 << 60;
/// A page number that with `several` means all pages there are.
const EVERY_PAGE: u64 = u64::MAX >> (PAGE_SHIFT + 1);

impl Command {
    const fn of(requester: RequesterId, opcode: u8) -> Self {
        let low = OfRequester::new()
            .with_requester(requester.0)
            .with_opcode(opcode);
        Self {
            low: low.into_bits(),
            high: 0,
        }
    }

    /// Forget a requester's device table entry.
    pub(crate) const fn device_entry(requester: RequesterId) -> Self {
        Self::of(requester, DEVICE_ENTRY)
    }

    /// Forget a requester's interrupt table.
    pub(crate) const fn interrupt_table(requester: RequesterId) -> Self {
        Self::of(requester, INTERRUPT_TABLE)
    }

    const fn translations(name: DomainName, high: PagesAddress) -> Self {
        Self {
            low: Pages::new().with_domain(name.0).into_bits(),
            high: high.into_bits(),
        }
    }

    /// Forget every translation of a domain.
    pub(crate) const fn domain(name: DomainName) -> Self {
        let all = PagesAddress::new()
            .with_several(true)
            .with_tables(true)
            .with_page(EVERY_PAGE);
        Self::translations(name, all)
    }

    /// Forget the translations of a block of pages, and with `tables` the pointers on the way to them.
    pub(crate) const fn pages(name: DomainName, block: Block, tables: bool) -> Self {
        // All bits below the block's size but the topmost are ones.
        let ones = match block.mask {
            0 => 0,
            mask => (1u64 << (mask - 1)) - 1,
        };
        let address = PagesAddress::new()
            .with_several(block.mask != 0)
            .with_tables(tables)
            .with_page((block.first | ones) & (u64::MAX >> PAGE_SHIFT));
        Self::translations(name, address)
    }

    /// Forget everything. Only where the unit has it.
    pub(crate) const fn all() -> Self {
        Self { low: ALL, high: 0 }
    }

    /// When all before is done, write `data` to the 64-bit word at `word`.
    pub(crate) const fn wait(word: Spa, data: u64) -> Self {
        let low = CompletionWait::new()
            .with_store(true)
            .with_address(word.as_u64() >> 3 & ((1 << 49) - 1));
        Self {
            low: low.into_bits(),
            high: data,
        }
    }
}

const _: () = assert!(size_of::<Command>() == 16);

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(first: u64, mask: u8, tables: bool) -> (u64, u64) {
        let it = Command::pages(DomainName(7), Block { first, mask }, tables);
        (it.low, it.high)
    }

    #[test]
    fn raw_values_of_the_requester_forms() {
        let device = Command::device_entry(RequesterId(0x0318));
        assert_eq!((device.low, device.high), (0x2000_0000_0000_0318, 0));
        let interrupts = Command::interrupt_table(RequesterId(0xffff));
        assert_eq!(
            (interrupts.low, interrupts.high),
            (0x5000_0000_0000_ffff, 0)
        );
    }

    #[test]
    fn raw_values_of_the_translation_forms() {
        assert_eq!(
            pages(0x1_2345, 0, false),
            (0x3000_0007_0000_0000, 0x1234_5000)
        );
        assert_eq!(
            pages(0x1_2344, 1, false),
            (0x3000_0007_0000_0000, 0x1234_4001)
        );
        assert_eq!(
            pages(0x1_2344, 2, true),
            (0x3000_0007_0000_0000, 0x1234_5003)
        );
        assert_eq!(pages(0x200, 9, false), (0x3000_0007_0000_0000, 0x2f_f001));
        let domain = Command::domain(DomainName(7));
        assert_eq!(
            (domain.low, domain.high),
            (0x3000_0007_0000_0000, 0x7fff_ffff_ffff_f003)
        );
    }

    #[test]
    fn raw_values_of_the_other_forms() {
        assert_eq!(Command::all().low, 0x8000_0000_0000_0000);
        let wait = Command::wait(Spa::new(0x1000_0040), 0x1122_3344_5566_7788);
        assert_eq!(wait.low, 0x1000_0000_1000_0041);
        assert_eq!(wait.high, 0x1122_3344_5566_7788);
    }
}
