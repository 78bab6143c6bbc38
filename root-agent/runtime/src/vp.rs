//! Further VPs: each with its own stack, descriptor tables shared with the first.

use core::arch::naked_asm;
use core::sync::atomic::{AtomicBool, Ordering};

use abi::vp::{Context, Segment, StartVp, Table};
use abi::{Call, Status};

use crate::pool::Frames;
use crate::{MAX_VPS, apic, cpu, descriptor, hypercall, msr};

/// Pages of the stack of a VP.
const STACK_PAGES: u64 = 32;
/// Page of the first MiB that real-mode starts use.
const TRAMPOLINE_PAGE: u8 = 8;
const TRAMPOLINE: u64 = TRAMPOLINE_PAGE as u64 * 4096;
/// TSC ticks that a VP gets to come up.
const PATIENCE: u64 = 5_000_000_000;

/// What a VP runs: a function that gets the VP's index. When it returns, the VP halts.
pub type Entry = fn(u32);

static STARTED: [AtomicBool; MAX_VPS] = [const { AtomicBool::new(false) }; MAX_VPS];

/// Index of this VP in the runtime's own tables: 0 for the first, else what it was started with.
#[must_use]
pub fn index() -> u32 {
    descriptor::vp_slot() as u32
}

/// Whether the VP with this index has begun.
#[must_use]
pub fn has_started(index: u32) -> bool {
    STARTED
        .get(index as usize)
        .is_some_and(|started| started.load(Ordering::Acquire))
}

/// Starts VP `index` of the own partition by StartVirtualProcessor. It begins with interrupts off.
pub fn start(index: u32, entry: Entry) -> Result<(), Status> {
    let stack = prepare_stack(index, entry)?;
    let input = StartVp {
        partition: u64::MAX,
        vp: index,
        vtl: 0,
        reserved: [0; 3],
        context: context(enter as *const () as u64, stack),
    };
    hypercall::call(Call::StartVirtualProcessor, &input)
}

/// Starts the VP with this APIC id as VP `index` by INIT and start-up IPIs, as on hardware; waits until it has begun.
/// One at a time.
pub fn start_by_ipi(apic_id: u32, index: u32, entry: Entry) -> Result<(), Status> {
    let stack = prepare_stack(index, entry)?;
    write_trampoline(stack);
    apic::send_init(apic_id);
    wait_ticks(PATIENCE / 500);
    for _ in 0..2 {
        apic::send_startup(apic_id, TRAMPOLINE_PAGE);
        let end = cpu::tsc().saturating_add(PATIENCE);
        while cpu::tsc() < end {
            if has_started(index) {
                return Ok(());
            }
            cpu::pause();
        }
    }
    Err(Status::TIME_OUT)
}

fn wait_ticks(ticks: u64) {
    let end = cpu::tsc().saturating_add(ticks);
    while cpu::tsc() < end {
        cpu::pause();
    }
}

/// A stack with the entry function and the index on top.
fn prepare_stack(index: u32, entry: Entry) -> Result<u64, Status> {
    if index == 0 || index as usize >= MAX_VPS || has_started(index) {
        return Err(Status::INVALID_VP_INDEX);
    }
    let frames = Frames::allocate_below(STACK_PAGES, 4096, 1 << 32)
        .ok_or(Status::INSUFFICIENT_ROOT_MEMORY)?;
    let top = frames.bytes() - 16;
    let stack = frames.address() + top;
    frames
        .write_u64(top, entry as *const () as u64)
        .and_then(|()| frames.write_u64(top + 8, u64::from(index)))
        .map_err(|_| Status::INVALID_PARAMETER)?;
    // The VP keeps its stack for ever.
    frames.lend();
    Ok(stack)
}

fn segment(selector: u16, attributes: u16) -> Segment {
    Segment {
        base: 0,
        limit: 0xffff_ffff,
        selector,
        attributes,
    }
}

fn context(rip: u64, rsp: u64) -> Context {
    let data = segment(descriptor::DATA, 0xc093);
    let task = Segment {
        base: 0,
        limit: 0xffff,
        selector: 0,
        attributes: 0x8b,
    };
    let local = Segment {
        attributes: 0x82,
        ..task
    };
    let gdt = descriptor::gdt_pointer();
    let idt = descriptor::idt_pointer();
    let table = |limit, base| Table {
        pad: [0; 3],
        limit,
        base,
    };
    let code = segment(descriptor::CODE, 0xa09b);
    Context {
        rip,
        rsp,
        rflags: 2,
        segments: [code, data, data, data, data, data, task, local],
        idtr: table(idt.limit, idt.base),
        gdtr: table(gdt.limit, gdt.base),
        efer: msr::read(msr::EFER),
        cr0: cpu::cr0(),
        cr3: cpu::cr3(),
        cr4: cpu::cr4(),
        pat: msr::read(msr::PAT),
    }
}

/// First instruction of a VP: entry function and index are on its stack.
#[unsafe(naked)]
extern "C" fn enter() {
    naked_asm!(
        "pop rdi",
        "pop rsi",
        "xor ebp, ebp",
        "call {begin}",
        "ud2",
        begin = sym begin,
    )
}

extern "C" fn begin(entry: u64, index: u64) -> ! {
    // SAFETY: `prepare_stack` checked the index, and gave it to one VP only.
    unsafe { descriptor::load(index as usize) };
    apic::enable();
    if let Some(started) = STARTED.get(index as usize) {
        started.store(true, Ordering::Release);
    }
    // SAFETY: `prepare_stack` stored an `Entry`.
    let entry = unsafe { core::mem::transmute::<*const (), Entry>(entry as *const ()) };
    entry(index as u32);
    cpu::halt_forever()
}

const PARAMETERS: u64 = TRAMPOLINE + 0xf00;

/// From real mode to `enter`. The page holds at F00h: CR3, stack, first instruction, GDT operand.
#[unsafe(naked)]
extern "C" fn trampoline() {
    naked_asm!(
        ".code16",
        "40:",
        "cli",
        "xor ax, ax",
        "mov ds, ax",
        "mov eax, dword ptr [{parameters}]",
        "mov cr3, eax",
        "mov eax, 0x20",
        "mov cr4, eax",
        "mov ecx, 0xc0000080",
        "mov eax, 0x900",
        "xor edx, edx",
        "wrmsr",
        ".byte 0x66",
        "lgdt [{parameters} + 24]",
        "mov eax, 0x80000011",
        "mov cr0, eax",
        ".byte 0x66, 0xea",
        ".long {page} + (41f - 40b)",
        ".word 8",
        ".code64",
        "41:",
        "mov ax, 16",
        "mov ds, ax",
        "mov es, ax",
        "mov ss, ax",
        "mov ecx, {parameters}",
        "mov rsp, [rcx + 8]",
        "jmp [rcx + 16]",
        parameters = const PARAMETERS,
        page = const TRAMPOLINE,
    )
}

fn write_trampoline(stack: u64) {
    let gdt = descriptor::gdt_pointer();
    let words = [
        (0, cpu::cr3()),
        (8, stack),
        (16, enter as *const () as u64),
        (24, u64::from(gdt.limit) | gdt.base << 16),
        (32, gdt.base >> 48),
    ];
    // SAFETY: the first MiB is in no pool; the page is ordinary RAM there and holds nothing of this program. The
    // trampoline is shorter than F00h bytes, and what follows it in the image is readable.
    unsafe {
        crate::pool::copy(trampoline as *const u8, TRAMPOLINE as *mut u8, 256);
        for (offset, value) in words {
            ((PARAMETERS + offset) as *mut u64).write_volatile(value);
        }
    }
}
