//! Virtual processors and their registers.

use abi::register;
use abi::vp::{CreateVp, RegisterValue, Registers, Translate, Translation, translate_flags};
use abi::{Call, Status};
use alloc::vec::Vec;
use zerocopy::IntoBytes;

use super::{Progress, order, query, repeat};
use crate::machine::Machine;

/// A register number and its value.
pub type Register = (u32, [u64; 2]);

/// A register of up to 64 bits.
#[must_use]
pub const fn word(name: u32, value: u64) -> Register {
    (name, [value, 0])
}

/// Makes a VP on an LP.
pub fn create<M: Machine>(machine: &M, partition: u64, vp: u32, lp: u16) -> Result<(), Status> {
    let input = CreateVp {
        partition,
        vp,
        flags: u64::from(lp),
        ..CreateVp::default()
    };
    order(machine, Call::CreateVp, &input)
}

/// Writes registers.
pub fn write<M: Machine>(
    machine: &M,
    partition: u64,
    vp: u32,
    registers: &[Register],
) -> Result<(), Status> {
    let header = header(partition, vp);
    let list: Vec<RegisterValue> = registers
        .iter()
        .map(|&(name, value)| RegisterValue {
            name,
            reserved: [0; 3],
            value,
        })
        .collect();
    let mut progress = Progress::new(list.len());
    repeat(
        machine,
        Call::SetVpRegisters,
        &header,
        list.as_bytes(),
        &mut [],
        &mut progress,
    )
}

/// Reads registers; only the low 64 bits of each.
pub fn read<M: Machine>(
    machine: &M,
    partition: u64,
    vp: u32,
    names: &[u32],
) -> Result<Vec<u64>, Status> {
    let header = header(partition, vp);
    let mut values = alloc::vec![[0u64; 2]; names.len()];
    let mut progress = Progress::new(names.len());
    repeat(
        machine,
        Call::GetVpRegisters,
        &header,
        names.as_bytes(),
        values.as_mut_slice().as_mut_bytes(),
        &mut progress,
    )?;
    Ok(values.iter().map(|value| value[0]).collect())
}

/// Tries of an answer while another LP looks at the VP's registers.
const RESUME_TRIES: usize = 10_000;

/// Lets a VP go on after an intercept, with these registers.
pub fn resume<M: Machine>(
    machine: &M,
    partition: u64,
    vp: u32,
    mut registers: Vec<Register>,
) -> Result<(), Status> {
    registers.push(word(register::INTERCEPT_SUSPEND, 0));
    for _ in 0..RESUME_TRIES {
        match write(machine, partition, vp, &registers) {
            Err(Status::INVALID_VP_STATE) => core::hint::spin_loop(),
            result => return result,
        }
    }
    Err(Status::INVALID_VP_STATE)
}

/// Holds a VP, or lets it go on.
pub fn suspend<M: Machine>(
    machine: &M,
    partition: u64,
    vp: u32,
    suspended: bool,
) -> Result<(), Status> {
    let value = word(register::EXPLICIT_SUSPEND, u64::from(suspended));
    write(machine, partition, vp, &[value])
}

/// Page number in the GPA map behind a guest-virtual page number.
pub fn translate<M: Machine>(
    machine: &M,
    partition: u64,
    vp: u32,
    page: u64,
    write: bool,
) -> Option<u64> {
    let input = Translate {
        partition,
        vp,
        reserved: 0,
        flags: if write {
            translate_flags::WRITE
        } else {
            translate_flags::READ
        },
        page,
    };
    let found: Translation = query(machine, Call::TranslateVirtualAddress, &input).ok()?;
    (found.result as u32 == 0).then_some(found.gpfn)
}

fn header(partition: u64, vp: u32) -> Registers {
    Registers {
        partition,
        vp,
        vtl: 0,
        reserved: [0; 3],
    }
}
