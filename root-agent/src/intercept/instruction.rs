//! The MOV forms by which a guest reaches an emulated device, decoded from the bytes that the hypervisor captured.

use abi::register;
use iced_x86::{
    Code, Decoder, DecoderOptions, Instruction, MemorySize, Mnemonic, OpKind, Register,
};

/// What an access does with its value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// Reads into a register.
    Load {
        /// Where the value goes.
        to: Place,
        /// Whether the sign bit fills the rest.
        signed: bool,
    },
    /// Writes a register.
    Store(Place),
    /// Writes a constant.
    StoreValue(u64),
}

/// A general-purpose register, or a part of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Place {
    /// Register number of the hypercall interface.
    pub name: u32,
    /// Bytes of it.
    pub size: u8,
    /// Whether it is the second byte (AH, CH, DH, BH).
    pub high: bool,
}

/// A decoded access.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Decoded {
    /// Bytes of memory.
    pub size: u8,
    /// Bytes of the instruction.
    pub length: u8,
    /// What it does.
    pub access: Access,
}

/// Decodes an instruction with one memory operand; `None` for what is not a MOV form of at most 8 bytes.
#[must_use]
pub fn decode(bytes: &[u8], bits: u32) -> Option<Decoded> {
    let mut decoder = Decoder::try_new(bits, bytes, DecoderOptions::NONE).ok()?;
    let instruction = decoder.decode();
    if instruction.code() == Code::INVALID || instruction.has_rep_prefix() {
        return None;
    }
    let size = memory_size(&instruction)?;
    let access = match instruction.mnemonic() {
        Mnemonic::Mov if memory_at(&instruction, 0) => store(&instruction)?,
        Mnemonic::Movnti if memory_at(&instruction, 0) => store(&instruction)?,
        Mnemonic::Mov | Mnemonic::Movzx if memory_at(&instruction, 1) => load(&instruction, false)?,
        Mnemonic::Movsx | Mnemonic::Movsxd if memory_at(&instruction, 1) => {
            load(&instruction, true)?
        }
        _ => return None,
    };
    Some(Decoded {
        size,
        length: instruction.len() as u8,
        access,
    })
}

fn memory_at(instruction: &Instruction, operand: u32) -> bool {
    instruction.op_count() == 2 && matches!(instruction.try_op_kind(operand), Ok(OpKind::Memory))
}

fn store(instruction: &Instruction) -> Option<Access> {
    match instruction.op1_kind() {
        OpKind::Register => Some(Access::Store(place(instruction.op1_register())?)),
        _ => Some(Access::StoreValue(instruction.try_immediate(1).ok()?)),
    }
}

fn load(instruction: &Instruction, signed: bool) -> Option<Access> {
    let to = place(instruction.op0_register())?;
    Some(Access::Load { to, signed })
}

fn memory_size(instruction: &Instruction) -> Option<u8> {
    match instruction.memory_size() {
        MemorySize::UInt8 | MemorySize::Int8 => Some(1),
        MemorySize::UInt16 | MemorySize::Int16 => Some(2),
        MemorySize::UInt32 | MemorySize::Int32 => Some(4),
        MemorySize::UInt64 | MemorySize::Int64 => Some(8),
        _ => None,
    }
}

/// The decoder numbers registers by size, and in each size in the order RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to
/// R15, which is the order of the hypercall interface. Among the bytes, AH to BH stand in between.
fn place(register: Register) -> Option<Place> {
    let number = register as u32;
    let within = |first: Register, last: Register| {
        let inside = (first as u32..=last as u32).contains(&number);
        inside.then(|| number.wrapping_sub(first as u32))
    };
    let part = |index: u32, size: u8, high: bool| Place {
        name: register::RAX + index,
        size,
        high,
    };
    within(Register::AL, Register::BL)
        .map(|index| part(index, 1, false))
        .or_else(|| within(Register::AH, Register::BH).map(|index| part(index, 1, true)))
        .or_else(|| within(Register::SPL, Register::R15L).map(|index| part(index + 4, 1, false)))
        .or_else(|| within(Register::AX, Register::R15W).map(|index| part(index, 2, false)))
        .or_else(|| within(Register::EAX, Register::R15D).map(|index| part(index, 4, false)))
        .or_else(|| within(Register::RAX, Register::R15).map(|index| part(index, 8, false)))
}

