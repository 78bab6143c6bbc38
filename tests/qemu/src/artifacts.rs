//! What a boot volume is made of, as files that the build left behind.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// The files of one build of the project.
#[derive(Clone, Debug)]
pub struct Artifacts {
    /// The loader, a UEFI application.
    pub loader: PathBuf,
    /// The hypervisor, a static position-independent ELF64 file.
    pub hypervisor: PathBuf,
    /// The root partition's program, likewise.
    pub root_agent: PathBuf,
    /// Guest images by their name on the boot volume (`net.elf`).
    pub payloads: BTreeMap<String, PathBuf>,
}
