//! Intercepts that the hypervisor does not finish: a message to the root VP of the same LP, and a VP that waits for the
//! answer.

use abi::message::{
    InterceptHeader, MemoryIntercept, Message, PortIntercept, SINT_INTERCEPT, StateIntercept,
    access, kind,
};
use abi::register;
use abi::vp::Segment;
use address::Spa;
use core::sync::atomic::Ordering;
use guest::{Access, Event, Gpr, MemoryAccess, PortAccess, Vcpu};
use zerocopy::{FromBytes, IntoBytes};

use super::inbox::Request;
use super::local_apic::Answer;
use super::run::Running;
use super::{Vp, VpSlot};
use crate::gva::MAX_INSTRUCTION;
use crate::seams::Machine;
use crate::{Kernel, notices};

/// Why a VP cannot go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stop {
    /// Triple fault.
    TripleFault,
    /// The processor refused its state.
    InvalidState,
    /// The hardware reported an error while it ran.
    MachineCheck,
    /// Halted, and no interrupt can wake it.
    Halted,
    /// An exit that nobody knows.
    Unknown,
}

impl<M: Machine> Kernel<M> {
    /// A port access of a child.
    pub(crate) fn intercept_port(&self, running: &mut Running<'_, M>, port: PortAccess) {
        let vcpu = &running.vp.vcpu;
        let (instruction, count) = vcpu.instruction_bytes();
        let mut message = PortIntercept {
            header: header(
                running.vp,
                if port.write {
                    access::WRITE
                } else {
                    access::READ
                },
            ),
            port: port.port,
            access_info: port.size | u8::from(port.string) << 3 | u8::from(port.rep) << 4,
            instruction_bytes: count,
            rax: vcpu.gpr(Gpr::Rax),
            ds: segment(vcpu, register::DS),
            es: segment(vcpu, register::ES),
            rcx: vcpu.gpr(Gpr::Rcx),
            rsi: vcpu.gpr(Gpr::Rsi),
            rdi: vcpu.gpr(Gpr::Rdi),
            ..PortIntercept::default()
        };
        copy(&mut message.instruction, &instruction);
        self.send(running, kind::IO_PORT_INTERCEPT, message.as_bytes());
    }

    /// An access to memory that the SLAT does not allow.
    pub(crate) fn memory(&self, running: &mut Running<'_, M>, access: MemoryAccess) {
        if running.vp.is_root() {
            // The root's map is what it was told; an access beside it is a mistake of the root's, and only the root's.
            running.vp.vcpu.inject(Event::GENERAL_PROTECTION);
            return;
        }
        let body = running.partition.body.lock();
        if Self::writes_hypercall_page(running, &body, access.gpa.page()) {
            return;
        }
        let Some(slat) = body.slat.live() else {
            return;
        };
        let (mut instruction, mut count) = running.vp.vcpu.instruction_bytes();
        // Hardware may have captured nothing, or only what lay before the end of a page.
        if usize::from(count) < MAX_INSTRUCTION && access.access != Access::Execute {
            (instruction, count) = self.fetch(slat, &running.vp.vcpu);
        }
        let mapped = slat
            .query(self.machine.tables(), access.gpa.as_u64())
            .is_some();
        drop(body);
        let captured = instruction.get(..usize::from(count)).unwrap_or(&[]);
        match self.registers_in_memory(running, access, captured) {
            Answer::Done => return,
            Answer::NotFetched if self.fetch_faults(running, count) => return,
            Answer::NotFetched | Answer::NotOurs => (),
        }
        let kind = if mapped {
            kind::GPA_INTERCEPT
        } else {
            kind::UNMAPPED_GPA
        };
        let mut message = MemoryIntercept {
            header: header(running.vp, access_code(access.access)),
            instruction_bytes: count,
            gpa: access.gpa.as_u64(),
            ..MemoryIntercept::default()
        };
        copy(&mut message.instruction, &instruction);
        self.send(running, kind, message.as_bytes());
    }

    /// The VP cannot go on.
    pub(crate) fn stop(&self, running: &mut Running<'_, M>, why: Stop) {
        let kind = match why {
            Stop::TripleFault | Stop::MachineCheck => kind::UNRECOVERABLE_EXCEPTION,
            Stop::Halted => kind::HALT_INTERCEPT,
            Stop::InvalidState | Stop::Unknown => kind::INVALID_VP_REGISTER_VALUE,
        };
        let message = StateIntercept {
            header: header(running.vp, access::EXECUTE),
        };
        if running.vp.is_root() {
            // Nobody is above the root to answer: it stays where it is.
            running.vp.explicit_suspend = true;
            return;
        }
        self.send(running, kind, message.as_bytes());
    }

