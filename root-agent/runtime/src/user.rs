//! Ring 3, for probes of what a guest's own user programs can do to a hypervisor. The program is a few bytes in a page of
//! its own, the one page that is open to it; every exception of it that has no handler brings the VP back.

use core::arch::naked_asm;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::entry::TABLES;
use crate::interrupt::Frame;
use crate::pool::Frames;
use crate::{MAX_VPS, cpu, descriptor, fault, msr};

/// One large page: code at its start, the stack at its end.
const BYTES: u64 = 2 << 20;
const USER: u64 = 1 << 2;
const INTERRUPTS: u64 = 1 << 9;
const NESTED: u64 = 1 << 14;
const SYSCALLS: u64 = 1;

/// The stack pointer to come back to. One per VP.
static SAVED: [AtomicU64; MAX_VPS] = [const { AtomicU64::new(0) }; MAX_VPS];
/// Of the exception that ended the last program: error code, offset in the program, RAX, page-fault address.
static ENDED: [[AtomicU64; 4]; MAX_VPS] = [const { [const { AtomicU64::new(0) }; 4] }; MAX_VPS];

/// What the code of a program is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// 64-bit code.
    Long,
    /// 32-bit code below a 64-bit kernel.
    Compatibility,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct End {
    /// Vector of the exception.
    pub vector: u8,
    /// Its error code; 0 where it has none.
    pub error: u64,
    /// Where it was, from the program's start.
    pub offset: u64,
    /// RAX.
    pub rax: u64,
    /// CR2.
    pub address: u64,
}

/// Room for programs.
#[derive(Debug)]
pub struct User {
    frames: Frames,
}

impl User {
    /// Opens a page to ring 3. One at a time.
    #[must_use]
    pub fn new() -> Option<Self> {
        let frames = Frames::allocate_below(BYTES / 4096, BYTES, 1 << 32)?;
        open(frames.address(), true);
        Some(Self { frames })
    }

    /// Address of the first byte that a program has.
    #[must_use]
    pub const fn address(&self) -> u64 {
        self.frames.address()
    }

    fn stack(&self) -> u64 {
        self.address() + BYTES - 64
    }

    /// Runs a program with these flags set besides the reserved one; RDI is the address of 4096 bytes of its own, RDX
    /// its start. It ends by any exception without a handler.
    #[must_use]
    pub fn run(&self, code: &[u8], mode: Mode, flags: u64) -> End {
        let _ = self.frames.write(0, code);
        let selector = match mode {
            Mode::Long => descriptor::USER_CODE,
            Mode::Compatibility => descriptor::USER_CODE_32,
        };
        self.enter([
            self.address(),
            u64::from(selector),
            flags & !NESTED | 2,
            self.stack(),
            u64::from(descriptor::USER_DATA),
        ])
    }

    /// IRET to an address that no page can have, from ring 0.
    #[must_use]
    pub fn return_nowhere(&self) -> End {
        self.enter([
            1 << 63,
            u64::from(descriptor::USER_CODE),
            2,
            self.stack(),
            u64::from(descriptor::USER_DATA),
        ])
    }

    /// IRET with the flag that says it belongs to a task.
    #[must_use]
    pub fn return_nested(&self) -> End {
        let slot = descriptor::vp_slot();
        let program = [
            self.address(),
            u64::from(descriptor::USER_CODE),
            2,
            self.stack(),
            u64::from(descriptor::USER_DATA),
        ];
        let _ = self.frames.write(0, &[0x0f, 0x0b]);
        // SAFETY: as in `enter`; in 64-bit mode an IRET with the flag set is refused.
        self.guarded(|| unsafe { by_iret(&raw const program, SAVED[slot].as_ptr(), NESTED | 2) })
    }

    /// SYSRET to a program, or with `nowhere` to an address that no page can have.
    #[must_use]
    pub fn sysret(&self, code: &[u8], nowhere: bool) -> End {
        let _ = self.frames.write(0, code);
        let base = u64::from(descriptor::USER_CODE_32) << 48 | u64::from(descriptor::CODE) << 32;
        let efer = msr::read(msr::EFER);
        // SAFETY: both only say what SYSCALL and SYSRET do; nothing else here uses them.
        unsafe {
            msr::write_any(0xc000_0081, base);
            msr::write_any(msr::EFER, efer | SYSCALLS);
        }
        let target = if nowhere { 1 << 63 } else { self.address() };
        let slot = descriptor::vp_slot();
        // SAFETY: the program is in the page that is open to it, and every way out of it leads to `back`.
        self.guarded(|| unsafe { by_sysret(target, SAVED[slot].as_ptr()) })
    }

