//! CPU-13: the decoder for accesses to a local APIC in memory, beside a full decoder of another origin. What one of them
//! takes for a MOV of 32 bits to or from memory the other does too, with the same register and the same length.

use guest::Gpr;
use guest::mov::{self, CodeSize, Mov, Move, Refused};
use iced_x86::{Code, Decoder, DecoderOptions, Instruction, OpKind, Register};

/// Decodes all but the first byte, which chooses the size of code.
pub fn run(data: &[u8]) {
    is_one(data);
}

/// Whether it is one of the forms; both decoders agree.
fn is_one(data: &[u8]) -> bool {
    let Some((&first, bytes)) = data.split_first() else {
        return false;
    };
    let (code, bits) = match first % 3 {
        0 => (CodeSize::Bits16, 16),
        1 => (CodeSize::Bits32, 32),
        _ => (CodeSize::Bits64, 64),
    };
    let ours = mov::decode(bytes, code);
    let theirs = oracle(bytes, bits);
    match ours {
        Ok(mov) => assert_eq!(theirs, Some(mov), "{bits} {bytes:02x?}"),
        Err(_) => assert_eq!(theirs, None, "{bits} {bytes:02x?}"),
    }
    if ours == Err(Refused::Truncated) {
        assert!(bytes.len() < mov::MAX_LENGTH);
    }
    ours.is_ok()
}

fn oracle(bytes: &[u8], bits: u32) -> Option<Mov> {
    let mut decoder = Decoder::new(bits, bytes, DecoderOptions::NONE);
    let instruction = decoder.decode();
    let repeated = instruction.has_rep_prefix() || instruction.has_repne_prefix();
    let hinted = instruction.has_xacquire_prefix() || instruction.has_xrelease_prefix();
    if repeated || hinted || has_repeat(bytes, &instruction) {
        return None;
    }
    let moves = match instruction.code() {
        Code::Mov_r32_rm32 if instruction.op1_kind() == OpKind::Memory => {
            Move::Load(register(instruction.op0_register()))
        }
        Code::Mov_EAX_moffs32 => Move::Load(Gpr::Rax),
        Code::Mov_rm32_r32 if instruction.op0_kind() == OpKind::Memory => {
            Move::Store(register(instruction.op1_register()))
        }
        Code::Mov_moffs32_EAX => Move::Store(Gpr::Rax),
        Code::Mov_rm32_imm32 if instruction.op0_kind() == OpKind::Memory => {
            Move::StoreValue(instruction.immediate32())
        }
        _ => return None,
    };
    Some(Mov {
        moves,
        length: instruction.len() as u8,
    })
}

/// A repeat prefix that the other decoder drops because it means nothing before this instruction.
fn has_repeat(bytes: &[u8], instruction: &Instruction) -> bool {
    let own = bytes.get(..instruction.len()).unwrap_or(bytes);
    let is_prefix = |byte: &&u8| {
        matches!(
            **byte,
            0x26 | 0x2e | 0x36 | 0x3e | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3
        ) || instruction.code_size() == iced_x86::CodeSize::Code64 && **byte >> 4 == 4
    };
    own.iter()
        .take_while(is_prefix)
        .any(|byte| matches!(byte, 0xf2 | 0xf3))
}

/// The other decoder numbers 32-bit registers in the order of their encodings.
fn register(register: Register) -> Gpr {
    Gpr::from_number((register as u32).wrapping_sub(Register::EAX as u32) as u8)
}

#[cfg(test)]
mod tests {
    use super::is_one;
    use crate::mutate::Random;

    /// Prefixes, the forms' own bytes and their neighbours come far more often than among random bytes.
    #[test]
    fn cpu_13_both_decoders_agree_about_a_million_instructions() {
        const COMMON: [u8; 32] = [
            0x66, 0x67, 0x3e, 0x64, 0x48, 0x41, 0x44, 0x4f, 0x40, 0xf0, 0xf2, 0xf3, 0x8b, 0x8b,
            0x89, 0x89, 0xa1, 0xa3, 0xc7, 0xc7, 0x8a, 0x88, 0x0f, 0xc5, 0xd5, 0x62, 0x05, 0x04,
            0x25, 0x00, 0x84, 0x8c,
        ];
        let (mut random, mut found) = (Random::new(13), 0);
        let mut bytes = [0; 18];
        for _ in 0..1_000_000 {
            for byte in &mut bytes {
                *byte = if random.below(2) == 0 {
                    COMMON[random.below(COMMON.len())]
                } else {
                    random.below(256) as u8
                };
            }
            found += u32::from(is_one(&bytes[..=random.below(bytes.len())]));
        }
        assert!(found > 10_000, "{found}");
    }
}
