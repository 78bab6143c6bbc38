//! What a mapping allows, without any format's bits.

use bitflags::bitflags;

bitflags! {
    /// What may be done through a mapping.
    #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
    pub struct Rights: u8 {
        /// Loads, or a device's reads.
        const READ = 1;
        /// Stores, or a device's writes.
        const WRITE = 2;
        /// Instruction fetches; has no meaning for a device.
        const EXECUTE = 4;
    }
}

/// How the processor caches what a mapping reaches. Device tables ignore it.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum MemoryType {
    /// RAM: write-back.
    #[default]
    WriteBack,
    /// Device registers: uncached, whatever the guest's own tables say.
    Uncached,
}

/// Rights and caching of one mapping.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Access {
    /// What may be done.
    pub rights: Rights,
    /// How it is cached.
    pub memory: MemoryType,
}

impl Access {
    /// Access to RAM.
    #[must_use]
    pub const fn ram(rights: Rights) -> Self {
        Self {
            rights,
            memory: MemoryType::WriteBack,
        }
    }

    /// Access to device registers: read and write, uncached, nothing to execute.
    #[must_use]
    pub const fn registers() -> Self {
        Self {
            rights: Rights::READ.union(Rights::WRITE),
            memory: MemoryType::Uncached,
        }
    }
}