    fn enter(&self, frame: [u64; 5]) -> End {
        let slot = descriptor::vp_slot();
        // SAFETY: the frame leads to ring 3, where only the open page can be reached, or faults at once; either way
        // the next exception without a handler goes to `back`, which the guard has prepared.
        self.guarded(|| unsafe { by_iret(&raw const frame, SAVED[slot].as_ptr(), 2) })
    }

    fn guarded(&self, go: impl FnOnce()) -> End {
        let on = cpu::interrupts_enabled();
        cpu::disable_interrupts();
        let slot = descriptor::vp_slot();
        let _ = self.frames.write(4096 * 2, &[0; 64]);
        fault::expect_at(back as *const () as u64);
        go();
        let vector = fault::caught().unwrap_or(0);
        if on {
            cpu::enable_interrupts();
        }
        let [error, rip, rax, address] =
            [0, 1, 2, 3].map(|at| ENDED[slot][at].load(Ordering::Relaxed));
        End {
            vector,
            error,
            offset: rip.wrapping_sub(self.address()),
            rax,
            address,
        }
    }
}

impl Drop for User {
    fn drop(&mut self) {
        open(self.address(), false);
    }
}

/// Flags of a program whose interrupts are on.
pub const WITH_INTERRUPTS: u64 = INTERRUPTS;

/// Opens the large page at `address` to ring 3, or closes it, with the entries above it.
fn open(address: u64, on: bool) {
    let entries = TABLES.pointer().cast::<u64>();
    let page = 1024 + (address >> 21) as usize % 2048;
    let table = 512 + (address >> 30) as usize % 4;
    // SAFETY: the indices are inside the tables; ring 0 may do afterwards what it could before.
    unsafe {
        for index in [0, table, page] {
            let entry = entries.add(index);
            let value = entry.read_volatile();
            entry.write_volatile(if on { value | USER } else { value & !USER });
        }
        cpu::set_cr3(cpu::cr3());
    }
}

/// Whether an expected exception goes back to ring 0 by way of `back`; then the frame does.
pub(crate) fn leave(frame: &mut Frame, resume: u64) {
    if resume != back as *const () as u64 {
        return;
    }
    let slot = descriptor::vp_slot();
    let address = fault::page_fault_address();
    let facts = [frame.error, frame.rip, frame.registers[14], address];
    for (place, fact) in ENDED[slot].iter().zip(facts) {
        place.store(fact, Ordering::Relaxed);
    }
    frame.cs = u64::from(descriptor::CODE);
    frame.ss = u64::from(descriptor::DATA);
    frame.rsp = SAVED[slot].load(Ordering::Relaxed);
    frame.rflags = 2;
}

/// To ring 3 by IRET with this frame, the flags being `flags` before it.
#[unsafe(naked)]
unsafe extern "C" fn by_iret(frame: *const [u64; 5], saved: *mut u64, flags: u64) {
    naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "mov [rsi], rsp",
        "mov rcx, rdi",
        "push [rcx + 32]",
        "push [rcx + 24]",
        "push [rcx + 16]",
        "push [rcx + 8]",
        "push [rcx]",
        "push rdx",
        "mov rdx, [rcx]",
        "lea rdi, [rdx + 8192]",
        "popfq",
        "iretq",
    )
}

/// To ring 3 by SYSRET.
#[unsafe(naked)]
unsafe extern "C" fn by_sysret(target: u64, saved: *mut u64) {
    naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "mov [rsi], rsp",
        "mov rcx, rdi",
        "mov r11d, 2",
        "sysretq",
    )
}

/// Where the exception leads: the end of `by_iret` and `by_sysret`.
#[unsafe(naked)]
extern "C" fn back() {
    naked_asm!(
        "pop r15", "pop r14", "pop r13", "pop r12", "pop rbp", "pop rbx", "ret"
    )
}
