//! Writes the hand-over and enters the hypervisor.

use alloc::vec::Vec;
use core::arch::global_asm;
use core::convert::Infallible;

use boot::memory_map::overlay;
use handoff::{
    DIRECT_MAP_BASE, Extent, Framebuffer, Handoff, Kind, Module, NO_MODULE, Range, RootAgent,
};
use uefi::boot::{AllocateType, MemoryType, OpenProtocolAttributes, OpenProtocolParams};
use uefi::proto::console::gop::{GraphicsOutput, PixelFormat};
use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags, Efer, EferFlags};
use zerocopy::IntoBytes;

use super::acpi::Acpi;
use super::clock::Clocks;
use super::console::say;
use super::files::{START_SCRIPT, Volume};
use super::images::Placed;
use super::memory::{Kept, allocate};
use super::processor::Features;
use super::stop::Stop;

const PAGE: u64 = 4096;
/// The boot processor's first stack.
const STACK_BYTES: u64 = 256 << 10;

global_asm!(
    ".pushsection .text.trampoline, \"ax\"",
    "loader_trampoline:",
    "    mov cr3, rcx",
    "    mov rsp, rdx",
    "    mov rdi, r8",
    "    xor ebp, ebp",
    "    jmp r9",
    "loader_trampoline_end:",
    ".popsection",
);

unsafe extern "C" {
    static loader_trampoline: u8;
    static loader_trampoline_end: u8;
}

/// Memory for the hand-over, allocated while firmware still gives some.
#[derive(Debug)]
pub struct Record {
    extent: Extent,
    framebuffer: Framebuffer,
}

/// All that the hand-over is made of.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The final memory map.
    pub map: &'a [Range],
    /// The files.
    pub volume: &'a Volume,
    /// What is kept.
    pub kept: &'a Kept,
    /// The hypervisor.
    pub hypervisor: &'a Placed,
    /// The root agent.
    pub agent: &'a Placed,
    /// ACPI.
    pub acpi: &'a Acpi,
    /// Clocks.
    pub clocks: &'a Clocks,
    /// The processor.
    pub features: &'a Features,
    /// Serial port.
    pub serial: u16,
}

impl Record {
    /// Allocates room for the structure, the modules and a memory map that is cut by all that the loader placed and grows
    /// somewhat when boot services end.
    pub fn prepare(volume: &Volume, kept: &Kept, map: &[Range]) -> Result<Self, Stop> {
        copy_trampoline(kept);
        let ranges = map.len() * 2 + volume.files.len() * 2 + 64;
        let bytes = size_of::<Handoff>()
            + volume.files.len() * size_of::<Module>()
            + ranges * size_of::<Range>();
        let pages = (bytes as u64).div_ceil(PAGE);
        let start = allocate(
            "the hand-over",
            AllocateType::AnyPages,
            MemoryType::LOADER_DATA,
            pages,
        )?;
        Ok(Self {
            extent: Extent::new(start, pages * PAGE),
            framebuffer: framebuffer(),
        })
    }

    /// Writes the hand-over; returns its physical address.
    pub fn fill(&self, facts: &Facts<'_>) -> Result<u64, Stop> {
        let modules: Vec<Module> = facts
            .volume
            .modules()
            .map(|file| Module::new(&file.name, file.extent()))
            .collect();
        let mut ranges = facts.map.to_vec();
        overlay(&mut ranges, &self.placed(facts, &modules)).map_err(Stop::Map)?;
        let modules_at = self.extent.start + size_of::<Handoff>() as u64;
        let ranges_at = modules_at + size_of_val(modules.as_slice()) as u64;
        if ranges_at + size_of_val(ranges.as_slice()) as u64 > self.extent.end() {
            return Err(Stop::MapGrew);
        }
        let handoff = Handoff {
            ranges: ranges_at,
            modules: modules_at,
            range_count: ranges.len() as u32,
            module_count: modules.len() as u32,
            ..self.structure(facts, &modules)
        };
        write(self.extent.start, handoff.as_bytes());
        write(modules_at, modules.as_slice().as_bytes());
        write(ranges_at, ranges.as_slice().as_bytes());
        Ok(self.extent.start)
    }

