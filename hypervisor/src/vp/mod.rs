//! The processor dialects: one arm each. No noun of a dialect leaves this folder.

mod extended;
mod svm;
mod vmx;

use address::Spa;
use guest::apic::{LocalApic, Posted};
use guest::{Event, Exit, Gpr, Reset, Vcpu};
use paging::SlatKind;
use spin::Once;

use crate::cpu::per_lp;

/// Contiguous zeroed frames that [`enable`] takes per LP.
pub const HOST_FRAMES: usize = most(svm::HOST_FRAMES, vmx::HOST_FRAMES);

const fn most(a: usize, b: usize) -> usize {
    if a > b { a } else { b }
}

/// Which dialect this machine speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Dialect {
    Svm,
    Vmx,
}

static DIALECT: Once<Dialect> = Once::new();

fn dialect() -> Dialect {
    DIALECT.get().copied().unwrap_or(Dialect::Svm)
}

/// The processor's answer to CPUID.
#[inline]
fn cpuid(leaf: u32, subleaf: u32) -> [u32; 4] {
    let answer = raw_cpuid::native_cpuid::cpuid_count(leaf, subleaf);
    [answer.eax, answer.ebx, answer.ecx, answer.edx]
}

/// Whether this processor can run guests, and in which dialect; call once, on the boot LP, before anything else here.
///
/// # Errors
/// A sentence that says what is missing.
pub fn check() -> Result<(), &'static str> {
    let dialect = if has_vmx() {
        vmx::check()?;
        Dialect::Vmx
    } else if has_svm() {
        svm::check()?;
        Dialect::Svm
    } else {
        return Err("the processor has neither AMD SVM nor Intel VMX");
    };
    extended::check()?;
    DIALECT.call_once(|| dialect);
    Ok(())
}

/// Whether a VP that begins a turn on this LP has to forget the translations of its tag first.
fn begins_anew(tag: u16, structure: Spa, new: bool) -> bool {
    per_lp::current().is_none_or(|lp| lp.users.begin(tag, structure, new))
}

fn has_vmx() -> bool {
    const VMX: u32 = 1 << 5;
    cpuid(1, 0)[2] & VMX != 0
}

fn has_svm() -> bool {
    const SVM: u32 = 1 << 2;
    cpuid(0x8000_0000, 0)[0] >= 0x8000_0001 && cpuid(0x8000_0001, 0)[2] & SVM != 0
}

/// Turns virtualisation on, on the calling LP, with [`HOST_FRAMES`] contiguous zeroed frames from `frames` on that the LP
/// keeps for ever. Call after [`check`] and after the LP's GDT, TR and GS base stand.
///
/// # Errors
/// A sentence that says why this LP refuses.
pub fn enable(frames: Spa) -> Result<(), &'static str> {
    extended::enable();
    match dialect() {
        Dialect::Svm => svm::enable(frames),
        Dialect::Vmx => vmx::enable(frames)?,
    }
    Ok(())
}

/// Translation tags (1 to this number, less one) that the processor tells apart.
pub fn tags() -> u32 {
    match dialect() {
        Dialect::Svm => svm::tags(),
        Dialect::Vmx => vmx::TAGS,
    }
}

/// Whether guests are left by themselves at their LP's deadline ([`clock::deadline`](crate::cpu::clock::deadline)).
#[inline]
pub fn has_timer() -> bool {
    match dialect() {
        Dialect::Svm => false,
        Dialect::Vmx => vmx::has_timer(),
    }
}

/// Whether a guest takes interrupts that were left for it by itself when [`NOTIFY`](crate::cpu::apic::vector::NOTIFY) comes.
pub fn takes_posts() -> bool {
    match dialect() {
        Dialect::Svm => false,
        Dialect::Vmx => vmx::takes_posts(),
    }
}

/// The format of the tables that [`Vcpu::new`] takes the root of.
pub fn slat_kind() -> SlatKind {
    match dialect() {
        Dialect::Svm => SlatKind::Nested,
        Dialect::Vmx => SlatKind::Extended,
    }
}

/// The instruction of a hypercall, and a return.
pub fn hypercall_code() -> &'static [u8] {
    match dialect() {
        Dialect::Svm => &svm::HYPERCALL,
        Dialect::Vmx => &vmx::HYPERCALL,
    }
}

/// A VP's processor state in the dialect of this machine.
#[expect(
    clippy::large_enum_variant,
    reason = "a machine has one dialect, and nothing may be allocated for a VP but its frames"
)]
pub enum Vp {
    /// AMD SVM.
    Svm(svm::Svm),
    /// Intel VMX.
    Vmx(vmx::Vmx),
}

/// Hands a call to the arm.
macro_rules! arm {
    ($vp:expr, $arm:ident => $call:expr) => {
        match $vp {
            Vp::Svm($arm) => $call,
            Vp::Vmx($arm) => $call,
        }
    };
}

