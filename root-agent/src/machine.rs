//! The seam between the agent's logic and what it runs on: the guest runtime on the machine, a recording stand-in
//! in the host tests.

use abi::message::Message;
use abi::{CallInput, CallResult};

/// What the agent can do to the world.
pub trait Machine: Sync {
    /// Makes a hypercall. The parameters are copied in and the results copied out; both fit one page.
    fn hypercall(&self, control: CallInput, input: &[u8], output: &mut [u8]) -> CallResult;

    /// Copies RAM of the root partition.
    fn read_memory(&self, address: u64, to: &mut [u8]);

    /// Overwrites RAM of the root partition that the agent has taken from its free memory.
    fn write_memory(&self, address: u64, from: &[u8]);

    /// Clears RAM of the root partition that the agent has taken from its free memory.
    fn clear_memory(&self, address: u64, length: u64);

    /// A boot module, which nobody writes.
    fn module(&self, address: u64, length: u64) -> &[u8];

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
