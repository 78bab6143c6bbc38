//! The root agent on the machine: every LP's root VP answers intercept messages, the first one also talks.

#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

mod bare;

use abi::root_info::RootInfo;
use root_agent::agent::Agent;
use root_agent::facts::Facts;
use root_agent::intercept;
use root_agent::machine::Machine;
use root_agent::service::{Output, Service};
use runtime::cpu;
use spin::Once;

use bare::serial::Serial;
use bare::{Bare, events};

runtime::agent!(main);

static AGENT: Once<Agent<Bare>> = Once::new();

/// Rounds of the first VP between two looks for recorded faults.
const FAULT_ROUNDS: u32 = 50;

fn main(info: &'static RootInfo) -> ! {
    let Some(facts) = Facts::read(info) else {
        runtime::println!("The hypervisor's facts cannot be read: the root agent stops.");
        cpu::halt_forever();
    };
    let agent = AGENT.call_once(|| Agent::new(Bare::default(), facts));
    events::begin(info.apic_hz);
    start_others(agent);
    talk(agent)
}

/// Starts the root's other VPs. One that does not start leaves its LP without children: their messages would stay
/// unanswered.
fn start_others(agent: &Agent<Bare>) {
    for vp in 1..agent.facts.lps {
        if let Err(status) = runtime::vp::start(vp, answer) {
            runtime::println!("Root VP {vp} does not start: {}", status.name());
        }
    }
}

/// What the other VPs do.
fn answer(_vp: u32) {
    events::begin_other();
    loop {
        if let Some(agent) = AGENT.get() {
            while let Some(message) = agent.machine.take_message() {
                intercept::handle(agent, &message);
            }
            agent.machine.idle();
        }
    }
}

/// What the first VP does.
fn talk(agent: &Agent<Bare>) -> ! {
    let serial = Serial::begin(agent);
    let mut service = Service::new(agent);
    let mut rounds = 0u32;
    loop {
        let mut busy = false;
        while let Some(message) = agent.machine.take_message() {
            intercept::handle(agent, &message);
            busy = true;
        }
        rounds = rounds.wrapping_add(1);
        if rounds.is_multiple_of(FAULT_ROUNDS) {
            agent.collect_faults();
        }
        let mut output = service.step(agent);
        busy |= read(agent, &serial, &mut service, &mut output);
        busy |= !output.is_empty();
        serial.write(&output);
        if !busy && service.is_quiet() {
            agent.machine.idle();
        }
    }
}

/// Takes what both serial ports have received; false when it is nothing.
fn read(agent: &Agent<Bare>, serial: &Serial, service: &mut Service, output: &mut Output) -> bool {
    let mut any = false;
    while let Some(byte) = serial.console_byte() {
        output.console.push_str(&service.console_byte(agent, byte));
        any = true;
    }
    while let Some(byte) = serial.program_byte() {
        let answer = service.program_byte(agent, byte);
        let complete = !answer.is_empty();
        output.program.push_str(&answer);
        any = true;
        if complete {
            // Events that the command caused come before the next request is read.
            break;
        }
    }
    any
}
