//! The boot information (Multiboot Specification version 0.6.96, 3.3 "Boot information format").

use alloc::string::String;
use alloc::string::ToString;
use alloc::vec::Vec;

use super::Refusal;
use super::placement::{BOOT_INFO, BOOT_INFO_SIZE, HIGH, KEPT};

/// Bytes of the structure up to the loader's name.
const SIZE: usize = 120;

mod flag {
    pub const MEMORY: u32 = 1 << 0;
    pub const COMMAND_LINE: u32 = 1 << 2;
    pub const MODULES: u32 = 1 << 3;
    pub const MEMORY_MAP: u32 = 1 << 6;
    pub const LOADER_NAME: u32 = 1 << 9;
}

/// A module in guest memory.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Module {
    /// First byte.
    pub start: u32,
    /// First byte behind.
    pub end: u32,
    /// Its name and words.
    pub name: String,
}

/// Kinds of memory in the memory map.
const AVAILABLE: u32 = 1;
const RESERVED: u32 = 2;

/// Builds the structure and all it points to, to be placed at [`BOOT_INFO`].
pub fn build(memory: u64, command_line: &str, modules: &[Module]) -> Result<Vec<u8>, Refusal> {
    let mut bytes = alloc::vec![0u8; SIZE];
    let command_line_at = append_text(&mut bytes, command_line);
    let loader_at = append_text(&mut bytes, "Portcullis");
    let names: Vec<u32> = modules
        .iter()
        .map(|module| append_text(&mut bytes, &module.name))
        .collect();
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    let modules_at = here(&bytes);
    for (module, name) in modules.iter().zip(names) {
        append_words(&mut bytes, &[module.start, module.end, name, 0]);
    }
    let map_at = here(&bytes);
    append_map(&mut bytes, memory);
    let map_length = here(&bytes) - map_at;
    if bytes.len() as u64 > BOOT_INFO_SIZE {
        return Err("the command line and the modules' names are too long".to_string());
    }
    let flags =
        flag::MEMORY | flag::COMMAND_LINE | flag::MODULES | flag::MEMORY_MAP | flag::LOADER_NAME;
    for (offset, value) in [
        (0, flags),
        (4, (KEPT.start / 1024) as u32),
        (8, (memory.saturating_sub(HIGH) / 1024) as u32),
        (16, command_line_at),
        (20, modules.len() as u32),
        (24, modules_at),
        (44, map_length),
        (48, map_at),
        (64, loader_at),
    ] {
        put(&mut bytes, offset, value);
    }
    Ok(bytes)
}

fn here(bytes: &[u8]) -> u32 {
    BOOT_INFO as u32 + bytes.len() as u32
}

fn put(bytes: &mut [u8], offset: usize, value: u32) {
    if let Some(field) = bytes.get_mut(offset..offset + 4) {
        field.copy_from_slice(&value.to_le_bytes());
    }
}

fn append_text(bytes: &mut Vec<u8>, text: &str) -> u32 {
    let at = here(bytes);
    bytes.extend(text.bytes().filter(|&byte| byte != 0));
    bytes.push(0);
    at
}

fn append_words(bytes: &mut Vec<u8>, words: &[u32]) {
    bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
}

/// Memory map entries: size of the rest, base, length, kind.
fn append_map(bytes: &mut Vec<u8>, memory: u64) {
    let high = memory.saturating_sub(HIGH);
    let ranges = [
        (0, KEPT.start, AVAILABLE),
        (KEPT.start, KEPT.length, RESERVED),
        (HIGH, high, AVAILABLE),
    ];
    for (base, length, kind) in ranges {
        append_words(
            bytes,
            &[
                20,
                base as u32,
                (base >> 32) as u32,
                length as u32,
                (length >> 32) as u32,
                kind,
            ],
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    #[test]
    fn pointers_lead_to_what_they_name() {
        let module = Module {
            start: 0x20_0000,
            end: 0x20_1000,
            name: "initrd quiet".into(),
        };
        let bytes = build(64 << 20, "nonce=7", &[module]).unwrap();
        let at = |offset: usize| (word(&bytes, offset) - BOOT_INFO as u32) as usize;
        assert_eq!(word(&bytes, 0), 0b10_0100_1101);
        assert_eq!(&bytes[at(16)..at(16) + 8], b"nonce=7\0");
        assert_eq!(word(&bytes, 20), 1);
        assert_eq!(word(&bytes, at(24)), 0x20_0000);
        assert_eq!(word(&bytes, 44), 3 * 24);
        assert_eq!(word(&bytes, at(48)), 20);
        assert_eq!(word(&bytes, at(48) + 24 + 20), 2);
        assert_eq!(word(&bytes, 8), 63 * 1024);
    }

    #[test]
    fn text_that_does_not_fit_is_refused() {
        assert!(build(64 << 20, &"x".repeat(0x4000), &[]).is_err());
    }
}
