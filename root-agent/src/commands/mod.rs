//! The commands: the same words on the console, in the start script and in the line protocol.

mod arguments;
mod assignment;
mod bench;
pub mod catalogue;
mod counters;
mod devices;
mod domains;
mod guest_console;
mod hypercall;
mod interrupts;
mod machine;
mod overwrite;
mod partitions;

use alloc::string::String;

use crate::agent::Agent;
use crate::failure::Failure;
use crate::machine::Machine;
use crate::protocol::reply::Reply;
use crate::protocol::words::Word;
use arguments::Arguments;

/// What a command came to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It is done.
    Done(Reply),
    /// It is done when this partition has stopped: see [`waited`].
    Wait(String),
}

impl From<Reply> for Outcome {
    fn from(reply: Reply) -> Self {
        Self::Done(reply)
    }
}

/// Does what a line says. Lines without words do nothing.
pub fn run<M: Machine>(agent: &Agent<M>, words: &[Word]) -> Result<Outcome, Failure> {
    let Some((command, rest)) = words.split_first() else {
        return Ok(Reply::new().into());
    };
    let spec = catalogue::find(command)?;
    let arguments = Arguments::new(spec, rest)?;
    if spec.name == "wait" {
        return partitions::wait(agent, &arguments);
    }
    dispatch(agent, spec.name, &arguments).map(Outcome::Done)
}

fn dispatch<M: Machine>(
    agent: &Agent<M>,
    name: &str,
    arguments: &Arguments,
) -> Result<Reply, Failure> {
    match name {
        "help" => catalogue::help(arguments),
        "lps" => machine::lps(agent),
        "memory" => machine::memory(agent),
        "iommus" => machine::iommus(agent),
        "log" => machine::log(agent),
        "reset" => machine::power(agent, true),
        "power-off" => machine::power(agent, false),
        "exit" => machine::exit(agent, arguments),
        "devices" => devices::list(agent),
        "whynot" => devices::why_not(agent, arguments),
        "partitions" => partitions::list(agent),
        "create" => partitions::create(agent, arguments),
        "load" => partitions::load(agent, arguments),
        "start" => partitions::start(agent, arguments),
        "stop" => partitions::stop(agent, arguments),
        "delete" => partitions::delete(agent, arguments),
        "show" => partitions::show(agent, arguments),
        "assign" => assignment::assign(agent, arguments),
        "unassign" => assignment::unassign(agent, arguments),
        "domains" => domains::list(agent, arguments),
        "domain" => domains::change(agent, arguments),
        "interrupts" => interrupts::list(agent),
        "retarget" => interrupts::retarget(agent, arguments),
        "faults" => counters::faults(agent),
        "counters" => counters::counters(agent, arguments),
        "console" => guest_console::attach(agent, arguments),
        "bench" => bench::run(agent),
        "input" => guest_console::input(agent, arguments),
        "hypercall" => hypercall::make(agent, arguments),
        "overwrite" => overwrite::run(agent, arguments),
        _ => Err(Failure::usage("this command is not known here")),
    }
}

/// The answer to `wait`, once there is one.
pub fn waited<M: Machine>(agent: &Agent<M>, name: &str) -> Option<Result<Reply, Failure>> {
    partitions::waited(agent, name)
}
