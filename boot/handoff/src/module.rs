//! Boot modules: the files of the boot volume that the loader does not interpret.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::Extent;

/// Longest name of a module, in bytes.
pub const NAME_BYTES: usize = 64;

/// Index that names no module.
pub const NO_MODULE: u32 = u32::MAX;

/// A file, loaded page aligned in the root partition's memory.
#[derive(Clone, Copy, Debug, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq)]
#[repr(C)]
pub struct Module {
    /// File name in UTF-8, without its folder, padded with zero bytes.
    pub name: [u8; NAME_BYTES],
    /// Where the content lies. The bytes up to the next page boundary are zero.
    pub content: Extent,
}

const _: () = assert!(size_of::<Module>() == 80);

impl Module {
    /// A module; a name that is too long is cut at a character boundary.
    #[must_use]
    pub fn new(name: &str, content: Extent) -> Self {
        let mut bytes = [0; NAME_BYTES];
        let mut used = 0;
        for character in name.chars() {
            let end = used + character.len_utf8();
            let Some(place) = bytes.get_mut(used..end) else {
                break;
            };
            character.encode_utf8(place);
            used = end;
        }
        Self {
            name: bytes,
            content,
        }
    }

    /// The name; empty where it is not UTF-8.
    #[must_use]
    pub fn name(&self) -> &str {
        let end = self
            .name
            .iter()
            .position(|&byte| byte == 0)
            .unwrap_or(NAME_BYTES);
        self.name
            .get(..end)
            .and_then(|bytes| core::str::from_utf8(bytes).ok())
            .unwrap_or("")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_and_long_ones_are_cut_between_characters() {
        let content = Extent::new(0x1000, 5);
        assert_eq!(Module::new("start.cfg", content).name(), "start.cfg");
        let long = "ääääääääääääääääääääääääääääääääääää";
        assert_eq!(Module::new(long, content).name().len(), 64);
        let odd = Module::new("xäääääääääääääääääääääääääääääääää", content);
        assert_eq!(odd.name().len(), 63);
    }

    #[test]
    fn a_name_that_is_not_text_is_empty() {
        let mut module = Module::new("a", Extent::default());
        module.name[0] = 0xff;
        assert_eq!(module.name(), "");
    }
}