impl Place {
    /// The value of the place in a register's value.
    #[must_use]
    pub fn extract(self, register: u64) -> u64 {
        let shifted = if self.high { register >> 8 } else { register };
        shifted & mask(self.size)
    }

    /// The register's value after a write of the place: 32 bits clear the upper half, less leave the rest.
    #[must_use]
    pub fn insert(self, register: u64, value: u64) -> u64 {
        let shift = if self.high { 8 } else { 0 };
        match self.size {
            4 | 8 => value & mask(self.size),
            size => register & !(mask(size) << shift) | (value & mask(size)) << shift,
        }
    }
}

/// A value of `size` bytes with its sign in the rest.
#[must_use]
pub fn sign_extend(value: u64, size: u8) -> u64 {
    let shift = 64 - 8 * u32::from(size.clamp(1, 8));
    ((value << shift) as i64 >> shift) as u64
}

fn mask(size: u8) -> u64 {
    u64::MAX >> (64 - 8 * u32::from(size.clamp(1, 8)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(name: u32, size: u8, signed: bool) -> Access {
        Access::Load {
            to: Place {
                name,
                size,
                high: false,
            },
            signed,
        }
    }

    #[test]
    fn mov_forms_are_decoded() {
        // mov eax, [rbx]
        let found = decode(&[0x8b, 0x03], 64).unwrap();
        assert_eq!((found.size, found.length), (4, 2));
        assert_eq!(found.access, load(register::RAX, 4, false));
        // movzx ecx, word ptr [rdi+8]
        let found = decode(&[0x0f, 0xb7, 0x4f, 0x08], 64).unwrap();
        assert_eq!(
            (found.size, found.access),
            (2, load(register::RCX, 4, false))
        );
        // movsx r9, byte ptr [rsi]
        let found = decode(&[0x4c, 0x0f, 0xbe, 0x0e], 64).unwrap();
        let r9 = register::RAX + 9;
        assert_eq!((found.size, found.access), (1, load(r9, 8, true)));
        // mov dword ptr [rax+0x10], 1
        let found = decode(&[0xc7, 0x40, 0x10, 1, 0, 0, 0], 64).unwrap();
        assert_eq!(found.access, Access::StoreValue(1));
        // mov [eax], ch
        let found = decode(&[0x88, 0x28], 32).unwrap();
        let Access::Store(place) = found.access else {
            panic!()
        };
        assert_eq!((place.name, place.high), (register::RCX, true));
        assert_eq!(place.extract(0x1234), 0x12);
    }

    #[test]
    fn a_negative_constant_is_extended_to_the_operand() {
        // mov qword ptr [rax], -1
        let found = decode(&[0x48, 0xc7, 0x00, 0xff, 0xff, 0xff, 0xff], 64).unwrap();
        assert_eq!(found.access, Access::StoreValue(u64::MAX));
    }

    #[test]
    fn other_instructions_and_any_bytes_are_refused_or_decoded() {
        assert_eq!(decode(&[0x90], 64), None);
        assert_eq!(decode(&[0x01, 0x03], 64), None, "add [rbx], eax");
        assert_eq!(decode(&[], 64), None);
        let mut state = 9u32;
        let mut bytes = [0u8; 15];
        for _ in 0..50_000 {
            for byte in &mut bytes {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *byte = (state >> 24) as u8;
            }
            for bits in [16, 32, 64] {
                if let Some(found) = decode(&bytes, bits) {
                    assert!(found.length <= 15);
                }
            }
        }
    }

    #[test]
    fn parts_of_registers_keep_the_rest() {
        let part = |size, high| Place {
            name: register::RAX,
            size,
            high,
        };
        assert_eq!(part(1, false).insert(u64::MAX, 0), 0xffff_ffff_ffff_ff00);
        assert_eq!(part(1, true).insert(u64::MAX, 0), 0xffff_ffff_ffff_00ff);
        assert_eq!(part(4, false).insert(u64::MAX, 5), 5);
        assert_eq!(sign_extend(0x80, 1), 0xffff_ffff_ffff_ff80);
    }
}
