//! Reads the boot volume.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use handoff::Extent;
use uefi::CStr16;
use uefi::boot::{self, AllocateType, MemoryType};
use uefi::proto::media::file::{
    Directory, File as _, FileAttribute, FileInfo, FileMode, RegularFile,
};

use super::console::say;
use super::stop::Stop;

const FOLDER: &CStr16 = uefi::cstr16!("portcullis");
const ACPI_FOLDERS: [&CStr16; 2] = [uefi::cstr16!("acpi"), uefi::cstr16!("portcullis\\acpi")];
/// Largest piece that firmware is asked for at once: some drivers fail on more.
const PIECE: usize = 1 << 20;
/// Files that are not modules.
pub const HYPERVISOR: &str = "hypervisor.elf";
/// The root agent's program.
pub const ROOT_AGENT: &str = "root-agent.elf";
/// The start script.
pub const START_SCRIPT: &str = "start.cfg";

/// A file in memory, in pages of its own.
#[derive(Debug)]
pub struct File {
    /// Name without its folder.
    pub name: String,
    /// The content.
    pub content: &'static [u8],
}

impl File {
    /// Where it lies.
    pub fn extent(&self) -> Extent {
        Extent::new(self.content.as_ptr() as u64, self.content.len() as u64)
    }
}

/// All that was read.
#[derive(Debug)]
pub struct Volume {
    /// Every file of the project's folder.
    pub files: Vec<File>,
    /// ACPI tables that replace or add to firmware's.
    pub acpi: Vec<File>,
}

impl Volume {
    /// The file with this name; case counts for nothing on FAT.
    pub fn find(&self, name: &'static str) -> Result<&File, Stop> {
        let found = self
            .files
            .iter()
            .find(|file| file.name.eq_ignore_ascii_case(name));
        found.ok_or(Stop::Missing(name))
    }

    /// The files that the loader does not interpret.
    pub fn modules(&self) -> impl Iterator<Item = &File> {
        let programs = [HYPERVISOR, ROOT_AGENT];
        self.files.iter().filter(move |file| {
            !programs
                .iter()
                .any(|name| file.name.eq_ignore_ascii_case(name))
        })
    }
}

/// Reads the project's folder and the ACPI overrides from the volume that the loader came from.
///
/// # Errors
/// The first file or folder that cannot be read, or a missing file that must be there.
pub fn read_volume() -> Result<Volume, Stop> {
    let system = boot::get_image_file_system(boot::image_handle());
    let mut system = system.map_err(|error| Stop::Volume(error.status()))?;
    let mut root = system
        .open_volume()
        .map_err(|error| Stop::Volume(error.status()))?;
    let files = match open_folder(&mut root, FOLDER) {
        Some(folder) => read_folder(folder, MemoryType::LOADER_DATA)?,
        None => return Err(Stop::Missing("folder portcullis")),
    };
    let mut acpi = Vec::new();
    for name in ACPI_FOLDERS {
        if let Some(folder) = open_folder(&mut root, name) {
            acpi.extend(read_folder(folder, MemoryType::ACPI_RECLAIM)?);
        }
    }
    let volume = Volume { files, acpi };
    for name in [HYPERVISOR, ROOT_AGENT, START_SCRIPT] {
        volume.find(name)?;
    }
    Ok(volume)
}

fn open_folder(root: &mut Directory, name: &CStr16) -> Option<Directory> {
    let handle = root
        .open(name, FileMode::Read, FileAttribute::empty())
        .ok()?;
    handle.into_directory()
}

fn read_folder(mut folder: Directory, memory: MemoryType) -> Result<Vec<File>, Stop> {
    let mut files = Vec::new();
    loop {
        let entry = folder
            .read_entry_boxed()
            .map_err(|error| Stop::Volume(error.status()))?;
        let Some(info) = entry else {
            return Ok(files);
        };
        if !info.attribute().contains(FileAttribute::DIRECTORY) {
            files.push(read_file(&mut folder, &info, memory)?);
        }
    }
}

fn read_file(folder: &mut Directory, info: &FileInfo, memory: MemoryType) -> Result<File, Stop> {
    let name = info.file_name().to_string();
    let handle = folder.open(info.file_name(), FileMode::Read, FileAttribute::empty());
    let file = handle
        .map_err(|error| Stop::File(name.clone(), error.status()))?
        .into_regular_file();
    let mut file = file.ok_or(Stop::File(name.clone(), uefi::Status::UNSUPPORTED))?;
    let size = usize::try_from(info.file_size()).unwrap_or(usize::MAX);
    let pages = size.div_ceil(4096).max(1);
    let start = boot::allocate_pages(AllocateType::AnyPages, memory, pages);
    let start = start.map_err(|error| Stop::File(name.clone(), error.status()))?;
    // SAFETY: the pages were just allocated, are never freed, and nobody else knows them.
    let memory: &'static mut [u8] = unsafe {
        start.as_ptr().write_bytes(0, pages * 4096);
        core::slice::from_raw_parts_mut(start.as_ptr(), size)
    };
    read_all(&mut file, memory).map_err(|status| Stop::File(name.clone(), status))?;
    say(format_args!("{name}: {size} bytes"));
    Ok(File {
        name,
        content: memory,
    })
}

fn read_all(file: &mut RegularFile, memory: &mut [u8]) -> Result<(), uefi::Status> {
    for piece in memory.chunks_mut(PIECE) {
        let mut done = 0;
        while done < piece.len() {
            let count = file
                .read(&mut piece[done..])
                .map_err(|error| error.status())?;
            if count == 0 {
                return Err(uefi::Status::END_OF_FILE);
            }
            done += count;
        }
    }
    Ok(())
}
