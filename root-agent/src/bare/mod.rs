//! The machine behind the agent: the guest runtime.

pub mod events;
pub mod serial;

use abi::message::{Message, SINT_INTERCEPT};
use abi::{CallInput, CallResult};
use alloc::vec::Vec;
use root_agent::facts::Span;
use root_agent::machine::Machine;
use runtime::mmio::Mmio;
use runtime::pool::{self, Frames};
use runtime::{cpu, hypercall, memory, port, synic};
use spin::Mutex;

const PAGE: u64 = memory::PAGE;

/// The machine.
#[derive(Default)]
pub struct Bare {
    /// RAM that children have, each piece with its owner's handle.
    taken: Mutex<Vec<Frames>>,
}

impl Bare {
    /// Calls `use_it` with the piece that holds `length` bytes at an address, and the offset in it.
    fn with_piece(&self, address: u64, length: usize, use_it: impl FnOnce(&Frames, u64)) {
        let taken = self.taken.lock();
        let holds = |frames: &&Frames| {
            let span = Span {
                start: frames.address(),
                length: frames.bytes(),
            };
            span.contains(address, length as u64)
        };
        if let Some(frames) = taken.iter().find(holds) {
            use_it(frames, address - frames.address());
        }
    }
}

impl Machine for Bare {
    fn hypercall(&self, control: CallInput, input: &[&[u8]], output: &mut [u8]) -> CallResult {
        hypercall::raw(control, input, output)
    }

    fn take_memory(&self, length: u64, align: u64) -> Option<Span> {
        let frames = Frames::allocate(length / PAGE, align)?;
        let span = Span {
            start: frames.address(),
            length: frames.bytes(),
        };
        self.taken.lock().push(frames);
        Some(span)
    }

    fn give_memory(&self, span: Span) {
        // Dropping the handle gives the frames back to the pool.
        self.taken
            .lock()
            .retain(|frames| frames.address() != span.start || frames.bytes() != span.length);
    }

    fn lend_page(&self) -> Option<u64> {
        Frames::allocate(1, PAGE).map(Frames::lend)
    }

    fn reclaim_page(&self, page: u64) {
        drop(pool::reclaim(page, 1));
    }

    fn free_memory(&self) -> u64 {
        pool::free_bytes()
    }

    fn read_memory(&self, address: u64, to: &mut [u8]) {
        self.with_piece(address, to.len(), |frames, offset| {
            let _ = frames.read(offset, to);
        });
    }

    fn write_memory(&self, address: u64, from: &[u8]) {
        self.with_piece(address, from.len(), |frames, offset| {
            let _ = frames.write(offset, from);
        });
    }

    fn module(&self, name: &str) -> Option<&[u8]> {
        let module = memory::modules().iter().find(|module| module.name == name);
        module.map(|module| module.bytes)
    }

    fn read_register(&self, address: u64, size: u8) -> u64 {
        let Some(register) = Mmio::map(address, u64::from(size)) else {
            return u64::MAX;
        };
        match size {
            1 => u64::from(register.read8(0)),
            2 => u64::from(register.read16(0)),
            4 => u64::from(register.read32(0)),
            8 => register.read64(0),
            _ => u64::MAX,
        }
    }

    fn write_register(&self, address: u64, size: u8, value: u64) {
        let Some(register) = Mmio::map(address, u64::from(size)) else {
            return;
        };
        match size {
            1 => register.write8(0, value as u8),
            2 => register.write16(0, value as u16),
            4 => register.write32(0, value as u32),
            8 => register.write64(0, value),
            _ => {}
        }
    }

    fn read_port(&self, port: u16) -> u8 {
        port::read8(port)
    }

    fn write_port(&self, port: u16, value: u8) {
        port::write8(port, value);
    }

    fn ticks(&self) -> u64 {
        cpu::tsc()
    }

    fn take_message(&self) -> Option<Message> {
        synic::take(SINT_INTERCEPT)
    }

    fn idle(&self) {
        events::idle();
    }
}
