//! Processor instructions: identification, time stamps, interrupts on and off, waiting.

use core::arch::asm;
use core::arch::x86_64::__cpuid_count;

/// The four registers of a CPUID leaf.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cpuid {
    /// EAX.
    pub eax: u32,
    /// EBX.
    pub ebx: u32,
    /// ECX.
    pub ecx: u32,
    /// EDX.
    pub edx: u32,
}

/// Reads a CPUID leaf.
#[must_use]
pub fn cpuid(leaf: u32, subleaf: u32) -> Cpuid {
    #[allow(unused_unsafe, reason = "safe on newer compilers")]
    // SAFETY: every x86-64 processor has CPUID.
    let r = unsafe { __cpuid_count(leaf, subleaf) };
    Cpuid {
        eax: r.eax,
        ebx: r.ebx,
        ecx: r.ecx,
        edx: r.edx,
    }
}

/// Time stamp counter, after all earlier loads.
#[must_use]
pub fn tsc() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reads a counter.
    unsafe {
        asm!("lfence", "rdtsc", out("eax") low, out("edx") high, options(nostack, preserves_flags))
    };
    u64::from(high) << 32 | u64::from(low)
}

/// Whether interrupts are on.
#[must_use]
pub fn interrupts_enabled() -> bool {
    let flags: u64;
    // SAFETY: reads the flags through the stack.
    unsafe { asm!("pushfq", "pop {}", out(reg) flags, options(preserves_flags)) };
    flags & 1 << 9 != 0
}

/// Turns interrupts on.
pub fn enable_interrupts() {
    // SAFETY: the handlers are installed before any program's `main` runs.
    unsafe { asm!("sti", options(nostack)) };
}

/// Turns interrupts off.
pub fn disable_interrupts() {
    // SAFETY: changes nothing but when handlers run.
    unsafe { asm!("cli", options(nostack)) };
}

/// Runs `f` with interrupts off, and restores them.
pub fn without_interrupts<T>(f: impl FnOnce() -> T) -> T {
    // Host tests run in user mode, where there is nothing to turn off.
    if cfg!(test) {
        return f();
    }
    let on = interrupts_enabled();
    disable_interrupts();
    let result = f();
    if on {
        enable_interrupts();
    }
    result
}

/// Turns interrupts on and waits for one, without a gap between the two.
pub fn wait_for_interrupt() {
    // SAFETY: as `enable_interrupts`; HLT waits.
    unsafe { asm!("sti", "hlt", options(nostack)) };
}

/// Waits for an interrupt unless `ready` says there is no need to; `ready` is asked with interrupts off, so that
/// an interrupt that changes its answer is not missed. Interrupts are on afterwards.
pub fn wait_unless(ready: impl FnOnce() -> bool) {
    disable_interrupts();
    if ready() {
        enable_interrupts();
    } else {
        wait_for_interrupt();
    }
}

/// Stops this VP for good: HLT with interrupts off.
pub fn halt_forever() -> ! {
    loop {
        // SAFETY: nothing runs here any more.
        unsafe { asm!("cli", "hlt", options(nostack)) };
    }
}

/// Turns interrupts on and off again, for ever: none is ever taken, because STI takes effect after the instruction that
/// follows.
pub fn spin_in_shadow() -> ! {
    // SAFETY: takes no interrupt and touches nothing.
    unsafe { asm!("2: sti", "cli", "jmp 2b", options(nostack, nomem, noreturn)) }
}

/// Tells the processor that this is a spin loop.
pub fn pause() {
    core::hint::spin_loop();
}

/// Page-table root.
#[must_use]
pub(crate) fn cr3() -> u64 {
    let value: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cr3", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Loads a page-table root.
///
/// # Safety
/// The tables map everything that the program uses where it is.
pub(crate) unsafe fn set_cr3(value: u64) {
    // SAFETY: the caller's promise.
    unsafe { asm!("mov cr3, {}", in(reg) value, options(nostack, preserves_flags)) };
}

/// CR0.
#[must_use]
pub(crate) fn cr0() -> u64 {
    let value: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cr0", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// CR4.
#[must_use]
pub(crate) fn cr4() -> u64 {
    let value: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cr4", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Whether the processor is of the kind whose hypercall instruction is VMMCALL.
#[must_use]
pub fn is_amd() -> bool {
    let id = cpuid(0, 0);
    // "AuthenticAMD" and "HygonGenuine".
    matches!(id.ebx, 0x6874_7541 | 0x6f67_7948)
}

/// Whether a hypervisor with this project's interface is below.
#[must_use]
pub fn has_hypercalls() -> bool {
    // "Microsoft Hv", which the interface prescribes.
    let vendor = cpuid(0x4000_0000, 0);
    cpuid(1, 0).ecx >> 31 == 1
        && (vendor.ebx, vendor.ecx, vendor.edx) == (0x7263_694d, 0x666f_736f, 0x7648_2074)
}
