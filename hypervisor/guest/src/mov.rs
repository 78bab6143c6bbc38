//! The MOV forms by which a guest reaches a register of its local APIC in memory: 8B, 89, A1, A3 and C7 /0 with an operand
//! of 32 bits. Intel SDM volume 2, "Instruction Format"; AMD64 APM volume 3, "Instruction Encoding".
//!
//! Where the operand lies, the exit says; the bytes say only which register, which way, and how long the instruction is.
//! They are a guest's, which may have changed them since: what is not one of the forms is refused, and nothing is read
//! past the 15th byte.

use crate::Gpr;

/// Longest instruction in bytes.
pub const MAX_LENGTH: usize = 15;

/// Default size of operands and addresses, from CS and the processor's mode.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CodeSize {
    /// Real mode, virtual-8086 mode, 16-bit segments.
    Bits16,
    /// 32-bit segments.
    Bits32,
    /// 64-bit mode.
    Bits64,
}

/// What the instruction moves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Move {
    /// Memory to a register, whose upper half is cleared.
    Load(Gpr),
    /// The lower half of a register to memory.
    Store(Gpr),
    /// A constant to memory.
    StoreValue(u32),
}

/// A decoded instruction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Mov {
    /// What it moves.
    pub moves: Move,
    /// Bytes, 2 to 15.
    pub length: u8,
}

/// Why bytes are none of the forms.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refused {
    /// The bytes end before the instruction does, and before the longest one would.
    Truncated,
    /// Another instruction, another operand size, a register in memory's place, LOCK or REP, more than 15 bytes.
    Other,
}

/// Decodes the instruction at the start of `bytes`, of which no more than 15 count.
///
/// # Errors
/// Why it is none of the forms.
pub fn decode(bytes: &[u8], code: CodeSize) -> Result<Mov, Refused> {
    let mut cursor = Cursor { bytes, at: 0 };
    let prefixes = Prefixes::take(&mut cursor, code)?;
    if prefixes.operand != Width::Bits32 {
        return Err(Refused::Other);
    }
    let moves = match prefixes.opcode {
        0x8b => Move::Load(prefixes.memory_operand(&mut cursor)?),
        0x89 => Move::Store(prefixes.memory_operand(&mut cursor)?),
        0xa1 | 0xa3 => {
            cursor.skip(prefixes.address.bytes())?;
            if prefixes.opcode == 0xa1 {
                Move::Load(Gpr::Rax)
            } else {
                Move::Store(Gpr::Rax)
            }
        }
        0xc7 => {
            // The other encodings of this byte are another instruction, or none; REX.R does not count.
            let field = prefixes.memory_operand(&mut cursor)? as u8;
            if field & 7 != 0 {
                return Err(Refused::Other);
            }
            Move::StoreValue(cursor.value()?)
        }
        _ => return Err(Refused::Other),
    };
    Ok(Mov {
        moves,
        length: cursor.at as u8,
    })
}

/// Size of an operand or an address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Width {
    Bits16,
    Bits32,
    Bits64,
}

impl Width {
    const fn bytes(self) -> usize {
        match self {
            Self::Bits16 => 2,
            Self::Bits32 => 4,
            Self::Bits64 => 8,
        }
    }
}

/// The bytes, and how many of them are taken.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn byte(&mut self) -> Result<u8, Refused> {
        if self.at >= MAX_LENGTH {
            return Err(Refused::Other);
        }
        let byte = *self.bytes.get(self.at).ok_or(Refused::Truncated)?;
        self.at += 1;
        Ok(byte)
    }

    fn skip(&mut self, count: usize) -> Result<(), Refused> {
        (0..count).try_for_each(|_| self.byte().map(|_| ()))
    }

    fn value(&mut self) -> Result<u32, Refused> {
        let mut value = [0; 4];
        for byte in &mut value {
            *byte = self.byte()?;
        }
        Ok(u32::from_le_bytes(value))
    }
}

/// What comes before the operands.
struct Prefixes {
    operand: Width,
    address: Width,
    rex: u8,
    opcode: u8,
}

const REX_W: u8 = 8;
const REX_R: u8 = 4;

