//! The seam between the agent's logic and what it runs on: the guest runtime on the machine, a recording stand-in
//! in the host tests.

use abi::message::Message;
use abi::{CallInput, CallResult};

use crate::facts::Span;

/// What the agent can do to the world.
pub trait Machine: Sync {
    /// Makes a hypercall. The parameters, one part after the other, are copied in and the results copied out; both fit one
    /// page.
    fn hypercall(&self, control: CallInput, input: &[&[u8]], output: &mut [u8]) -> CallResult;

    /// Takes free RAM in one piece, cleared; `align` is a power of two, at least 4096.
    fn take_memory(&self, length: u64, align: u64) -> Option<Span>;

    /// Gives back what [`Machine::take_memory`] returned.
    fn give_memory(&self, span: Span);

    /// Takes one free page for the hypervisor: its page number.
    fn lend_page(&self) -> Option<u64>;

    /// Takes a page back that the hypervisor has returned.
    fn reclaim_page(&self, page: u64);

    /// Bytes of free RAM.
    fn free_memory(&self) -> u64;

    /// Copies out of RAM that was taken; what lies outside is left as it is.
    fn read_memory(&self, address: u64, to: &mut [u8]);

    /// Copies into RAM that was taken; what lies outside is dropped.
    fn write_memory(&self, address: u64, from: &[u8]);

    /// The bytes of a boot module, by file name.
    fn module(&self, name: &str) -> Option<&[u8]>;

    /// Reads a device register or configuration space; 1, 2, 4 or 8 bytes, naturally aligned.
    fn read_register(&self, address: u64, size: u8) -> u64;

    /// Writes a device register; 1, 2, 4 or 8 bytes, naturally aligned.
    fn write_register(&self, address: u64, size: u8, value: u64);

    /// Reads a byte from a port.
    fn read_port(&self, port: u16) -> u8;

    /// Writes a byte to a port.
    fn write_port(&self, port: u16, value: u8);

    /// Time-stamp counter.
    fn ticks(&self) -> u64;

    /// Takes the intercept message of the VP that runs this, if one waits, and frees its slot.
    fn take_message(&self) -> Option<Message>;

    /// Waits for an interrupt, a few milliseconds at most.
    fn idle(&self);
}
