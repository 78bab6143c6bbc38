//! Instructions that may fault: the fault is an answer, not the end.

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::interrupt::Frame;
use crate::{MAX_VPS, descriptor, user};

/// #UD, invalid opcode.
pub const INVALID_OPCODE: u8 = 6;
/// #GP, general protection.
pub const GENERAL_PROTECTION: u8 = 13;
/// #DB, debug.
pub const DEBUG: u8 = 1;
/// NMI.
pub const NMI: u8 = 2;
/// #AC, alignment check.
pub const ALIGNMENT: u8 = 17;
/// #PF, page fault.
pub const PAGE_FAULT: u8 = 14;

/// Where to go on after a fault, 0 when none is expected. One per VP.
static RESUME: [AtomicU64; MAX_VPS] = [const { AtomicU64::new(0) }; MAX_VPS];
/// Vector of the fault that was caught, plus 1.
static CAUGHT: [AtomicU64; MAX_VPS] = [const { AtomicU64::new(0) }; MAX_VPS];

/// Moves the frame on to where an expected fault goes on; false when none is expected.
pub(crate) fn recover(frame: &mut Frame) -> bool {
    let slot = descriptor::vp_slot();
    let resume = RESUME[slot].swap(0, Ordering::Relaxed);
    if resume == 0 {
        return false;
    }
    CAUGHT[slot].store(frame.vector + 1, Ordering::Relaxed);
    user::leave(frame, resume);
    frame.rip = resume;
    true
}

/// The next fault goes on at this address.
pub(crate) fn expect_at(address: u64) {
    RESUME[descriptor::vp_slot()].store(address, Ordering::Relaxed);
}

/// The fault that was caught, once.
pub(crate) fn caught() -> Option<u8> {
    let vector = CAUGHT[descriptor::vp_slot()].swap(0, Ordering::Relaxed);
    vector.checked_sub(1).map(|vector| vector as u8)
}

/// Ends a guarded instruction: the vector of its fault, if it had one.
pub(crate) fn outcome() -> Result<(), u8> {
    caught().map_or(Ok(()), Err)
}

pub(crate) fn slot() -> *mut u64 {
    RESUME[descriptor::vp_slot()].as_ptr()
}