impl Prefixes {
    /// Takes the prefixes and the byte after them. At most 15 rounds: the cursor gives no more bytes.
    fn take(cursor: &mut Cursor<'_>, code: CodeSize) -> Result<Self, Refused> {
        let (mut other_operand, mut other_address, mut rex) = (false, false, 0);
        let opcode = loop {
            match cursor.byte()? {
                0x26 | 0x2e | 0x36 | 0x3e | 0x64 | 0x65 => rex = 0,
                0x66 => (other_operand, rex) = (true, 0),
                0x67 => (other_address, rex) = (true, 0),
                // A REX that anything but the opcode follows is without effect.
                byte @ 0x40..=0x4f if code == CodeSize::Bits64 => rex = byte,
                byte => break byte,
            }
        };
        let operand = match code {
            CodeSize::Bits64 if rex & REX_W != 0 => Width::Bits64,
            CodeSize::Bits16 if !other_operand => Width::Bits16,
            CodeSize::Bits32 | CodeSize::Bits64 if other_operand => Width::Bits16,
            _ => Width::Bits32,
        };
        let address = match (code, other_address) {
            (CodeSize::Bits16, false) | (CodeSize::Bits32, true) => Width::Bits16,
            (CodeSize::Bits64, false) => Width::Bits64,
            _ => Width::Bits32,
        };
        Ok(Self {
            operand,
            address,
            rex,
            opcode,
        })
    }

