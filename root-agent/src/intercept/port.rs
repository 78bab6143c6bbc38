//! IN, OUT and their string forms.

use abi::message::{PortIntercept, access};
use abi::register;
use abi::vp::Segment;
use alloc::vec::Vec;
use zerocopy::FromBytes;

use super::{Answer, code_bits, fault, next_rip};
use crate::agent::Agent;
use crate::calls::vp::{self, word};
use crate::emulation::board::Effect;
use crate::machine::Machine;
use crate::partition::hardware::ChildDevices;
use crate::partition::{Life, Partition};
use crate::protocol::event::{Event, Stop, StopReason};

const STRING: u8 = 1 << 3;
const REPEATED: u8 = 1 << 4;
/// Elements of a string that one message moves; the instruction is repeated for the rest.
const ELEMENTS_MAX: u64 = 512;
const DIRECTION: u64 = 1 << 10;

pub fn answer<M: Machine>(agent: &Agent<M>, partition: &Partition, payload: &[u8]) -> Answer {
    let Ok((message, _)) = PortIntercept::read_from_prefix(payload) else {
        return fault(payload, "a message that is cut off");
    };
    let size = message.access_info & 7;
    if !matches!(size, 1 | 2 | 4) {
        return fault(payload, "a port access of an unknown size");
    }
    let length = message.header.length_cr8 & 0xf;
    let access = PortAccess {
        agent,
        partition,
        message: &message,
        size,
    };
    let done = if message.access_info & STRING != 0 {
        access.string()
    } else {
        access.single()
    };
    match done {
        Some(Done::Registers { changed, finished }) => {
            let mut registers = changed;
            if finished {
                registers.push(next_rip(&message.header, length));
            }
            Answer::Resume(registers)
        }
        Some(Done::Exit(value)) => Answer::End(Stop {
            reason: StopReason::Exit,
            code: value.wrapping_mul(2).wrapping_add(1),
            detail: alloc::format!("value {value}"),
        }),
        None => fault(payload, "string input or output outside memory"),
    }
}

enum Done {
    Registers {
        changed: Vec<vp::Register>,
        finished: bool,
    },
    Exit(u8),
}

struct PortAccess<'a, M> {
    agent: &'a Agent<M>,
    partition: &'a Partition,
    message: &'a PortIntercept,
    size: u8,
}

impl<M: Machine> PortAccess<'_, M> {
    fn is_write(&self) -> bool {
        self.message.header.access == access::WRITE
    }

    fn mask(&self) -> u64 {
        u64::MAX >> (64 - 8 * u32::from(self.size))
    }

    fn output(&self, value: u32) -> Option<u8> {
        let mut devices = ChildDevices {
            agent: self.agent,
            partition: self.partition.id,
        };
        let value = value & self.mask() as u32;
        let mut board = self.partition.board.lock();
        let effect = board.write_port(self.message.port, self.size, value, &mut devices);
        drop(board);
        match effect {
            Effect::Exit(value) => return Some(value),
            Effect::Line(line) => self.agent.tell(Event::Console {
                partition: self.partition.name.clone(),
                line,
            }),
            Effect::None => {}
        }
        None
    }

    fn input(&self) -> u32 {
        let mut board = self.partition.board.lock();
        board.read_port(self.message.port, self.size) & self.mask() as u32
    }

    fn single(&self) -> Option<Done> {
        let rax = self.message.rax;
        let mut changed = Vec::new();
        if self.is_write() {
            if let Some(value) = self.output(rax as u32) {
                return Some(Done::Exit(value));
            }
        } else {
            let kept = if self.size == 4 {
                0
            } else {
                rax & !self.mask()
            };
            changed.push(word(register::RAX, kept | u64::from(self.input())));
        }
        Some(Done::Registers {
            changed,
            finished: true,
        })
    }

    fn string(&self) -> Option<Done> {
        let message = self.message;
        let repeated = message.access_info & REPEATED != 0;
        let bits = code_bits(&message.header);
        let width = u64::MAX >> (64 - bits);
        let count = if repeated { message.rcx & width } else { 1 };
        let now = count.min(ELEMENTS_MAX);
        let step = if message.header.rflags & DIRECTION != 0 {
            u64::from(self.size).wrapping_neg()
        } else {
            u64::from(self.size)
        };
        let (name, mut index, segment) = if self.is_write() {
            (register::RSI, message.rsi, message.ds)
        } else {
            (register::RDI, message.rdi, message.es)
        };
        for _ in 0..now {
            if let Some(value) = self.element(linear(&segment, index & width, bits))? {
                return Some(Done::Exit(value));
            }
            index = merge(index, index.wrapping_add(step), width);
        }
        let mut changed = alloc::vec![word(name, index)];
        if repeated {
            let left = merge(message.rcx, count - now, width);
            changed.push(word(register::RCX, left));
        }
        Some(Done::Registers {
            changed,
            finished: now == count,
        })
    }

    /// Moves one element; `Some(Some(_))` where the guest ended itself with it.
    fn element(&self, linear: u64) -> Option<Option<u8>> {
        let mut bytes = [0; 4];
        let size = usize::from(self.size);
        let machine = &self.agent.machine;
        if self.is_write() {
            for (at, byte) in (0..).zip(bytes.iter_mut().take(size)) {
                let guest = self.guest_address(linear.wrapping_add(at))?;
                let place = core::slice::from_mut(byte);
                if !self.partition.memory.read(machine, guest, place) {
                    return None;
                }
            }
            return Some(self.output(u32::from_le_bytes(bytes)));
        }
        let value = self.input().to_le_bytes();
        // A partition that is being deleted may have given its memory back: not under its board's lock.
        let board = self.partition.board.lock();
        if *self.partition.life.lock() == Life::Deleted {
            return None;
        }
        for (at, byte) in (0..).zip(value.iter().take(size)) {
            let guest = self.guest_address(linear.wrapping_add(at))?;
            if !self
                .partition
                .memory
                .write(machine, guest, core::slice::from_ref(byte))
            {
                return None;
            }
        }
        drop(board);
        Some(None)
    }

    fn guest_address(&self, linear: u64) -> Option<u64> {
        let vp = self.message.header.vp;
        let id = self.partition.id;
        let write = !self.is_write();
        let page = vp::translate(&self.agent.machine, id, vp, linear >> 12, write)?;
        Some(page << 12 | linear & 0xfff)
    }
}

fn linear(segment: &Segment, offset: u64, bits: u32) -> u64 {
    match bits {
        // DS and ES have no base in 64-bit mode.
        64 => offset,
        _ => segment.base.wrapping_add(offset) & 0xffff_ffff,
    }
}

/// A register of which only the low bits count. In 64-bit and 32-bit mode all of it is written.
fn merge(old: u64, new: u64, width: u64) -> u64 {
    if width == 0xffff {
        old & !width | new & width
    } else {
        new & width
    }
}
