//! Places the two programs.

use boot::elf_image::{ElfImage, Protection};
use handoff::{DIRECT_MAP_BASE, Extent, HypervisorImage};
use uefi::boot::{AllocateType, MemoryType};

use super::console::say;
use super::files::{HYPERVISOR, ROOT_AGENT, Volume};
use super::memory::allocate;
use super::stop::Stop;

/// A program in its place.
#[derive(Clone, Copy, Debug)]
pub struct Placed {
    /// Its parts; only `whole` means something for the root agent.
    pub image: HypervisorImage,
    /// Virtual address of the first instruction.
    pub entry: u64,
}

/// Places the hypervisor for the direct map.
///
/// # Errors
/// What is wrong with the file.
pub fn hypervisor(volume: &Volume) -> Result<Placed, Stop> {
    place(volume, HYPERVISOR, DIRECT_MAP_BASE)
}

/// Places the root agent for its identity map.
///
/// # Errors
/// What is wrong with the file.
pub fn root_agent(volume: &Volume) -> Result<Placed, Stop> {
    place(volume, ROOT_AGENT, 0)
}

fn place(volume: &Volume, name: &'static str, base: u64) -> Result<Placed, Stop> {
    let elf =
        ElfImage::parse(volume.find(name)?.content).map_err(|error| Stop::Image(name, error))?;
    let below_4g = AllocateType::MaxAddress(u64::from(u32::MAX));
    let pages = elf.span() / 4096;
    let start = allocate(name, below_4g, MemoryType::LOADER_DATA, pages)?;
    // SAFETY: the pages were just allocated for the image, and nobody else knows them.
    let memory = unsafe { core::slice::from_raw_parts_mut(start as *mut u8, elf.span() as usize) };
    elf.load(memory, base + start)
        .map_err(|error| Stop::Image(name, error))?;
    say(format_args!("{name}: placed at {start:#x}"));
    let at = |extent: Extent| {
        if extent.is_empty() {
            extent
        } else {
            Extent::new(start + extent.start, extent.len)
        }
    };
    let image = HypervisorImage {
        whole: Extent::new(start, elf.span()),
        text: at(elf.extent(Protection::Execute)),
        rodata: at(elf.extent(Protection::Read)),
        relro: at(elf.relro()),
        data: at(elf.extent(Protection::Write)),
    };
    Ok(Placed {
        image,
        entry: base + start + elf.entry(),
    })
}
