//! Intercept messages: what a child did that the hypervisor leaves to the root, and the answer.

pub mod instruction;
mod memory;
mod port;

use abi::message::{InterceptHeader, Message, StateIntercept, kind};
use abi::register;
use abi::vendor::{Fault, fault_kind};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use zerocopy::FromBytes;

use crate::agent::Agent;
use crate::calls::vp::{self, Register, word};
use crate::machine::Machine;
use crate::partition::{Partition, run};
use crate::protocol::event::{Stop, StopReason};

/// What becomes of the VP.
enum Answer {
    /// It goes on with these registers.
    Resume(Vec<Register>),
    /// Its partition is over.
    End(Stop),
}

/// Answers a message.
pub fn handle<M: Machine>(agent: &Agent<M>, message: &Message) {
    if message.message_type == kind::DEVICE_FAULT {
        if let Ok((fault, _)) = Fault::read_from_prefix(&message.payload) {
            let failed = fault.kind == fault_kind::UNIT_FAILED;
            let partition = agent.partition_by_id(fault.partition).filter(|_| failed);
            agent.note_fault(fault);
            if let Some(partition) = partition {
                run::end(agent, &partition, unit_failed());
            }
        }
        return;
    }
    let Some(partition) = agent.partition_by_id(message.sender) else {
        return;
    };
    let Ok((header, _)) = InterceptHeader::read_from_prefix(&message.payload) else {
        return;
    };
    let answer = match message.message_type {
        kind::IO_PORT_INTERCEPT => port::answer(agent, &partition, &message.payload),
        kind::UNMAPPED_GPA | kind::GPA_INTERCEPT => {
            memory::answer(agent, &partition, &message.payload)
        }
        kind::MSR_INTERCEPT => general_protection(),
        kind::HALT_INTERCEPT => Answer::End(Stop {
            reason: StopReason::Shutdown,
            code: 0,
            detail: String::new(),
        }),
        kind::UNRECOVERABLE_EXCEPTION => fault(&message.payload, "triple fault"),
        kind::INVALID_VP_REGISTER_VALUE => fault(&message.payload, "impossible processor state"),
        _ => fault(&message.payload, "an intercept that is not known here"),
    };
    match answer {
        Answer::Resume(registers) => resume(agent, &partition, header.vp, registers),
        Answer::End(stop) => run::end(agent, &partition, stop),
    }
}

fn unit_failed() -> Stop {
    Stop {
        reason: StopReason::Fault,
        code: 2,
        detail: String::from("the remapping unit in front of its devices failed"),
    }
}

fn resume<M: Machine>(agent: &Agent<M>, partition: &Partition, vp: u32, registers: Vec<Register>) {
    if let Err(status) = vp::resume(&agent.machine, partition.id, vp, registers) {
        // A partition that is being deleted may be gone already; then nobody hears this.
        let stop = Stop {
            reason: StopReason::Fault,
            code: 2,
            detail: format!("VP {vp} could not go on: {}", status.name()),
        };
        run::end(agent, partition, stop);
    }
}

/// #GP with error code 0, as for an MSR that does not exist.
fn general_protection() -> Answer {
    let exception = 1 | 3 << 1 | 1 << 4 | 13 << 16;
    Answer::Resume(alloc::vec![word(register::PENDING_INTERRUPTION, exception)])
}

fn fault(payload: &[u8], what: &str) -> Answer {
    let state = StateIntercept::read_from_prefix(payload);
    let (vp, rip) = state.map_or((0, 0), |(s, _)| (s.header.vp, s.header.rip));
    Answer::End(Stop {
        reason: StopReason::Fault,
        code: 2,
        detail: format!("VP {vp} at {rip:#x}: {what}"),
    })
}

/// Bits of addresses and operands in the VP's code segment.
fn code_bits(header: &InterceptHeader) -> u32 {
    const LONG_MODE_ACTIVE: u16 = 1 << 4;
    const LONG: u16 = 1 << 13;
    const DEFAULT: u16 = 1 << 14;
    let long = header.execution_state & LONG_MODE_ACTIVE != 0;
    match header.cs.attributes {
        attributes if long && attributes & LONG != 0 => 64,
        attributes if attributes & DEFAULT != 0 => 32,
        _ => 16,
    }
}

/// The instruction pointer behind an instruction.
fn next_rip(header: &InterceptHeader, length: u8) -> Register {
    let next = header.rip.wrapping_add(u64::from(length));
    let next = match code_bits(header) {
        64 => next,
        32 => next & 0xffff_ffff,
        _ => next & 0xffff,
    };
    word(register::RIP, next)
}
