//! The processor dialects: one arm each. No noun of a dialect leaves this folder.

mod svm;

use address::Spa;
use guest::{Event, Exit, Gpr, Reset, Vcpu};

/// Contiguous zeroed frames that [`enable`] takes per LP.
pub const HOST_FRAMES: usize = svm::HOST_FRAMES;

/// Whether this processor can run guests; call once, on the boot LP, before anything else here.
///
/// # Errors
/// A sentence that says what is missing.
pub fn check() -> Result<(), &'static str> {
    svm::check()
}

/// Turns virtualisation on, on the calling LP, with [`HOST_FRAMES`] contiguous zeroed frames from `frames` on that the LP
/// keeps for ever. Call after [`check`] and after the LP's GDT, TR and GS base stand.
pub fn enable(frames: Spa) {
    svm::enable(frames);
}

/// Translation tags (1 to this number, less one) that the processor tells apart.
pub fn tags() -> u32 {
    svm::tags()
}

/// A VP's processor state in the dialect of this machine.
pub enum Vp {
    /// AMD SVM.
    Svm(svm::Svm),
}

/// Hands a call to the arm.
macro_rules! arm {
    ($vp:expr, $svm:ident => $call:expr) => {
        match $vp {
            Vp::Svm($svm) => $call,
        }
    };
}

#[rustfmt::skip]
impl Vcpu for Vp {
    const FRAMES: usize = svm::Svm::FRAMES;

    fn new(frames: &[Spa], slat_root: Spa, tag: u16) -> Self {
        Self::Svm(svm::Svm::new(frames, slat_root, tag))
    }
    #[inline]
    fn enter(&mut self, flush: bool) -> Exit { arm!(self, vp => vp.enter(flush)) }
    fn unpark(&mut self) { arm!(self, vp => vp.unpark()) }
    fn park(&mut self) { arm!(self, vp => vp.park()) }
    #[inline]
    fn gpr(&self, register: Gpr) -> u64 { arm!(self, vp => vp.gpr(register)) }
    #[inline]
    fn set_gpr(&mut self, register: Gpr, value: u64) { arm!(self, vp => vp.set_gpr(register, value)) }
    #[inline]
    fn rip(&self) -> u64 { arm!(self, vp => vp.rip()) }
    #[inline]
    fn advance(&mut self) { arm!(self, vp => vp.advance()) }
    #[inline]
    fn rflags(&self) -> u64 { arm!(self, vp => vp.rflags()) }
    #[inline]
    fn cpl(&self) -> u8 { arm!(self, vp => vp.cpl()) }
    #[inline]
    fn protected_mode(&self) -> bool { arm!(self, vp => vp.protected_mode()) }
    #[inline]
    fn long_mode(&self) -> bool { arm!(self, vp => vp.long_mode()) }
    #[inline]
    fn can_take_interrupt(&self) -> bool { arm!(self, vp => vp.can_take_interrupt()) }
    #[inline]
    fn request_window(&mut self, wanted: bool) { arm!(self, vp => vp.request_window(wanted)) }
    fn request_window_for(&mut self, class: u8) { arm!(self, vp => vp.request_window_for(class)) }
    #[inline]
    fn inject(&mut self, event: Event) { arm!(self, vp => vp.inject(event)) }
    #[inline]
    fn has_pending_event(&self) -> bool { arm!(self, vp => vp.has_pending_event()) }
    #[inline]
    fn task_priority(&self) -> u8 { arm!(self, vp => vp.task_priority()) }
    fn set_task_priority(&mut self, class: u8) { arm!(self, vp => vp.set_task_priority(class)) }
    fn reset(&mut self, to: Reset) { arm!(self, vp => vp.reset(to)) }
    fn register(&self, name: u32) -> Option<u128> { arm!(self, vp => vp.register(name)) }
    fn set_register(&mut self, name: u32, value: u128) -> Result<(), bool> { arm!(self, vp => vp.set_register(name, value)) }
    fn instruction_length(&self) -> u8 { arm!(self, vp => vp.instruction_length()) }
    fn instruction_bytes(&self) -> ([u8; 15], u8) { arm!(self, vp => vp.instruction_bytes()) }
    fn read_msr(&self, index: u32) -> Option<u64> { arm!(self, vp => vp.read_msr(index)) }
    fn write_msr(&mut self, index: u32, value: u64) -> Option<bool> { arm!(self, vp => vp.write_msr(index, value)) }
    fn set_xcr(&mut self, index: u32, value: u64) -> bool { arm!(self, vp => vp.set_xcr(index, value)) }
    #[inline]
    fn host_cpuid(leaf: u32, subleaf: u32) -> [u32; 4] { svm::Svm::host_cpuid(leaf, subleaf) }
    #[inline]
    fn osxsave(&self) -> bool { arm!(self, vp => vp.osxsave()) }
}
