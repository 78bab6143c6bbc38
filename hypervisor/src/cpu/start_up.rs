//! Starts the other processors (Intel SDM volume 3, "MP Initialization Protocol"; AMD APM volume 2, 16.5).
//!
//! They begin in real mode in the page that the loader kept below 1 MiB. Only one at a time finds a stack there: a
//! processor that wakes late, when nobody waits for it, halts.

use core::arch::global_asm;
use core::mem::offset_of;
use core::sync::atomic::Ordering;

use address::ApicId;
use firmware::madt::Madt;
use x86_64::registers::control::{Cr0, Cr4};

use super::per_lp::{self, Lp};
use super::{apic, clock, start_this_processor};
use crate::acpi_tables::Tables;
use crate::facts::Facts;
use crate::memory;

/// What the code below finds at offset [`BLOCK`] of its page.
#[repr(C)]
struct Block {
    gdt: [u64; 4],
    /// Limit and base, as LGDT reads them.
    gdt_limit: u16,
    gdt_base: [u16; 2],
    /// Offset and selector of a far jump.
    far_32: [u16; 3],
    far_64: [u16; 3],
    /// 1: a processor may come in.
    ticket: u32,
    cr0: u32,
    cr3: u32,
    cr4: u32,
    stack: u64,
    lp: u64,
    entry: u64,
}

/// Place of the block, past the code.
const BLOCK: usize = 0x800;

const CODE_32: u16 = 8;
const CODE_64: u16 = 24;
/// Null, flat 32-bit code, flat data, 64-bit code.
const GDT: [u64; 4] = [
    0,
    0x00cf_9b00_0000_ffff,
    0x00cf_9300_0000_ffff,
    0x00af_9b00_0000_ffff,
];

global_asm!(
    ".pushsection .rodata.start_up, \"a\"",
    ".balign 16",
    "start_up_page:",
    ".code16",
    "    cli",
    "    cld",
    "    mov ax, cs",
    "    mov ds, ax",
    // EBX: physical address of the page.
    "    xor ebx, ebx",
    "    mov bx, cs",
    "    shl ebx, 4",
    "    lgdt [{gdt_limit}]",
    "    mov eax, cr0",
    "    or al, 1",
    "    mov cr0, eax",
    // Far jump through memory: the page's address is not known when this is linked.
    "    jmp fword ptr [{far_32}]",
    ".code32",
    "start_up_32:",
    "    mov ax, 16",
    "    mov ds, ax",
    "    mov ss, ax",
    "    mov es, ax",
    // The ticket: only who takes it may go on.
    "    xor eax, eax",
    "    xchg eax, [ebx + {ticket}]",
    "    test eax, eax",
    "    jz 3f",
    "    mov eax, [ebx + {cr4}]",
    "    mov cr4, eax",
    "    mov eax, [ebx + {cr3}]",
    "    mov cr3, eax",
    // EFER: long mode and no-execute.
    "    mov ecx, 0xc0000080",
    "    rdmsr",
    "    or eax, 0x900",
    "    wrmsr",
    "    mov eax, [ebx + {cr0}]",
    "    mov cr0, eax",
    "    jmp fword ptr [ebx + {far_64}]",
    "3:  hlt",
    "    jmp 3b",
    ".code64",
    "start_up_64:",
    "    mov ebx, ebx",
    "    mov rsp, [rbx + {stack}]",
    "    mov rdi, [rbx + {lp}]",
    "    mov rax, [rbx + {entry}]",
    "    xor ebp, ebp",
    "    call rax",
    "    ud2",
    "start_up_page_end:",
    ".popsection",
    gdt_limit = const BLOCK + offset_of!(Block, gdt_limit),
    far_32 = const BLOCK + offset_of!(Block, far_32),
    far_64 = const BLOCK + offset_of!(Block, far_64),
    ticket = const BLOCK + offset_of!(Block, ticket),
    cr0 = const BLOCK + offset_of!(Block, cr0),
    cr3 = const BLOCK + offset_of!(Block, cr3),
    cr4 = const BLOCK + offset_of!(Block, cr4),
    stack = const BLOCK + offset_of!(Block, stack),
    lp = const BLOCK + offset_of!(Block, lp),
    entry = const BLOCK + offset_of!(Block, entry),
);

unsafe extern "C" {
    static start_up_page: u8;
    static start_up_32: u8;
    static start_up_64: u8;
    static start_up_page_end: u8;
}

