//! The first instructions, and what happens before `main`.

use abi::root_info::{MAGIC, RootInfo, range_kind};
use arrayvec::ArrayVec;
use spin::Once;

use crate::boot;
use crate::cell::Shared;
use crate::cmdline::CommandLine;
use crate::exit::{self, Verdict};
use crate::memory::{self, Module, Range};
use crate::{apic, cpu, descriptor, port};

#[cfg(not(test))]
const STACK: usize = 256 << 10;

#[cfg(not(test))]
static STACK_BYTES: Shared<[u8; STACK]> = Shared::new([0; STACK]);
static RSDP: Once<u64> = Once::new();

/// Bytes of heap of the agent.
const AGENT_HEAP: u64 = 16 << 20;
/// Bytes of heap of a payload.
const PAYLOAD_HEAP: u64 = 4 << 20;

/// Physical address of the RSDP; 0 where nobody said.
#[must_use]
pub fn rsdp() -> u64 {
    RSDP.get().copied().unwrap_or(0)
}

#[cfg(not(test))]
unsafe extern "C" {
    /// What `agent!` or `payload!` made.
    fn runtime_main(rdi: u64) -> !;
}

/// First instruction: RDI says where the information is; nothing else is taken as given but 64-bit mode.
#[cfg(not(test))]
#[unsafe(naked)]
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    core::arch::naked_asm!(
        "cli",
        "cld",
        "lea rsp, [rip + {stack} + {size}]",
        "xor ebp, ebp",
        "call {main}",
        "ud2",
        stack = sym STACK_BYTES,
        size = const STACK,
        main = sym runtime_main,
    )
}