// What every exit asks is always inline: with two arms a call costs more than the choice and the access together, and the
// compiler, which is told to keep text small, would rather call.
#[rustfmt::skip]
#[expect(clippy::inline_always, reason = "the cost of an exit is measured")]
impl Vcpu for Vp {
    const FRAMES: usize = most(svm::Svm::FRAMES, vmx::Vmx::FRAMES);

    fn new(frames: &[Spa], slat_root: Spa, tag: u16) -> Self {
        match dialect() {
            Dialect::Svm => Self::Svm(svm::Svm::new(&frames[..svm::Svm::FRAMES], slat_root, tag)),
            Dialect::Vmx => Self::Vmx(vmx::Vmx::new(&frames[..vmx::Vmx::FRAMES], slat_root, tag)),
        }
    }
    #[inline(always)]
    fn enter(&mut self, flush: bool) { arm!(self, vp => vp.enter(flush)) }
    #[inline(always)]
    fn exit(&mut self) -> Exit { arm!(self, vp => vp.exit()) }
    fn unpark(&mut self) { arm!(self, vp => vp.unpark()) }
    fn park(&mut self) { arm!(self, vp => vp.park()) }
    #[inline(always)]
    fn gpr(&self, register: Gpr) -> u64 { arm!(self, vp => vp.gpr(register)) }
    #[inline(always)]
    fn set_gpr(&mut self, register: Gpr, value: u64) { arm!(self, vp => vp.set_gpr(register, value)) }
    #[inline]
    fn rip(&self) -> u64 { arm!(self, vp => vp.rip()) }
    fn advance(&mut self) { arm!(self, vp => vp.advance()) }
    #[inline(always)]
    fn advance_over(&mut self, plain: u8) { arm!(self, vp => vp.advance_over(plain)) }
    fn advance_by(&mut self, length: u8) { arm!(self, vp => vp.advance_by(length)) }
    #[inline(always)]
    fn rflags(&self) -> u64 { arm!(self, vp => vp.rflags()) }
    #[inline(always)]
    fn cpl(&self) -> u8 { arm!(self, vp => vp.cpl()) }
    #[inline(always)]
    fn protected_mode(&self) -> bool { arm!(self, vp => vp.protected_mode()) }
    #[inline(always)]
    fn long_mode(&self) -> bool { arm!(self, vp => vp.long_mode()) }
    #[inline(always)]
    fn can_take_interrupt(&self) -> bool { arm!(self, vp => vp.can_take_interrupt()) }
    #[inline]
    fn request_window(&mut self, wanted: bool) { arm!(self, vp => vp.request_window(wanted)) }
    fn request_window_for(&mut self, class: u8) { arm!(self, vp => vp.request_window_for(class)) }
    #[inline]
    fn inject(&mut self, event: Event) { arm!(self, vp => vp.inject(event)) }
    #[inline(always)]
    fn has_pending_event(&self) -> bool { arm!(self, vp => vp.has_pending_event()) }
    #[inline(always)]
    fn task_priority(&self) -> u8 { arm!(self, vp => vp.task_priority()) }
    fn set_task_priority(&mut self, class: u8) { arm!(self, vp => vp.set_task_priority(class)) }
    #[inline(always)]
    fn serves_interrupts(&self) -> bool { arm!(self, vp => vp.serves_interrupts()) }
    fn serve(&mut self, apic: &mut LocalApic) { arm!(self, vp => vp.serve(apic)) }
    fn hand_over(&mut self, apic: &mut LocalApic) { arm!(self, vp => vp.hand_over(apic)) }
    fn take_back(&mut self, apic: &mut LocalApic) { arm!(self, vp => vp.take_back(apic)) }
    fn post_to(&mut self, posted: &Posted) { arm!(self, vp => vp.post_to(posted)) }
    fn holds_interrupt(&self) -> bool { arm!(self, vp => vp.holds_interrupt()) }
    fn reset(&mut self, to: Reset) { arm!(self, vp => vp.reset(to)) }
    fn register(&self, name: u32) -> Option<u128> { arm!(self, vp => vp.register(name)) }
    fn set_register(&mut self, name: u32, value: u128) -> Result<(), bool> { arm!(self, vp => vp.set_register(name, value)) }
    fn can_enter(&self) -> bool { arm!(self, vp => vp.can_enter()) }
    fn instruction_length(&self) -> u8 { arm!(self, vp => vp.instruction_length()) }
    fn instruction_bytes(&self) -> ([u8; 15], u8) { arm!(self, vp => vp.instruction_bytes()) }
    fn read_msr(&self, index: u32) -> Option<u64> { arm!(self, vp => vp.read_msr(index)) }
    fn write_msr(&mut self, index: u32, value: u64) -> Option<bool> { arm!(self, vp => vp.write_msr(index, value)) }
    fn set_xcr(&mut self, index: u32, value: u64) -> bool { arm!(self, vp => vp.set_xcr(index, value)) }
    #[inline]
    fn host_cpuid(leaf: u32, subleaf: u32) -> [u32; 4] { cpuid(leaf, subleaf) }
    #[inline(always)]
    fn osxsave(&self) -> bool { arm!(self, vp => vp.osxsave()) }
}