/// Distance of a symbol from the start of the code.
macro_rules! distance {
    ($name:ident) => {
        (&raw const $name as usize) - (&raw const start_up_page as usize)
    };
}

/// How long a processor has to check in.
const CHECK_IN_US: u64 = 200_000;

/// Starts every usable processor that the MADT names besides this one. Those that do not answer are said and left out.
pub fn start_all(facts: &'static Facts, tables: &Tables, boot: &'static Lp) {
    per_lp::confirm(boot);
    let Some(madt) = tables
        .find(b"APIC")
        .and_then(|bytes| Madt::parse(bytes).ok())
    else {
        log::warn!("no usable MADT: one LP only");
        return;
    };
    let page = Page::prepare(facts);
    let own = apic::id();
    for processor in madt.processors() {
        let Ok(processor) = processor else {
            log::warn!("MADT: cut off or malformed; what came before it counts");
            return;
        };
        let known = (0..per_lp::count()).any(|index| {
            per_lp::get(address::LpIndex(index as u16))
                .is_some_and(|lp| lp.apic_id == processor.apic_id)
        });
        if processor.enabled && processor.apic_id != own && !known {
            start_one(&page, processor.apic_id);
        }
    }
}

fn start_one(page: &Page, id: ApicId) {
    if per_lp::count() as usize >= per_lp::MOST {
        log::warn!("LP with APIC id {} is one too many; it stays off", id.0);
        return;
    }
    let lp = per_lp::create(id);
    page.offer(lp);
    apic::send_init(id);
    clock::wait_us(10_000);
    let checked_in = || lp.checked_in.load(Ordering::Acquire);
    // The second start-up interrupt is for processors that miss the first.
    for wait in [1_000, CHECK_IN_US] {
        apic::send_start_up(id, page.number);
        if clock::wait_until(wait, checked_in) {
            per_lp::confirm(lp);
            return;
        }
    }
    page.withdraw();
    log::warn!("LP with APIC id {} does not start; it stays off", id.0);
}

/// The page, seen through the direct map.
struct Page {
    start: *mut u8,
    number: u8,
}

impl Page {
    fn prepare(facts: &Facts) -> Self {
        let physical = facts.handoff.trampoline;
        let page = Self {
            start: memory::virtual_of(physical),
            number: (physical >> 12) as u8,
        };
        let length = distance!(start_up_page_end).min(BLOCK);
        // SAFETY: the code above is shorter than the place before the block; the page is the hypervisor's.
        unsafe { core::ptr::copy_nonoverlapping(&raw const start_up_page, page.start, length) };
        let base = physical as u32;
        let far = |distance: usize, selector| {
            let target = base + distance as u32;
            [target as u16, (target >> 16) as u16, selector]
        };
        let gdt = base + (BLOCK + offset_of!(Block, gdt)) as u32;
        let block = Block {
            gdt: GDT,
            gdt_limit: size_of_val(&GDT) as u16 - 1,
            gdt_base: [gdt as u16, (gdt >> 16) as u16],
            far_32: far(distance!(start_up_32), CODE_32),
            far_64: far(distance!(start_up_64), CODE_64),
            ticket: 0,
            cr0: Cr0::read_raw() as u32,
            cr3: facts.handoff.page_table as u32,
            cr4: Cr4::read_raw() as u32,
            stack: 0,
            lp: 0,
            entry: arrive as *const () as u64,
        };
        page.put(0, block);
        page
    }

    /// Writes a field of the block, or all of it.
    fn put<T>(&self, field: usize, value: T) {
        // SAFETY: inside the block and aligned as its fields are; a processor reads it only after the ticket is there.
        unsafe {
            self.start
                .add(BLOCK + field)
                .cast::<T>()
                .write_volatile(value)
        };
    }

    /// Lets one processor in, as this LP.
    fn offer(&self, lp: &'static Lp) {
        self.put(offset_of!(Block, stack), lp.stack.as_u64());
        self.put(offset_of!(Block, lp), &raw const *lp as u64);
        core::sync::atomic::fence(Ordering::SeqCst);
        self.put(offset_of!(Block, ticket), 1_u32);
    }

    /// Lets nobody in.
    fn withdraw(&self) {
        self.put(offset_of!(Block, ticket), 0_u32);
    }
}

/// Where a processor arrives in 64-bit mode.
extern "C" fn arrive(lp: &'static Lp) -> ! {
    start_this_processor(lp);
    crate::run::join(lp)
}