/// Begins the root agent.
///
/// # Safety
/// Called once, at the entry, with the value that RDI had.
pub unsafe fn begin_agent(info: u64, main: fn(&'static RootInfo) -> !) -> ! {
    // SAFETY: the hypervisor keeps the structure there, and nothing changes it.
    let info = unsafe { &*(info as *const RootInfo) };
    begin();
    assert!(info.magic == MAGIC, "entered without a RootInfo");
    let ranges = info
        .ranges
        .iter()
        .take(info.range_count as usize)
        .map(|range| Range {
            start: range.start,
            end: range.start.saturating_add(range.length),
            kind: range.kind,
        })
        // Frames at and below the first MiB serve start-up code.
        .map(|range| match range.kind {
            range_kind::FREE => Range {
                start: range.start.max(1 << 20).min(range.end),
                ..range
            },
            _ => range,
        })
        .collect::<ArrayVec<_, { memory::MAX_RANGES }>>();
    let modules = info
        .modules
        .iter()
        .take(info.module_count as usize)
        .filter_map(root_module)
        .collect();
    RSDP.call_once(|| info.rsdp);
    // SAFETY: the hypervisor's map says what is free; called once.
    unsafe { memory::initialise(ranges, modules, AGENT_HEAP) };
    apic::enable();
    main(info)
}

fn root_module(module: &'static abi::root_info::Module) -> Option<Module> {
    let length = module.name.iter().position(|&byte| byte == 0);
    let name = module.name.get(..length.unwrap_or(module.name.len()))?;
    // SAFETY: the loader put the module there; its range is not free, and nothing changes it.
    let bytes = unsafe {
        core::slice::from_raw_parts(
            module.start as *const u8,
            usize::try_from(module.length).ok()?,
        )
    };
    Some(Module {
        name: core::str::from_utf8(name).ok()?,
        bytes: if module.length == 0 { &[] } else { bytes },
        address: module.start,
    })
}

/// Begins a payload.
///
/// # Safety
/// Called once, at the entry, with the value that RDI had; `image` is where the program lies.
pub unsafe fn begin_payload(
    info: u64,
    image: (u64, u64),
    main: fn(CommandLine<'static>) -> Verdict,
) -> ! {
    begin();
    load_tables();
    // SAFETY: the caller's promise.
    let found = unsafe { boot::find(info, image) };
    RSDP.call_once(|| found.rsdp);
    // SAFETY: the map is the guest's; image, modules and command line have been cut out of it.
    unsafe { memory::initialise(found.ranges, found.modules, PAYLOAD_HEAP) };
    if !cpu::has_hypercalls() {
        // Natively the two interrupt controllers of the PC may still be on.
        port::write8(0x21, 0xff);
        port::write8(0xa1, 0xff);
    }
    apic::enable();
    exit::with(main(CommandLine(found.cmdline)))
}

/// Identity map of the first 4 GiB in 2 MiB pages: one table of level 4, one of level 3, four of level 2.
#[doc(hidden)]
pub static TABLES: Shared<[[u64; 512]; 6]> = Shared::new([[0; 512]; 6]);

/// Leaves the page tables that the guest was started with: they may lie in memory that the map calls free.
fn load_tables() {
    const TABLE: u64 = 0b11;
    const LARGE: u64 = 0b1000_0011;
    let base = TABLES.pointer() as u64;
    let entries = TABLES.pointer().cast::<u64>();
    // SAFETY: all indices are inside the six tables. The map is the one that the program runs on already.
    unsafe {
        entries.write((base + 4096) | TABLE);
        for table in 0..4 {
            entries
                .add(512 + table)
                .write((base + 4096 * (2 + table as u64)) | TABLE);
        }
        for page in 0..2048 {
            entries.add(1024 + page).write((page as u64) << 21 | LARGE);
        }
        cpu::set_cr3(base);
    }
}

fn begin() {
    descriptor::build();
    // SAFETY: the tables are built; this is the first VP.
    unsafe { descriptor::load(0) };
}

/// Makes `main: fn(&'static abi::root_info::RootInfo) -> !` the agent's entry.
#[macro_export]
macro_rules! agent {
    ($main:path) => {
        #[unsafe(no_mangle)]
        extern "C" fn runtime_main(info: u64) -> ! {
            // SAFETY: the first instructions call this once, with RDI as it was.
            unsafe { $crate::entry::begin_agent(info, $main) }
        }
    };
}

/// Makes `main: fn(CommandLine<'static>) -> Verdict` a payload's entry, and adds an entry for booting it without a
/// hypervisor (PVH).
#[macro_export]
macro_rules! payload {
    ($main:path) => {
        unsafe extern "C" {
            static __executable_start: u8;
            static _end: u8;
            fn _start() -> !;
        }

        #[unsafe(no_mangle)]
        extern "C" fn runtime_main(info: u64) -> ! {
            let image = (&raw const __executable_start as u64, &raw const _end as u64);
            // SAFETY: the first instructions call this once, with RDI as it was.
            unsafe { $crate::entry::begin_payload(info, image, $main) }
        }

        /// PVH entry: 32-bit protected mode without paging, EBX = start information.
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        extern "C" fn native_start() -> ! {
            ::core::arch::naked_asm!(
                ".pushsection .note.Xen, \"a\", @note",
                ".balign 4",
                ".long 4, 8, 18",
                ".asciz \"Xen\"",
                ".quad native_start",
                ".popsection",
                ".code32",
                "cli",
                "mov edi, offset {tables}",
                "lea eax, [edi + 4096 + 3]",
                "mov [edi], eax",
                "lea eax, [edi + 8192 + 3]",
                "mov ecx, 0",
                "2:",
                "mov [edi + 4096 + ecx * 8], eax",
                "add eax, 4096",
                "inc ecx",
                "cmp ecx, 4",
                "jne 2b",
                "mov eax, 0x83",
                "mov ecx, 0",
                "3:",
                "mov [edi + 8192 + ecx * 8], eax",
                "add eax, 0x200000",
                "inc ecx",
                "cmp ecx, 2048",
                "jne 3b",
                "mov cr3, edi",
                "mov eax, 0x20",
                "mov cr4, eax",
                "mov ecx, 0xc0000080",
                "mov eax, 0x900",
                "xor edx, edx",
                "wrmsr",
                "mov eax, 0x80000011",
                "mov cr0, eax",
                "lgdt [4f]",
                "mov edi, ebx",
                ".byte 0xea",
                ".long {start}",
                ".word 8",
                ".balign 8",
                "5:",
                ".quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff",
                "4:",
                ".word 23",
                ".long 5b",
                ".code64",
                tables = sym $crate::entry::TABLES,
                start = sym _start,
            )
        }
    };
}
