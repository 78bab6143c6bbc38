//! The invalidation queue: making the unit forget, and knowing that it did.

use address::{PAGE_SHIFT, Spa};
use arrayvec::ArrayVec;
use paging::FlushRange;

use super::descriptor::Descriptor;
use super::fault_status::FaultStatus;
use super::{Vtd, registers};
use crate::wait::wait;
use crate::{DomainName, Error, Hardware};

/// Descriptors in the queue: one frame of them.
const SLOTS: u16 = 256;

/// The queue. It is empty whenever no verb is under way, because each verb waits for its own descriptors.
#[derive(Debug)]
pub(crate) struct Queue {
    base: Spa,
    /// Frame of the word that wait descriptors write to.
    status: Spa,
    tail: u16,
    /// What the last wait descriptor wrote.
    sequence: u32,
}

impl Default for Queue {
    fn default() -> Self {
        Self::new(Spa::new(0), Spa::new(0))
    }
}

impl Queue {
    pub(crate) const fn new(base: Spa, status: Spa) -> Self {
        Self {
            base,
            status,
            tail: 0,
            sequence: 0,
        }
    }

    /// Value of the queue address register: one frame (size 0), 128-bit descriptors.
    pub(crate) const fn address(&self) -> u64 {
        self.base.as_u64()
    }
}

impl<H: Hardware> Vtd<H> {
    pub(crate) fn flush_domain(
        &mut self,
        name: DomainName,
        range: FlushRange,
    ) -> Result<(), Error> {
        self.require_enabled()?;
        self.check_name(name)?;
        let FlushRange::Pages {
            first,
            count,
            tables,
        } = range
        else {
            return self.submit(&[Descriptor::domain(name, self.drain())]);
        };
        if count == 0 && !tables {
            return Ok(());
        }
        let blocks = cover(first, count);
        let selective = self.capability.page_selective()
            && !blocks.is_empty()
            && blocks
                .iter()
                .all(|block| block.mask <= self.capability.address_mask());
        if !selective {
            return self.submit(&[Descriptor::domain(name, self.drain())]);
        }
        // A unit that caches what is not present may have cached a missing table, too.
        let leaves_only = !tables && !self.capability.caching_mode();
        let descriptors: ArrayVec<Descriptor, 2> = blocks
            .iter()
            .map(|block| {
                Descriptor::pages(name, block.first, block.mask, leaves_only, self.drain())
            })
            .collect();
        self.submit(&descriptors)
    }

    pub(super) fn check_name(&self, name: DomainName) -> Result<(), Error> {
        if name.0 == 0 || name.0 > self.domain_names() {
            return Err(Error::DomainName);
        }
        Ok(())
    }

    /// Hands descriptors (a few) to the unit, and waits until it confirms that they are done. All stores to tables made before
    /// count before the first of them does.
    pub(super) fn submit(&mut self, descriptors: &[Descriptor]) -> Result<(), Error> {
        self.flush_write_buffers()?;
        for &descriptor in descriptors {
            self.push(descriptor);
        }
        self.queue.sequence = self.queue.sequence.wrapping_add(1);
        let (status, sequence) = (self.queue.status, self.queue.sequence);
        self.push(Descriptor::wait(status, sequence));
        let hardware = &self.hardware;
        hardware.write64(registers::QUEUE_TAIL, u64::from(self.queue.tail) << 4);
        let answer = wait(hardware, || {
            if hardware.read(status, 0) as u32 == sequence {
                return Some(true);
            }
            // All ones, of a unit that is gone, reads as broken as well.
            let faults = FaultStatus::from_bits(hardware.read32(registers::FAULT_STATUS));
            faults.queue_is_broken().then_some(false)
        });
        match answer {
            Ok(true) => Ok(()),
            _ => Err(self.fail()),
        }
    }

    fn push(&mut self, descriptor: Descriptor) {
        let word = usize::from(self.queue.tail) * 2;
        self.hardware.write(self.queue.base, word, descriptor.low);
        self.hardware
            .write(self.queue.base, word + 1, descriptor.high);
        self.clean(self.queue.base, word, 2);
        self.queue.tail = (self.queue.tail + 1) % SLOTS;
    }
}

/// 2^`mask` pages from `first`, which is aligned to that.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Block {
    first: u64,
    mask: u8,
}

impl Block {
    /// The smallest block that holds both pages.
    const fn around(first: u64, last: u64) -> Self {
        let mask = 64 - (first ^ last).leading_zeros();
        let first = match first.checked_shr(mask) {
            Some(high) => high << mask,
            None => 0,
        };
        Self {
            first,
            mask: mask as u8,
        }
    }
}

/// At most two blocks that hold all of the range, and less than twice as much; none where the range is empty or leaves the
/// address space.
fn cover(first: u64, count: u64) -> ArrayVec<Block, 2> {
    let mut blocks = ArrayVec::new();
    let end = first.checked_add(count);
    let last = match end.and_then(|end| end.checked_sub(1)) {
        Some(last) if count != 0 && last < 1 << (64 - PAGE_SHIFT) => last,
        _ => return blocks,
    };
    let one = Block::around(first, last);
    if one.mask == 0 || 1u64 << one.mask < count.saturating_mul(2) {
        blocks.push(one);
        return blocks;
    }
    // The highest boundary inside the range: both sides touch it.
    let half = one.mask - 1;
    let boundary = last >> half << half;
    blocks.push(Block::around(first, boundary - 1));
    blocks.push(Block::around(boundary, last));
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(first: u64, count: u64) {
        let blocks = cover(first, count);
        let mut total = 0;
        for block in &blocks {
            assert_eq!(block.first & ((1 << block.mask) - 1), 0, "aligned");
            total += 1u64 << block.mask;
        }
        for page in [first, first + count / 2, first + count - 1] {
            assert!(
                blocks.iter().any(|b| page >> b.mask << b.mask == b.first),
                "page {page} of {first}+{count} is covered"
            );
        }
        assert!(total < 2 * count || count == 1, "{first}+{count}: {total}");
    }

    #[test]
    fn tlb_05_blocks_cover_the_range_and_less_than_twice_as_much() {
        for first in 0..130 {
            for count in 1..140 {
                check(first, count);
                check((1 << 30) - first, count);
            }
        }
        for power in 0..40 {
            for count in [(1u64 << power) + 1, 1 << power, (1u64 << power).max(2) - 1] {
                check(0x1234_5677, count);
                check(0, count);
                check((1 << 40) - 1, count);
            }
        }
    }

    #[test]
    fn what_cannot_be_covered_is_not() {
        assert!(cover(5, 0).is_empty());
        assert!(cover(u64::MAX, 2).is_empty());
        assert!(cover((1 << 52) - 1, 2).is_empty());
        assert_eq!(cover((1 << 52) - 1, 1).len(), 1);
    }
}