    /// Everything that the loader placed, for the memory map.
    fn placed(&self, facts: &Facts<'_>, modules: &[Module]) -> Vec<(Extent, Kind)> {
        let kept = facts.kept;
        let mut placed = Vec::from([
            (facts.hypervisor.image.whole, Kind::HypervisorImage),
            (kept.tables, Kind::HypervisorTables),
            (kept.heap, Kind::BootHeap),
            (self.extent, Kind::Handoff),
            (Extent::new(kept.trampoline, PAGE), Kind::Handoff),
            (facts.agent.image.whole, Kind::Root),
            (kept.agent_tables, Kind::Root),
            (Extent::new(kept.agent_info, PAGE), Kind::Root),
        ]);
        placed.extend(modules.iter().map(|module| (module.content, Kind::Root)));
        placed
    }

    fn structure(&self, facts: &Facts<'_>, modules: &[Module]) -> Handoff {
        let script = modules
            .iter()
            .position(|module| module.name().eq_ignore_ascii_case(START_SCRIPT));
        Handoff {
            hypervisor: facts.hypervisor.image,
            boot_heap: facts.kept.heap,
            boot_stack_bytes: STACK_BYTES,
            page_table: facts.kept.page_table,
            trampoline: facts.kept.trampoline,
            root_agent: RootAgent {
                image: facts.agent.image.whole,
                entry: facts.agent.entry,
                page_table: facts.kept.agent_page_table,
                tables: facts.kept.agent_tables,
                info: facts.kept.agent_info,
            },
            rsdp: facts.acpi.rsdp,
            tsc_hz: facts.clocks.tsc_hz,
            apic_timer_hz: facts.clocks.apic_timer_hz,
            framebuffer: self.framebuffer,
            serial_port: facts.serial,
            physical_bits: facts.features.physical_bits as u16,
            start_script: script.map_or(NO_MODULE, |index| index as u32),
            ..Handoff::new()
        }
    }
}

/// Copies bytes into memory that the loader allocated.
fn write(address: u64, bytes: &[u8]) {
    // SAFETY: the callers checked that the bytes lie in the hand-over's pages or the trampoline's page.
    unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), address as *mut u8, bytes.len()) };
}

fn copy_trampoline(kept: &Kept) {
    // SAFETY: the two symbols enclose the code above, far less than a page.
    let code = unsafe {
        let start = &raw const loader_trampoline;
        let end = &raw const loader_trampoline_end;
        core::slice::from_raw_parts(start, end as usize - start as usize)
    };
    write(kept.trampoline, code);
}

/// The screen, where it is a plain array of pixels.
fn framebuffer() -> Framebuffer {
    let Ok(handle) = uefi::boot::get_handle_for_protocol::<GraphicsOutput>() else {
        return Framebuffer::default();
    };
    let params = OpenProtocolParams {
        handle,
        agent: uefi::boot::image_handle(),
        controller: None,
    };
    // SAFETY: only read, at once. Opening it exclusively would take the text console from firmware.
    let screen = unsafe {
        uefi::boot::open_protocol::<GraphicsOutput>(params, OpenProtocolAttributes::GetProtocol)
    };
    let Ok(mut screen) = screen else {
        return Framebuffer::default();
    };
    let info = screen.current_mode_info();
    let format = match info.pixel_format() {
        PixelFormat::Rgb => 0,
        PixelFormat::Bgr => 1,
        _ => return Framebuffer::default(),
    };
    let mut memory = screen.frame_buffer();
    Framebuffer {
        base: memory.as_mut_ptr() as u64,
        len: memory.size() as u64,
        width: info.resolution().0 as u32,
        height: info.resolution().1 as u32,
        stride: info.stride() as u32,
        format,
    }
}

/// Enters the hypervisor.
pub fn hypervisor(kept: &Kept, hypervisor: &Placed, handoff: u64) -> Result<Infallible, Stop> {
    say(format_args!("entering the hypervisor"));
    // SAFETY: both features were checked or are architectural; W^X needs them. PCIDs and global pages would keep
    // firmware's translations alive.
    unsafe {
        Efer::update(|flags| flags.insert(EferFlags::NO_EXECUTE_ENABLE));
        Cr0::update(|flags| flags.insert(Cr0Flags::WRITE_PROTECT));
        Cr4::update(|flags| flags.remove(Cr4Flags::PCID | Cr4Flags::PAGE_GLOBAL));
    }
    // SAFETY: the code in the page takes these four arguments (RCX, RDX, R8, R9: the
    // Microsoft x64 convention) and does not return. The page is identity mapped by firmware's tables and by the new ones.
    unsafe {
        let enter: extern "win64" fn(u64, u64, u64, u64) -> ! =
            core::mem::transmute(kept.trampoline as usize);
        enter(
            kept.page_table,
            DIRECT_MAP_BASE + kept.heap.end(),
            DIRECT_MAP_BASE + handoff,
            hypervisor.entry,
        )
    }
}