    /// Suspends the VP and leaves its message for the root VP of this LP.
    fn send(&self, running: &mut Running<'_, M>, kind: u32, payload: &[u8]) {
        let mut message = Message {
            message_type: kind,
            payload_size: payload.len() as u8,
            sender: running.vp.partition.0,
            ..Message::default()
        };
        copy(&mut message.payload, payload);
        running.vp.message = Some(message);
        running.vp.intercept_suspend = true;
        running.cell.counters.messages.count();
        running.lp.senders.insert(running.vp.slot);
        if let Some(root) = self.root_vp(running.lp_index) {
            self.notify(root, Request::Message);
        }
    }

    /// The root VP of an LP.
    pub(crate) fn root_vp(&self, lp: address::LpIndex) -> Option<VpSlot> {
        // The root's VPs are made first, one per LP in LP order, and never removed.
        let slot = VpSlot(lp.0);
        (self.vp_cell(slot).partition() == address::PartitionId::ROOT).then_some(slot)
    }

    /// Moves the next waiting message of this LP into the root VP's slot, if that is free. Called while the root VP is on the
    /// LP: before its entry, and when it says that it has emptied the slot.
    pub(crate) fn deliver_messages(&self, running: &mut Running<'_, M>) {
        if !running.vp.is_root() || !self.message_waits(running) {
            return;
        }
        let Some((slot, vector)) = running.vp.synic.slot(SINT_INTERCEPT) else {
            return;
        };
        let mut first = [0; 8];
        self.machine.read(slot, &mut first);
        if first[..4] != [0; 4] {
            self.say_more_wait(slot);
            return;
        }
        if let Some(message) = self.next_message(running) {
            self.place(slot, &message, self.message_waits(running));
            running.vp.apic.accept(address::Vector(vector), false);
        }
    }

    /// Whether there is a message for the root VP of this LP.
    fn message_waits(&self, running: &Running<'_, M>) -> bool {
        !running.lp.senders.is_empty() || (running.lp_index.0 == 0 && !self.notices.is_empty())
    }

    /// Takes a notice, or the message of the next sender, in turn, so that none waits for ever for one that always has more to say.
    fn next_message(&self, running: &Running<'_, M>) -> Option<Message> {
        let lp = running.lp;
        if running.lp_index.0 == 0
            && let Some(notice) = self.notices.pop()
        {
            return Some(notices::message(&notice));
        }
        loop {
            let sender = lp
                .senders
                .next_after(VpSlot(lp.served.load(Ordering::Relaxed)))?;
            let Some(mut body) = self.vp_cell(sender).body.try_lock() else {
                // Another LP looks at its registers: the message stays, and this LP looks again before the next entry.
                running.cell.inbox.request(Request::Message);
                return None;
            };
            lp.senders.remove(sender);
            lp.served.store(sender.0, Ordering::Relaxed);
            // None where an INIT has taken the message back meanwhile.
            let message = body.as_mut().and_then(|vp| vp.message.take());
            if message.is_some() {
                return message;
            }
        }
    }

    /// Writes a message, its type last, so that the guest never sees half of one.
    fn place(&self, slot: Spa, message: &Message, more: bool) {
        let mut message = *message;
        message.flags = u8::from(more);
        let bytes = message.as_bytes();
        if let Some(rest) = slot.checked_add(8) {
            self.machine.write(rest, &bytes[8..]);
        }
        self.machine.write(slot, &bytes[..8]);
    }

    /// Sets the flag that asks for an end-of-message write.
    fn say_more_wait(&self, slot: Spa) {
        if let Some(flags) = slot.checked_add(5) {
            self.machine.write(flags, &[1]);
        }
    }
}

const fn access_code(access: Access) -> u8 {
    match access {
        Access::Read => access::READ,
        Access::Write => access::WRITE,
        Access::Execute => access::EXECUTE,
    }
}

/// Copies as much of `from` as fits.
fn copy(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

fn segment(vcpu: &impl Vcpu, name: u32) -> Segment {
    let raw = vcpu.register(name).unwrap_or(0);
    Segment::read_from_bytes(raw.as_bytes()).unwrap_or_default()
}

fn header<M: Machine>(vp: &Vp<M>, access: u8) -> InterceptHeader {
    let vcpu = &vp.vcpu;
    let state = u16::from(vcpu.cpl())
        | u16::from(vcpu.protected_mode()) << 2
        | u16::from(vcpu.long_mode()) << 4
        | u16::from(vcpu.has_pending_event()) << 6;
    InterceptHeader {
        vp: vp.index.0,
        length_cr8: vcpu.instruction_length() & 15 | vcpu.task_priority() << 4,
        access,
        execution_state: state,
        cs: segment(vcpu, register::CS),
        rip: vcpu.rip(),
        rflags: vcpu.rflags(),
    }
}

const _: () = assert!(size_of::<PortIntercept>() <= 240 && size_of::<MemoryIntercept>() <= 240);
