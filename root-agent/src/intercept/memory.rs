//! Accesses to memory that is not mapped: emulated devices, or nothing.

use abi::message::{MemoryIntercept, access};
use abi::register;
use alloc::vec::Vec;
use zerocopy::FromBytes;

use super::instruction::{Access, Decoded, decode, sign_extend};
use super::{Answer, code_bits, fault, next_rip};
use crate::agent::Agent;
use crate::calls::vp::{self, word};
use crate::machine::Machine;
use crate::partition::Partition;
use crate::partition::hardware::ChildDevices;

pub fn answer<M: Machine>(agent: &Agent<M>, partition: &Partition, payload: &[u8]) -> Answer {
    let Ok((message, _)) = MemoryIntercept::read_from_prefix(payload) else {
        return fault(payload, "a message that is cut off");
    };
    let what = alloc::format!("access to {:#x}", message.gpa);
    if message.header.access == access::EXECUTE {
        return fault(payload, &alloc::format!("execution at {:#x}", message.gpa));
    }
    let length = usize::from(message.instruction_bytes).min(15);
    let bytes = message.instruction.get(..length).unwrap_or(&[]);
    let Some(decoded) = decode(bytes, code_bits(&message.header)) else {
        let sentence =
            alloc::format!("{what} by an instruction that is not emulated: {bytes:02x?}");
        return fault(payload, &sentence);
    };
    match perform(agent, partition, &message, &decoded) {
        Some(mut registers) => {
            registers.push(next_rip(&message.header, decoded.length));
            Answer::Resume(registers)
        }
        None => fault(payload, &what),
    }
}

/// Does what the instruction says; registers that change, `None` where they cannot be read.
fn perform<M: Machine>(
    agent: &Agent<M>,
    partition: &Partition,
    message: &MemoryIntercept,
    decoded: &Decoded,
) -> Option<Vec<vp::Register>> {
    let mut devices = ChildDevices {
        agent,
        partition: partition.id,
    };
    let read = |name: u32| {
        let values = vp::read(&agent.machine, partition.id, message.header.vp, &[name]);
        values.ok()?.first().copied()
    };
    let (at, size) = (message.gpa, decoded.size);
    match decoded.access {
        Access::Load { to, signed } => {
            // Only a part of a register needs what the rest holds.
            let before = if to.size < 4 { read(to.name)? } else { 0 };
            let mut board = partition.board.lock();
            let value = board.read_memory(at, size, &mut devices);
            let value = truncate(value, size);
            let value = if signed {
                sign_extend(value, size)
            } else {
                value
            };
            Some(alloc::vec![word(to.name, to.insert(before, value))])
        }
        Access::Store(from) => {
            let value = from.extract(read(from.name)?);
            let mut board = partition.board.lock();
            board.write_memory(at, size, value, &mut devices);
            Some(Vec::new())
        }
        Access::StoreValue(value) => {
            let mut board = partition.board.lock();
            board.write_memory(at, size, truncate(value, size), &mut devices);
            Some(Vec::new())
        }
    }
}

fn truncate(value: u64, size: u8) -> u64 {
    value & (u64::MAX >> (64 - 8 * u32::from(size.clamp(1, 8))))
}

const _: () = assert!(register::RAX + 15 == register::R15);
