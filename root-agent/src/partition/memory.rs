//! A child's RAM: pieces of the root's.

use abi::memory::{MAP_MAX, map_flags};
use alloc::vec::Vec;

use super::deposit;
use crate::calls::{self, Progress};
use crate::facts::Span;
use crate::machine::Machine;
use abi::Status;

const PAGE: u64 = 4096;
/// Bytes of a large page.
pub const LARGE: u64 = 2 << 20;

/// RAM from guest-physical address 0 on, in pieces of large pages.
#[derive(Debug, Default)]
pub struct Memory {
    pieces: Vec<Span>,
}

impl Memory {
    /// Takes cleared RAM, a multiple of 2 MiB. All or nothing.
    pub fn take<M: Machine>(machine: &M, size: u64) -> Option<Self> {
        let mut memory = Self::default();
        let mut piece = size;
        while memory.size() < size {
            piece = piece.min(size - memory.size());
            match machine.take_memory(piece, LARGE) {
                Some(span) => memory.pieces.push(span),
                None if piece > LARGE => piece = (piece / 2).next_multiple_of(LARGE),
                None => {
                    memory.give(machine);
                    return None;
                }
            }
        }
        Some(memory)
    }

    /// Gives the RAM back. Nobody may reach it any more.
    pub fn give<M: Machine>(&self, machine: &M) {
        self.pieces
            .iter()
            .for_each(|span| machine.give_memory(*span));
    }

    /// Bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.pieces.iter().map(|span| span.length).sum()
    }

    /// The root's pieces, in the order of the guest's addresses.
    #[must_use]
    pub fn pieces(&self) -> &[Span] {
        &self.pieces
    }

    /// Maps all of it into a partition, in large pages.
    pub fn map<M: Machine>(&self, machine: &M, partition: u64) -> Result<(), Status> {
        let flags = map_flags::READ
            | map_flags::WRITE
            | map_flags::KERNEL_EXECUTE
            | map_flags::USER_EXECUTE
            | map_flags::LARGE_PAGE;
        let large = |span: &Span| {
            let pages = span.start / PAGE..span.end() / PAGE;
            pages.step_by((LARGE / PAGE) as usize)
        };
        let pages: Vec<u64> = self.pieces.iter().flat_map(large).collect();
        let mut gpfn = 0;
        for chunk in pages.chunks(MAP_MAX) {
            map_chunk(machine, partition, gpfn, chunk, flags)?;
            gpfn += chunk.len() as u64 * (LARGE / PAGE);
        }
        Ok(())
    }

    /// Copies bytes into the guest; false where they do not fit its RAM.
    #[must_use]
    pub fn write<M: Machine>(&self, machine: &M, guest: u64, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        self.parts(guest, bytes.len() as u64, |address, length| {
            let (now, later) = rest.split_at((length as usize).min(rest.len()));
            machine.write_memory(address, now);
            rest = later;
        })
    }

    /// Copies bytes out of the guest; false where they are not all RAM.
    #[must_use]
    pub fn read<M: Machine>(&self, machine: &M, guest: u64, bytes: &mut [u8]) -> bool {
        let length = bytes.len() as u64;
        let mut done = 0usize;
        self.parts(guest, length, |address, length| {
            let end = done + length as usize;
            if let Some(place) = bytes.get_mut(done..end) {
                machine.read_memory(address, place);
            }
            done = end;
        })
    }

    /// Calls `each` with the root's addresses of a guest range, piece by piece; false, without a call, where the
    /// range is not all RAM.
    fn parts(&self, guest: u64, length: u64, mut each: impl FnMut(u64, u64)) -> bool {
        let all = Span {
            start: 0,
            length: self.size(),
        };
        if !all.contains(guest, length) {
            return false;
        }
        let (mut base, mut at, end) = (0, guest, guest + length);
        for piece in &self.pieces {
            let piece_end = base + piece.length;
            if at < end && at < piece_end {
                let part = piece_end.min(end) - at;
                each(piece.start + (at - base), part);
                at += part;
            }
            base = piece_end;
        }
        true
    }
}

/// Maps pages, depositing what the hypervisor needs for its tables.
pub fn map_chunk<M: Machine>(
    machine: &M,
    partition: u64,
    gpfn: u64,
    pages: &[u64],
    flags: u32,
) -> Result<(), Status> {
    let mut progress = Progress::new(pages.len());
    deposit::while_needed(machine, partition, || {
        calls::memory::map(machine, partition, gpfn, pages, flags, &mut progress)
    })
}