    /// Takes ModRM, SIB and displacement of a memory operand, and returns the register beside it.
    fn memory_operand(&self, cursor: &mut Cursor<'_>) -> Result<Gpr, Refused> {
        let modrm = cursor.byte()?;
        let (mode, memory) = (modrm >> 6, modrm & 7);
        if mode == 3 {
            return Err(Refused::Other);
        }
        let mut displacement = match (mode, self.address) {
            (0, _) => 0,
            (1, _) => 1,
            (_, Width::Bits16) => 2,
            _ => 4,
        };
        if self.address == Width::Bits16 {
            if mode == 0 && memory == 6 {
                displacement = 2;
            }
        } else {
            let base = if memory == 4 { cursor.byte()? } else { memory } & 7;
            if mode == 0 && base == 5 {
                displacement = 4;
            }
        }
        cursor.skip(displacement)?;
        let extended = if self.rex & REX_R != 0 { 8 } else { 0 };
        Ok(Gpr::from_number(modrm >> 3 & 7 | extended))
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use CodeSize::{Bits16, Bits32, Bits64};

    fn is(bytes: &[u8], code: CodeSize, moves: Move) {
        let length = bytes.len() as u8;
        assert_eq!(decode(bytes, code), Ok(Mov { moves, length }), "{bytes:x?}");
    }

    fn refused(bytes: &[u8], code: CodeSize) {
        assert_eq!(decode(bytes, code), Err(Refused::Other), "{bytes:x?}");
    }

    #[test]
    fn what_compilers_write_for_32_bit_code_is_decoded() {
        // mov eax, [0xfee00020]
        is(&[0xa1, 0x20, 0, 0xe0, 0xfe], Bits32, Move::Load(Gpr::Rax));
        // mov [0xfee000b0], eax
        is(&[0xa3, 0xb0, 0, 0xe0, 0xfe], Bits32, Move::Store(Gpr::Rax));
        // mov dword ptr [0xfee000b0], 0
        is(
            &[0xc7, 0x05, 0xb0, 0, 0xe0, 0xfe, 0, 0, 0, 0],
            Bits32,
            Move::StoreValue(0),
        );
        // mov edx, [ebx + 0x300]
        is(&[0x8b, 0x93, 0, 3, 0, 0], Bits32, Move::Load(Gpr::Rdx));
        // mov [eax + ecx * 4], esi
        is(&[0x89, 0x34, 0x88], Bits32, Move::Store(Gpr::Rsi));
        // mov edi, fs:[0x30]
        is(
            &[0x64, 0x8b, 0x3d, 0x30, 0, 0, 0],
            Bits32,
            Move::Load(Gpr::Rdi),
        );
        // mov ecx, [bx + si + 0x10], with 16-bit addresses
        is(&[0x67, 0x8b, 0x48, 0x10], Bits32, Move::Load(Gpr::Rcx));
    }

    #[test]
    fn what_compilers_write_for_64_bit_code_is_decoded() {
        // mov eax, [rip + 0x100]
        is(&[0x8b, 0x05, 0, 1, 0, 0], Bits64, Move::Load(Gpr::Rax));
        // mov [r12 + 0x300], r15d
        is(
            &[0x45, 0x89, 0xbc, 0x24, 0, 3, 0, 0],
            Bits64,
            Move::Store(Gpr::R15),
        );
        // mov r9d, [0xfee00020], without a base register
        is(
            &[0x44, 0x8b, 0x0c, 0x25, 0x20, 0, 0xe0, 0xfe],
            Bits64,
            Move::Load(Gpr::R9),
        );
        // mov dword ptr [rdi - 8], 0x1ff; REX.R means nothing beside a constant
        is(
            &[0x44, 0xc7, 0x47, 0xf8, 0xff, 1, 0, 0],
            Bits64,
            Move::StoreValue(0x1ff),
        );
        // movabs eax, [0xfee00020]
        is(
            &[0xa1, 0x20, 0, 0xe0, 0xfe, 0, 0, 0, 0],
            Bits64,
            Move::Load(Gpr::Rax),
        );
        // A REX that a prefix follows is without effect.
        is(&[0x4c, 0x3e, 0x8b, 0x03], Bits64, Move::Load(Gpr::Rax));
    }

    #[test]
    fn sixteen_bit_code_needs_the_operand_prefix() {
        // mov eax, [si]
        is(&[0x66, 0x8b, 0x04], Bits16, Move::Load(Gpr::Rax));
        // mov [0x20], eax
        is(&[0x66, 0xa3, 0x20, 0], Bits16, Move::Store(Gpr::Rax));
        // mov ebx, [esi + 0x20]
        is(
            &[0x67, 0x66, 0x8b, 0x5e, 0x20],
            Bits16,
            Move::Load(Gpr::Rbx),
        );
        // mov dword ptr [0x1234], 1
        is(
            &[0x66, 0xc7, 0x06, 0x34, 0x12, 1, 0, 0, 0],
            Bits16,
            Move::StoreValue(1),
        );
        refused(&[0x8b, 0x04], Bits16);
    }

    #[test]
    fn cpu_13_other_instructions_and_operands_are_refused() {
        refused(&[0x66, 0x8b, 0x03], Bits32);
        refused(&[0x48, 0x8b, 0x03], Bits64);
        refused(&[0x8a, 0x03], Bits32);
        refused(&[0x8b, 0xc3], Bits32);
        refused(&[0xc7, 0x48, 0x10, 0, 0, 0, 0], Bits32);
        refused(&[0xc7, 0xf8, 0, 0, 0, 0], Bits32);
        refused(&[0x0b, 0x03], Bits32);
        refused(&[0xf0, 0x89, 0x03], Bits32);
        refused(&[0xf3, 0x89, 0x03], Bits32);
        refused(&[0xf2, 0xa1, 0, 0, 0, 0], Bits32);
        refused(&[0x44, 0x8b, 0x03], Bits32);
        refused(&[0xd5, 0x00, 0x8b, 0x03], Bits64);
    }

    #[test]
    fn cpu_13_bytes_end_where_they_end_and_the_15th_is_the_last() {
        let all = [0xc7, 0x84, 0x88, 0, 3, 0, 0, 1, 0, 0, 0];
        for cut in 0..all.len() {
            assert_eq!(decode(&all[..cut], Bits32), Err(Refused::Truncated));
        }
        let prefixed = |prefixes: usize| {
            let mut bytes: Vec<u8> = std::iter::repeat_n(0x3e, prefixes).collect();
            bytes.extend(all);
            bytes
        };
        is(&prefixed(4), Bits32, Move::StoreValue(1));
        refused(&prefixed(5), Bits32);
        refused(&[0x66; 15], Bits32);
        refused(&[0x26; 40], Bits64);
        assert_eq!(decode(&[0x66; 14], Bits32), Err(Refused::Truncated));
        assert_eq!(decode(&[], Bits64), Err(Refused::Truncated));
    }

    proptest! {
        #[test]
        fn cpu_13_any_bytes_end_within_themselves(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            for code in [Bits16, Bits32, Bits64] {
                match decode(&bytes, code) {
                    Ok(mov) => {
                        let length = usize::from(mov.length);
                        prop_assert!((2..=MAX_LENGTH.min(bytes.len())).contains(&length));
                        // The bytes after it do not matter, and it needs all of its own.
                        prop_assert_eq!(decode(&bytes[..length], code), Ok(mov));
                        prop_assert_eq!(decode(&bytes[..length - 1], code), Err(Refused::Truncated));
                    }
                    Err(Refused::Truncated) => prop_assert!(bytes.len() < MAX_LENGTH),
                    Err(Refused::Other) => {}
                }
            }
        }
    }
}
