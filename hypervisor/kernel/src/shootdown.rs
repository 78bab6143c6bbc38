//! Making every processor forget a partition's old translations (invariants 2 and 11).
//!
//! Each LP publishes that it is about to enter a partition's guest and only then reads the partition's flush generation.
//! The initiator raises the generation and only then looks who is inside. So an LP that the initiator does not see inside
//! will see the new generation at its entry, and flush; one that it sees is made to leave.

use core::sync::atomic::Ordering;

use paging::{FlushRange, Flusher};

use crate::Kernel;
use crate::memory::Holder;
use crate::partition::PartitionCell;
use crate::seams::Machine;

impl<M: Machine> Kernel<M> {
    /// Makes all LPs forget what they cache of a partition's SLAT. Waits for LPs that run the partition to leave the guest;
    /// the caller holds no lock that an LP could need on its way out, which is any but its own VP's.
    pub fn flush_processors(&self, cell: &PartitionCell, holder: Holder) {
        cell.generation.fetch_add(1, Ordering::SeqCst);
        for index in 0..self.lps.len() {
            self.expel(index, holder);
        }
    }

    /// Makes one LP leave the guest of a partition, if it is there.
    fn expel(&self, index: usize, holder: Holder) {
        let lp = &self.lps[index];
        let seen = lp.in_guest.load(Ordering::SeqCst);
        if seen as u8 != holder.0 {
            return;
        }
        self.machine.kick(address::LpIndex(index as u16));
        // Bounded by the way out of the guest: a kicked LP exits, and changes the word before anything else.
        while lp.in_guest.load(Ordering::SeqCst) == seen {
            self.machine.relax();
        }
    }

    /// Called before each entry: says that this LP is inside, and whether it has to flush first.
    #[inline]
    pub(crate) fn announce_entry(
        &self,
        lp: &crate::lp::Lp,
        cell: &PartitionCell,
        holder: Holder,
    ) -> bool {
        let entries = lp.in_guest.load(Ordering::Relaxed) >> 8;
        let word = (entries + 1) << 8 | u64::from(holder.0);
        lp.in_guest.swap(word, Ordering::SeqCst);
        let generation = cell.generation.load(Ordering::SeqCst);
        let seen = &lp.flushed[usize::from(holder.0) % crate::MAX_PARTITIONS];
        if seen.load(Ordering::Relaxed) == generation {
            return false;
        }
        seen.store(generation, Ordering::Relaxed);
        true
    }

    /// Called after each exit.
    #[inline]
    pub(crate) fn announce_exit(lp: &crate::lp::Lp) {
        let word = lp.in_guest.load(Ordering::Relaxed);
        lp.in_guest.store(word & !0xff, Ordering::Release);
    }
}

/// The processors' side of a flush token.
pub struct Processors<'a, M: Machine> {
    /// The kernel.
    pub kernel: &'a Kernel<M>,
    /// The partition whose SLAT changed.
    pub cell: &'a PartitionCell,
    /// Its slot.
    pub holder: Holder,
}

impl<M: Machine> Flusher for Processors<'_, M> {
    type Error = core::convert::Infallible;

    fn flush(&mut self, _range: FlushRange) -> Result<(), Self::Error> {
        self.kernel.flush_processors(self.cell, self.holder);
        Ok(())
    }
}
