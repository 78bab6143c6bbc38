//! Splitting a large page, so that a part of it can go.

use address::Spa;

use crate::format::{entry_shift, index};
use crate::tree::Tree;
use crate::{ENTRIES, FrameSource, TableMemory, UnmapError, spare};

impl Tree {
    /// Splits the large page `entry`, in `parent` of level `at`, until `address` is mapped by an entry of a table of `level`.
    /// Every address translates as before; the new tables become visible by one store, whole.
    #[allow(
        clippy::too_many_arguments,
        reason = "one step of unmap, with its state"
    )]
    pub(crate) fn split<M: TableMemory, P: FrameSource>(
        &mut self,
        memory: &M,
        pool: &mut P,
        parent: Spa,
        entry: u64,
        address: u64,
        at: u8,
        level: u8,
    ) -> Result<(), UnmapError> {
        let spare = spare::take(pool, at - level).ok_or(UnmapError::OutOfFrames)?;
        self.tables += spare.len() as u64;
        let mut below: Option<Spa> = None;
        for (&frame, own) in spare.iter().rev().zip(level..at) {
            self.spread(memory, frame, entry, address, at, own);
            if let Some(next) = below {
                let pointer = self.layout.table(own) | next.as_u64();
                memory.write(frame, index(address, own), pointer);
            }
            self.clean(memory, frame, 0, ENTRIES);
            below = Some(frame);
        }
        if let Some(top) = below {
            let pointer = self.layout.table(at) | top.as_u64();
            self.publish(memory, parent, index(address, at), pointer);
        }
        Ok(())
    }

    /// Fills `frame` as the table of level `own` around `address`, with the translations of the large page `entry` of level
    /// `at`.
    fn spread<M: TableMemory>(
        &self,
        memory: &M,
        frame: Spa,
        entry: u64,
        address: u64,
        at: u8,
        own: u8,
    ) {
        let large = (1u64 << entry_shift(at)) - 1;
        let table = (1u64 << entry_shift(own + 1)) - 1;
        let base = (self.layout.target(entry).as_u64() & !large) | (address & large & !table);
        // All that a larger page says besides its size, a smaller one says with the same bits.
        let smallest = entry & !(self.layout.address | self.layout.kind);
        let leaf = self.layout.leaf(smallest, own);
        for slot in 0..ENTRIES {
            let target = base + ((slot as u64) << entry_shift(own));
            memory.write(frame, slot, leaf | target);
        }
    }
}
