//! Hypercalls with types: one function per call, one file per family.

pub mod device;
pub mod domain;
pub mod interrupt;
pub mod memory;
pub mod partition;
pub mod vendor;
pub mod vp;

use abi::{Call, CallInput, Status};
use zerocopy::{FromZeros, Immutable, IntoBytes};

use crate::machine::Machine;

/// Makes a call without repetitions and reads its result.
fn query<M: Machine, I: IntoBytes + Immutable, O: FromZeros + zerocopy::FromBytes + IntoBytes>(
    machine: &M,
    call: Call,
    input: &I,
) -> Result<O, Status> {
    let mut output = O::new_zeroed();
    let control = CallInput::simple(call as u16);
    let result = machine.hypercall(control, &[input.as_bytes()], output.as_mut_bytes());
    success(result.status()).map(|()| output)
}

/// Makes a call without repetitions and without results.
fn order<M: Machine, I: IntoBytes + Immutable>(
    machine: &M,
    call: Call,
    input: &I,
) -> Result<(), Status> {
    query::<M, I, [u8; 0]>(machine, call, input).map(|_| ())
}

/// How far a call with repetitions has come. It can be made again to go on.
pub struct Progress {
    /// Repetitions done.
    pub done: usize,
    /// Repetitions wanted.
    pub total: usize,
}

impl Progress {
    /// Nothing of `total` repetitions is done.
    #[must_use]
    pub fn new(total: usize) -> Self {
        Self { done: 0, total }
    }

    /// Whether all is done.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.done >= self.total
    }
}

/// Makes a call over a list that fits one page, from `progress` on, and notes how far it came.
fn repeat<M: Machine, I: IntoBytes + Immutable>(
    machine: &M,
    call: Call,
    header: &I,
    list: &[u8],
    output: &mut [u8],
    progress: &mut Progress,
) -> Result<(), Status> {
    while !progress.is_complete() {
        let control = CallInput::rep(call as u16, progress.total as u16, progress.done as u16);
        let result = machine.hypercall(control, &[header.as_bytes(), list], output);
        let done = usize::from(result.completed()).min(progress.total);
        let stuck = done <= progress.done;
        progress.done = progress.done.max(done);
        success(result.status())?;
        if stuck {
            return Err(Status::OPERATION_FAILED);
        }
    }
    Ok(())
}

fn success(status: Status) -> Result<(), Status> {
    if status == Status::SUCCESS {
        Ok(())
    } else {
        Err(status)
    }
}
