//! Invalidation Descriptors, 128 bits. Intel Virtualization Technology for Directed I/O, "Invalidation Descriptors". The
//! constructors are the legal forms.

use address::{PAGE_SHIFT, RequesterId, Spa};
use bitfield_struct::bitfield;

use crate::DomainName;

/// A descriptor: lower and upper half.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Descriptor {
    pub low: u64,
    pub high: u64,
}

/// Lower half of the context-cache form.
#[bitfield(u64)]
struct ContextCache {
    #[bits(4, default = 1)]
    kind: u8,
    #[bits(2)]
    granularity: u8,
    #[bits(10)]
    __: u16,
    domain: u16,
    source: u16,
    /// Which function bits do not count: 0, all count.
    #[bits(2)]
    function_mask: u8,
    #[bits(14)]
    __: u16,
}

/// Lower half of the IOTLB form.
#[bitfield(u64)]
struct Iotlb {
    #[bits(4, default = 2)]
    kind: u8,
    #[bits(2)]
    granularity: u8,
    drain_writes: bool,
    drain_reads: bool,
    __: u8,
    domain: u16,
    __: u32,
}

/// Upper half of the IOTLB form.
#[bitfield(u64)]
struct IotlbAddress {
    #[bits(6)]
    mask: u8,
    /// Cached pointers to tables may stay.
    leaves_only: bool,
    #[bits(5)]
    __: u8,
    #[bits(52)]
    page: u64,
}

/// Lower half of the interrupt-entry-cache form.
#[bitfield(u64)]
struct InterruptCache {
    #[bits(4, default = 4)]
    kind: u8,
    /// One index, not all.
    selective: bool,
    #[bits(22)]
    __: u32,
    /// How many low bits of the index do not count.
    #[bits(5)]
    mask: u8,
    index: u16,
    __: u16,
}

/// Lower half of the wait form.
#[bitfield(u64)]
struct Wait {
    #[bits(4, default = 5)]
    kind: u8,
    interrupt: bool,
    /// Write the status when all before is done.
    write_status: bool,
    #[bits(26)]
    __: u32,
    status: u32,
}

const GLOBAL: u8 = 1;
const DOMAIN: u8 = 2;
const SELECTIVE: u8 = 3;

/// Whether requests under way are waited for, as far as the unit can.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Drain {
    pub reads: bool,
    pub writes: bool,
}

impl Descriptor {
    const fn low(low: u64) -> Self {
        Self { low, high: 0 }
    }

    /// Forget every context entry.
    pub(crate) const fn all_contexts() -> Self {
        Self::low(ContextCache::new().with_granularity(GLOBAL).into_bits())
    }

    /// Forget one requester's context entry, cached under this domain.
    pub(crate) const fn context(domain: u16, requester: RequesterId) -> Self {
        Self::low(
            ContextCache::new()
                .with_granularity(SELECTIVE)
                .with_domain(domain)
                .with_source(requester.0)
                .into_bits(),
        )
    }

    const fn iotlb(granularity: u8, domain: u16, drain: Drain) -> u64 {
        Iotlb::new()
            .with_granularity(granularity)
            .with_drain_reads(drain.reads)
            .with_drain_writes(drain.writes)
            .with_domain(domain)
            .into_bits()
    }

    /// Forget every translation.
    pub(crate) const fn all_translations(drain: Drain) -> Self {
        Self::low(Self::iotlb(GLOBAL, 0, drain))
    }

    /// Forget every translation of a domain.
    pub(crate) const fn domain(name: DomainName, drain: Drain) -> Self {
        Self::low(Self::iotlb(DOMAIN, name.0, drain))
    }

    /// Forget the translations of the 2^`mask` pages from `page`, which is aligned to that.
    pub(crate) const fn pages(
        name: DomainName,
        page: u64,
        mask: u8,
        leaves_only: bool,
        drain: Drain,
    ) -> Self {
        let high = IotlbAddress::new()
            .with_mask(mask & 0x3f)
            .with_leaves_only(leaves_only)
            .with_page(page & (u64::MAX >> PAGE_SHIFT));
        Self {
            low: Self::iotlb(SELECTIVE, name.0, drain),
            high: high.into_bits(),
        }
    }

    /// Forget every interrupt entry.
    pub(crate) const fn all_interrupts() -> Self {
        Self::low(InterruptCache::new().into_bits())
    }

    /// Forget one interrupt entry.
    pub(crate) const fn interrupt(index: u16) -> Self {
        let low = InterruptCache::new().with_selective(true).with_index(index);
        Self::low(low.into_bits())
    }

    /// When all before is done, write `status` to the 32-bit word at `word`.
    pub(crate) const fn wait(word: Spa, status: u32) -> Self {
        let low = Wait::new().with_write_status(true).with_status(status);
        Self {
            low: low.into_bits(),
            high: word.as_u64() & !3,
        }
    }
}

const _: () = assert!(size_of::<Descriptor>() == 16);

#[cfg(test)]
mod tests {
    use super::*;

    const DRAIN: Drain = Drain {
        reads: true,
        writes: true,
    };
    const NONE: Drain = Drain {
        reads: false,
        writes: false,
    };

    #[test]
    fn raw_values_of_the_context_forms() {
        assert_eq!(Descriptor::all_contexts().low, 0x11);
        let one = Descriptor::context(0x1234, RequesterId(0x0318));
        assert_eq!((one.low, one.high), (0x0000_0318_1234_0031, 0));
    }

    #[test]
    fn raw_values_of_the_translation_forms() {
        assert_eq!(Descriptor::all_translations(DRAIN).low, 0xd2);
        assert_eq!(Descriptor::all_translations(NONE).low, 0x12);
        assert_eq!(Descriptor::domain(DomainName(7), DRAIN).low, 0x0007_00e2);
        let pages = Descriptor::pages(DomainName(7), 0x1_2340, 4, true, DRAIN);
        assert_eq!((pages.low, pages.high), (0x0007_00f2, 0x1234_0044));
        let tables = Descriptor::pages(DomainName(7), 0x1_2340, 4, false, NONE);
        assert_eq!((tables.low, tables.high), (0x0007_0032, 0x1234_0004));
    }

    #[test]
    fn raw_values_of_the_interrupt_forms() {
        assert_eq!(Descriptor::all_interrupts().low, 0x4);
        assert_eq!(Descriptor::interrupt(0xabcd).low, 0x0000_abcd_0000_0014);
    }

    #[test]
    fn raw_values_of_the_wait_form() {
        let wait = Descriptor::wait(Spa::new(0x1000_0040), 0x5566_7788);
        assert_eq!(wait.low, 0x5566_7788_0000_0025);
        assert_eq!(wait.high, 0x1000_0040);
    }
}
