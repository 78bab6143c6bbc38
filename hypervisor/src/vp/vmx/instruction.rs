//! The instructions of VMX (Intel SDM volume 3, "VMX instruction reference").

use core::arch::asm;

use address::Spa;
use guest::vmx::Field;

/// Whether an instruction succeeded: CF and ZF clear. One that did not has changed nothing.
macro_rules! succeeds {
    ($instruction:literal, $($operand:tt)*) => {{
        let failed: u8;
        asm!($instruction, "setbe {failed}", failed = out(reg_byte) failed, $($operand)*, options(nostack));
        failed == 0
    }};
}

/// Enters VMX operation with this region.
///
/// # Safety
/// CR4.VMXE is set, the region a frame that the LP keeps, its first word the revision.
#[must_use]
pub unsafe fn vmxon(region: Spa) -> bool {
    let region = region.as_u64();
    // SAFETY: by the caller.
    unsafe { succeeds!("vmxon [{region}]", region = in(reg) &raw const region) }
}

/// Writes a control structure back from the processor to its frame, and makes it inactive and not launched.
///
/// # Safety
/// The frame is a control structure; this LP is in VMX operation.
pub unsafe fn vmclear(structure: Spa) -> bool {
    let structure = structure.as_u64();
    // SAFETY: by the caller.
    unsafe { succeeds!("vmclear [{structure}]", structure = in(reg) &raw const structure) }
}

/// Makes a control structure this LP's current one.
///
/// # Safety
/// As [`vmclear`]; no other LP has it active.
pub unsafe fn vmptrld(structure: Spa) -> bool {
    let structure = structure.as_u64();
    // SAFETY: by the caller.
    unsafe { succeeds!("vmptrld [{structure}]", structure = in(reg) &raw const structure) }
}

/// A field of the current control structure; 0 where the processor has no such field.
#[inline]
pub fn vmread(field: Field) -> u64 {
    let mut value = 0_u64;
    // SAFETY: called in VMX operation; reading a field changes nothing, and one that does not exist leaves `value`.
    unsafe {
        asm!("vmread {value}, {field}", value = inout(reg) value, field = in(reg) u64::from(field.0),
            options(nomem, nostack));
    }
    value
}

/// Writes a field of the current control structure; `false` where the processor has no such field.
///
/// # Safety
/// The value keeps the guest inside its partition, and the host's state the hypervisor's.
#[inline]
pub unsafe fn vmwrite(field: Field, value: u64) -> bool {
    // SAFETY: by the caller.
    unsafe {
        succeeds!("vmwrite {field}, {value}", field = in(reg) u64::from(field.0), value = in(reg) value)
    }
}

/// What the two invalidations do, by their types.
#[repr(u64)]
#[derive(Clone, Copy)]
pub enum Scope {
    /// One table, or one tag.
    Single = 1,
    /// All tables, or all tags.
    All = 2,
}

/// Forgets translations that come from the table of an EPT pointer, or from any.
pub fn invept(scope: Scope, pointer: u64) -> bool {
    let descriptor = [pointer, 0];
    // SAFETY: forgetting translations is always allowed; `check` found the instruction.
    unsafe {
        succeeds!("invept {scope}, [{descriptor}]", scope = in(reg) scope as u64,
            descriptor = in(reg) descriptor.as_ptr())
    }
}

/// Forgets translations of a tag, or of any.
pub fn invvpid(scope: Scope, tag: u16) -> bool {
    let descriptor = [u64::from(tag), 0];
    // SAFETY: as above.
    unsafe {
        succeeds!("invvpid {scope}, [{descriptor}]", scope = in(reg) scope as u64,
            descriptor = in(reg) descriptor.as_ptr())
    }
}
