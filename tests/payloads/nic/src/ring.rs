//! Descriptor rings (82576EB data sheet, sections 7.1.5 and 7.2.2; 82574 data sheet, sections 7.1.4 and 7.2.10).

use runtime::memory::Outside;
use runtime::mmio::Mmio;
use runtime::pool::Frames;

use crate::{FRAME, Model};

/// Descriptors of a ring: 16 bytes each; a multiple of 8.
const COUNT: u32 = 128;
const DESCRIPTOR: u64 = 16;
const BUFFER: u64 = 2048;
/// One page of descriptors and the buffers after it.
const PAGES: u64 = 1 + COUNT as u64 * BUFFER / 4096;
const BUFFERS: u64 = 4096;

const BASE_LOW: u64 = 0x00;
const BASE_HIGH: u64 = 0x04;
const LENGTH: u64 = 0x08;
/// Only the 82576: split and replication receive control.
const SPLIT: u64 = 0x0c;
const HEAD: u64 = 0x10;
const TAIL: u64 = 0x18;
const CONTROL: u64 = 0x28;

/// Control: the queue is on. The 82574 has it on always, and the bit means something else there.
const QUEUE_ON: u32 = 1 << 25;
/// 82574 transmit control: thresholds count descriptors; the other bit is required to be one.
const COUNT_DESCRIPTORS: u32 = 1 << 24 | 1 << 22;
/// One buffer a descriptor in the advanced form, buffers of 2 KiB.
const ADVANCED: u32 = 1 << 25 | 2;

const DONE: u32 = 1;

/// Where a ring lies, and its registers.
struct Ring {
    frames: Frames,
    registers: u64,
    advanced: bool,
    next: u32,
    count: u64,
}

impl Ring {
    fn new(model: Model, at: u64, registers: &Mmio) -> Option<Self> {
        let frames = Frames::allocate(PAGES, 4096)?;
        registers.write32(at + CONTROL, 0);
        registers.write32(at + BASE_LOW, frames.address() as u32);
        registers.write32(at + BASE_HIGH, (frames.address() >> 32) as u32);
        registers.write32(at + LENGTH, COUNT * DESCRIPTOR as u32);
        registers.write32(at + HEAD, 0);
        registers.write32(at + TAIL, 0);
        Some(Self {
            frames,
            registers: at,
            advanced: model.is_advanced(),
            next: 0,
            count: 0,
        })
    }

    /// Turns the queue on; bounded, as the 82576 takes a moment.
    fn enable(&self, registers: &Mmio, bits: u32) {
        let at = self.registers + CONTROL;
        registers.write32(at, bits);
        if self.advanced {
            let _ = crate::wait(|| registers.read32(at) & QUEUE_ON != 0);
        }
    }

    const fn descriptor(index: u32) -> u64 {
        index as u64 * DESCRIPTOR
    }

    const fn buffer(index: u32) -> u64 {
        BUFFERS + index as u64 * BUFFER
    }

    fn buffer_address(&self, index: u32) -> u64 {
        self.frames.address() + Self::buffer(index)
    }

    fn advance(&mut self) {
        self.next = (self.next + 1) % COUNT;
        self.count += 1;
    }
}

/// The receive ring: every descriptor but one belongs to the adapter.
pub struct Receive(Ring);

impl Receive {
    pub fn new(model: Model, registers: &Mmio) -> Option<Self> {
        let ring = Ring::new(model, model.queues().0, registers)?;
        let this = Self(ring);
        for index in 0..COUNT {
            this.give(index).ok()?;
        }
        let at = this.0.registers;
        if this.0.advanced {
            registers.write32(at + SPLIT, ADVANCED);
            this.0.enable(registers, QUEUE_ON);
        }
        Some(this)
    }

    /// Hands the descriptors over, once reception is on.
    pub fn start(&self, registers: &Mmio) {
        registers.write32(self.0.registers + TAIL, COUNT - 1);
    }

    fn give(&self, index: u32) -> Result<(), Outside> {
        let at = Ring::descriptor(index);
        self.0.frames.write_u64(at + 8, 0)?;
        self.0.frames.write_u64(at, self.0.buffer_address(index))
    }

    /// Status word and length of the next descriptor, when it is done.
    fn done(&self) -> Option<u64> {
        let at = Ring::descriptor(self.0.next);
        let word = self.0.frames.read_u64(at + 8).ok()?;
        if self.0.advanced {
            (word as u32 & DONE != 0).then_some(word >> 32 & 0xffff)
        } else {
            ((word >> 32) as u32 & DONE != 0).then_some(word & 0xffff)
        }
    }

    pub fn has_frame(&self) -> bool {
        self.done().is_some()
    }

    pub fn take(&mut self, registers: &Mmio, frame: &mut [u8; 2048]) -> Option<usize> {
        let length = usize::try_from(self.done()?).ok()?.min(frame.len());
        let index = self.0.next;
        let copied = self
            .0
            .frames
            .read(Ring::buffer(index), frame.get_mut(..length)?);
        self.give(index).ok()?;
        self.0.advance();
        registers.write32(self.0.registers + TAIL, index);
        copied.ok().map(|()| length)
    }

    pub const fn count(&self) -> u64 {
        self.0.count
    }

    pub const fn buffers(&self) -> u64 {
        self.0.frames.address() + BUFFERS
    }
}

/// The transmit ring: descriptors before `clean` up to `next` are with the adapter.
pub struct Transmit(Ring);

impl Transmit {
    pub fn new(model: Model, registers: &Mmio) -> Option<Self> {
        let ring = Ring::new(model, model.queues().1, registers)?;
        let bits = if ring.advanced {
            QUEUE_ON
        } else {
            COUNT_DESCRIPTORS
        };
        ring.enable(registers, bits);
        // So that every descriptor looks done before its first use.
        for index in 0..COUNT {
            ring.frames
                .write_u32(Ring::descriptor(index) + 12, DONE)
                .ok()?;
        }
        Some(Self(ring))
    }

    pub fn has_room(&self) -> bool {
        // The one after must be done too: a full ring looks like an empty one.
        [self.0.next, (self.0.next + 1) % COUNT]
            .into_iter()
            .all(|index| {
                let status = self.0.frames.read_u32(Ring::descriptor(index) + 12);
                status.is_ok_and(|status| status & DONE != 0)
            })
    }

    pub fn put(&mut self, registers: &Mmio, frame: &[u8]) -> bool {
        if frame.is_empty() || frame.len() > FRAME || !self.has_room() {
            return false;
        }
        if self.describe(frame).is_err() {
            return false;
        }
        self.0.advance();
        registers.write32(self.0.registers + TAIL, self.0.next);
        true
    }

    fn describe(&self, frame: &[u8]) -> Result<(), Outside> {
        let (index, length) = (self.0.next, frame.len() as u32);
        let at = Ring::descriptor(index);
        let frames = &self.0.frames;
        frames.write(Ring::buffer(index), frame)?;
        frames.write_u64(at, self.0.buffer_address(index))?;
        if self.0.advanced {
            // End of packet, checksum inserted, status reported, advanced form, data.
            let command = 1 << 24 | 1 << 25 | 1 << 27 | 1 << 29 | 3 << 20;
            frames.write_u32(at + 12, length << 14)?;
            frames.write_u32(at + 8, length | command)
        } else {
            // End of packet, checksum inserted, status reported.
            frames.write_u32(at + 12, 0)?;
            frames.write_u32(at + 8, length | (1 << 0 | 1 << 1 | 1 << 3) << 24)
        }
    }

    pub const fn count(&self) -> u64 {
        self.0.count
    }
}
