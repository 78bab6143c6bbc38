//! The command that makes any hypercall, for a person who wants to know what the hypervisor says to it.

use abi::CallInput;
use alloc::format;
use alloc::vec::Vec;

use super::arguments::{Arguments, parse_number};
use crate::agent::Agent;
use crate::failure::Failure;
use crate::machine::Machine;
use crate::protocol::reply::{Reply, Row};

/// Words of a call, in and out.
const WORDS_MAX: usize = 64;

/// Makes one call of the root. Its status is an answer, not a failure of the command.
pub fn make<M: Machine>(agent: &Agent<M>, arguments: &Arguments) -> Result<Reply, Failure> {
    let code = parse_number("the call's code", arguments.word(0)?)?;
    let code = u16::try_from(code)
        .map_err(|_| Failure::usage("a call's code of at most 16 bits was expected"))?;
    let words: Vec<u64> = (1..=WORDS_MAX)
        .map_while(|at| arguments.optional_word(at))
        .map(|text| parse_number("a word of the call", text))
        .collect::<Result<_, _>>()?;
    let results = arguments.number("results")?.unwrap_or(0) as usize;
    let reps = arguments.number("reps")?.unwrap_or(0);
    if results > WORDS_MAX || reps > 0xfff {
        let sentence = format!("at most {WORDS_MAX} results and 4095 repetitions were expected");
        return Err(Failure::usage(sentence));
    }
    let control = match reps {
        0 => CallInput::simple(code),
        reps => CallInput::rep(code, reps as u16, 0),
    };
    let input: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let mut output = alloc::vec![0; results * 8];
    let result = agent.machine.hypercall(control, &[&input], &mut output);
    let mut reply = Reply::of(output.chunks_exact(8).map(|bytes| {
        let word = bytes
            .iter()
            .rev()
            .fold(0, |word, &b| word << 8 | u64::from(b));
        Row::new().with("word", format!("{word:#x}"))
    }));
    reply.result = Row::new()
        .with("status", result.status().name())
        .with("code", format!("{:#x}", result.status().0))
        .with("reps", result.completed());
    Ok(reply)
}