/// CR2.
pub(crate) fn page_fault_address() -> u64 {
    let value;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cr2", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Reads an MSR; `Err` holds the vector of the fault.
pub fn read_msr(msr: u32) -> Result<u64, u8> {
    let (low, high): (u32, u32);
    // SAFETY: as `msr::read`; a fault goes on at label 2.
    unsafe {
        asm!("lea {t}, [rip + 2f]", "mov [{s}], {t}", "rdmsr", "2:", "mov qword ptr [{s}], 0",
            t = out(reg) _, s = in(reg) slot(), in("ecx") msr, inout("eax") 0 => low, inout("edx") 0 => high);
    }
    outcome().map(|()| u64::from(high) << 32 | u64::from(low))
}

/// Writes an MSR and, where that was accepted, writes its old value back if it can be read; `Err` holds the vector of
/// the fault. For probes of MSRs that a guest must not reach: whatever is accepted and changes how this program runs
/// may end it.
pub fn write_msr(msr: u32, value: u64) -> Result<(), u8> {
    let old = read_msr(msr);
    try_write(msr, value)?;
    match old {
        Ok(old) => try_write(msr, old),
        Err(_) => Ok(()),
    }
}

/// The same, and the new value stays.
pub(crate) fn try_write(msr: u32, value: u64) -> Result<(), u8> {
    // SAFETY: a fault goes on at label 2; what an accepted write means is the caller's experiment, which the MSRs
    // that this program depends on are not part of (`write_msr` restores what it can).
    unsafe {
        asm!("lea {t}, [rip + 2f]", "mov [{s}], {t}", "wrmsr", "2:", "mov qword ptr [{s}], 0",
            t = out(reg) _, s = in(reg) slot(), in("ecx") msr, in("eax") value as u32, in("edx") (value >> 32) as u32);
    }
    outcome()
}

/// Writes a register of the local APIC; `Err` holds the vector of the fault. Others are not written.
pub fn write_apic(msr: u32, value: u64) -> Result<(), u8> {
    if matches!(msr, 0x800..=0x8ff) {
        try_write(msr, value)
    } else {
        Ok(())
    }
}

/// Goes on at an address where nothing is: does not come back.
pub fn jump_nowhere(address: u64) -> ! {
    if crate::memory::overlaps_ram(address, address.saturating_add(4096)) {
        triple();
    }
    // SAFETY: nothing of this program runs on this VP any more.
    unsafe { asm!("jmp {}", in(reg) address, options(noreturn)) };
}

/// Moves `count` bytes between memory and a port by one string instruction, forwards. `Err` holds the vector of the fault.
pub fn port_string(port: u16, bytes: &mut [u8], write: bool) -> Result<(), u8> {
    let (start, count) = (bytes.as_mut_ptr(), bytes.len());
    // SAFETY: the instruction reads or writes the slice and no more.
    unsafe {
        if write {
            asm!("lea {t}, [rip + 2f]", "mov [{s}], {t}", "rep outsb", "2:", "mov qword ptr [{s}], 0", t = out(reg) _,
                s = in(reg) slot(), in("dx") port, inout("rsi") start => _, inout("rcx") count => _);
        } else {
            asm!("lea {t}, [rip + 2f]", "mov [{s}], {t}", "rep insb", "2:", "mov qword ptr [{s}], 0", t = out(reg) _,
                s = in(reg) slot(), in("dx") port, inout("rdi") start => _, inout("rcx") count => _);
        }
    }
    outcome()
}

/// WBINVD.
pub fn write_back() {
    // SAFETY: changes no memory as seen by this program.
    unsafe { asm!("wbinvd", options(nostack)) };
}

/// INVLPG with any address.
pub fn forget_page(address: u64) -> Result<(), u8> {
    // SAFETY: drops a translation, which the tables still have.
    unsafe {
        asm!("lea {t}, [rip + 2f]", "mov [{s}], {t}", "invlpg [{a}]", "2:", "mov qword ptr [{s}], 0", t = out(reg) _,
            s = in(reg) slot(), a = in(reg) address);
    }
    outcome()
}

/// Reads four bytes at any address that is not this program's; `Err` holds the vector of the fault.
pub fn read_anywhere(address: u64) -> Result<u32, u8> {
    let value: u32;
    // SAFETY: reads, and a fault goes on at label 2.
    unsafe {
        asm!("lea {t}, [rip + 2f]", "mov [{s}], {t}", "mov {v:e}, [{a}]", "2:", "mov qword ptr [{s}], 0",
            t = out(reg) _, s = in(reg) slot(), a = in(reg) address, v = out(reg) value);
    }
    outcome().map(|()| value)
}

/// Ends this VP by a triple fault: no gate is left for any exception.
pub fn triple() -> ! {
    let none = descriptor::TablePointer { limit: 0, base: 0 };
    // SAFETY: nothing of this program runs on this VP any more.
    unsafe { asm!("cli", "lidt [{}]", "ud2", in(reg) &raw const none, options(noreturn)) };
}

macro_rules! instructions {
    ($($(#[$doc:meta])* $name:ident $text:literal = $($line:literal),+;)*) => {
        /// Instructions that a guest must not get through with.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum Instruction { $($(#[$doc])* $name,)* }

        impl Instruction {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Mnemonic.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }

        /// Executes the instruction with RAX, RCX and RDX 0 and memory operands on scratch memory; `Err` holds the
        /// vector of the fault.
        pub fn execute(instruction: Instruction) -> Result<(), u8> {
            let mut scratch = [0_u64; 16];
            match instruction {
                // SAFETY: a fault goes on at label 2. Where the processor lets one through, this guest's own state
                // is all that it can harm: that is what the probe finds out.
                $(Instruction::$name => unsafe {
                    asm!("lea {t}, [rip + 2f]", "mov [{s}], {t}", $($line,)+ "2:", "mov qword ptr [{s}], 0",
                        t = out(reg) _, s = in(reg) slot(), in("rdi") scratch.as_mut_ptr(),
                        inout("rax") 0_u64 => _, inout("rcx") 0_u64 => _, inout("rdx") 0_u64 => _);
                },)*
            }
            outcome()
        }
    };
}

instructions! {
    /// SVM: runs a guest.
    Vmrun "VMRUN" = "vmrun rax";
    /// SVM: loads state.
    Vmload "VMLOAD" = "vmload rax";
    /// SVM: saves state.
    Vmsave "VMSAVE" = "vmsave rax";
    /// SVM: sets the global interrupt flag.
    Stgi "STGI" = "stgi";
    /// SVM: clears the global interrupt flag.
    Clgi "CLGI" = "clgi";
    /// SVM: secure start.
    Skinit "SKINIT" = "skinit eax";
    /// SVM: flushes an ASID's address.
    Invlpga "INVLPGA" = "invlpga rax, ecx";
    /// VMX: enters VMX operation.
    Vmxon "VMXON" = "vmxon [rdi]";
    /// VMX: leaves it.
    Vmxoff "VMXOFF" = "vmxoff";
    /// VMX: clears a control structure.
    Vmclear "VMCLEAR" = "vmclear [rdi]";
    /// VMX: loads a control structure.
    Vmptrld "VMPTRLD" = "vmptrld [rdi]";
    /// VMX: stores its address.
    Vmptrst "VMPTRST" = "vmptrst [rdi]";
    /// VMX: reads a field.
    Vmread "VMREAD" = "vmread rax, rcx";
    /// VMX: writes a field.
    Vmwrite "VMWRITE" = "vmwrite rax, rcx";
    /// VMX: enters a guest.
    Vmlaunch "VMLAUNCH" = "vmlaunch";
    /// VMX: enters a guest again.
    Vmresume "VMRESUME" = "vmresume";
    /// VMX: flushes nested translations.
    Invept "INVEPT" = "invept rax, [rdi]";
    /// VMX: flushes tagged translations.
    Invvpid "INVVPID" = "invvpid rax, [rdi]";
    /// VMX: function without an exit.
    Vmfunc "VMFUNC" = ".byte 0x0f, 0x01, 0xd4";
    /// SMX.
    Getsec "GETSEC" = "getsec";
    /// SGX.
    Encls "ENCLS" = ".byte 0x0f, 0x01, 0xcf";
    /// Memory encryption.
    Pconfig "PCONFIG" = ".byte 0x0f, 0x01, 0xc5";
    /// Leaves SMM.
    Rsm "RSM" = "rsm";
    /// Waits for a store.
    Monitor "MONITOR" = "mov rax, rdi", "monitor", "xor eax, eax";
    /// Waits for a store.
    Mwait "MWAIT" = "mwait";
    /// Sets XCR0 without its mandatory bit.
    Xsetbv "XSETBV" = "xsetbv";
}
