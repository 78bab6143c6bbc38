//! Hypercalls: parameter pages of the calling VP, the instruction, and the result.

use core::arch::asm;
use core::sync::atomic::{AtomicU8, Ordering};

use abi::{Call, CallInput, CallResult, Status, msr};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::cell::Shared;
use crate::{MAX_VPS, cpu, descriptor, fault};

const PAGE: usize = 4096;

#[repr(C, align(4096))]
struct Pages {
    input: [u8; PAGE],
    output: [u8; PAGE],
}

/// Parameter pages, one pair per VP; touched with interrupts off, so that a handler's call does not mix with the one
/// it interrupted.
static PAGES: Shared<[Pages; MAX_VPS]> = Shared::new(
    [const {
        Pages {
            input: [0; PAGE],
            output: [0; PAGE],
        }
    }; MAX_VPS],
);

/// 0 not known, 1 VMMCALL, 2 VMCALL.
static INSTRUCTION: AtomicU8 = AtomicU8::new(0);

/// What a call with repetitions did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Progress {
    /// Elements that are done, from the first of those given.
    pub completed: usize,
    /// Why it stopped; [`Status::SUCCESS`] when all are done.
    pub status: Status,
}

impl Progress {
    /// `Ok` when all is done.
    pub fn result(self) -> Result<(), Status> {
        if self.status == Status::SUCCESS {
            Ok(())
        } else {
            Err(self.status)
        }
    }
}

/// A call without repetitions. `Call::signature` says which structures it takes; `()` stands for none.
pub fn call<I, O>(call: Call, input: &I) -> Result<O, Status>
where
    I: IntoBytes + Immutable,
    O: FromBytes + IntoBytes,
{
    variable(call, input, &[])
}

/// As [`call`], with a variable header after the fixed structure.
pub fn variable<I, O>(call: Call, input: &I, words: &[u64]) -> Result<O, Status>
where
    I: IntoBytes + Immutable,
    O: FromBytes + IntoBytes,
{
    let control =
        CallInput::simple(call as u16).with_variable_header(words.len().min(0x3ff) as u16);
    let mut output = O::new_zeroed();
    let result = raw(
        control,
        &[input.as_bytes(), words.as_bytes()],
        output.as_mut_bytes(),
    );
    match result.status() {
        Status::SUCCESS => Ok(output),
        status => Err(status),
    }
}

/// A call with parameters in registers (those whose signature says `fast`): 16 bytes, no output.
pub fn fast(call: Call, low: u64, high: u64) -> Result<(), Status> {
    match invoke(CallInput::fast(call as u16), low, high).status() {
        Status::SUCCESS => Ok(()),
        status => Err(status),
    }
}

/// A call with a list of input elements. As many calls are made as the list needs; `advance` moves the header on for
/// the call that starts at the given element (to its first page number, say).
pub fn rep_in<H, E>(
    call: Call,
    header: &mut H,
    elements: &[E],
    advance: impl Fn(&mut H, usize),
) -> Progress
where
    H: IntoBytes + Immutable,
    E: IntoBytes + Immutable,
{
    let most = fitting(size_of::<H>(), size_of::<E>());
    let mut completed = 0;
    for part in elements.chunks(most) {
        advance(header, completed);
        let done = rep(call, header, part.as_bytes(), part.len(), &mut []);
        completed += done.completed;
        if done.status != Status::SUCCESS {
            return Progress {
                completed,
                status: done.status,
            };
        }
    }
    Progress {
        completed,
        status: Status::SUCCESS,
    }
}

/// A call that repeats `count` times over a range and has no list; as many calls are made as that needs.
pub fn rep_count<H>(
    call: Call,
    header: &mut H,
    count: usize,
    advance: impl Fn(&mut H, usize),
) -> Progress
where
    H: IntoBytes + Immutable,
{
    let mut completed = 0;
    while completed < count {
        advance(header, completed);
        let part = (count - completed).min(0xfff);
        let done = rep(call, header, &[], part, &mut []);
        completed += done.completed;
        if done.status != Status::SUCCESS {
            return Progress {
                completed,
                status: done.status,
            };
        }
    }
    Progress {
        completed,
        status: Status::SUCCESS,
    }
}

/// One call with a list of output elements, and one of input elements where `inputs` is not empty (both then of the
/// same length; each list has to fit its page).
pub fn rep_out<H, E, O>(call: Call, header: &H, inputs: &[E], outputs: &mut [O]) -> Progress
where
    H: IntoBytes + Immutable,
    E: IntoBytes + Immutable,
    O: FromBytes + IntoBytes + Immutable,
{
    let count = outputs.len();
    rep(
        call,
        header,
        inputs.as_bytes(),
        count,
        outputs.as_mut_bytes(),
    )
}

fn rep<H>(call: Call, header: &H, list: &[u8], count: usize, output: &mut [u8]) -> Progress
where
    H: IntoBytes + Immutable,
{
    let Some(repetitions) = u16::try_from(count).ok().filter(|&n| n <= 0xfff) else {
        return Progress {
            completed: 0,
            status: Status::INVALID_HYPERCALL_INPUT,
        };
    };
    let control = CallInput::rep(call as u16, repetitions, 0);
    let result = raw(control, &[header.as_bytes(), list], output);
    Progress {
        completed: usize::from(result.completed()).min(count),
        status: result.status(),
    }
}

const fn fitting(header: usize, element: usize) -> usize {
    let most = (PAGE - header) / element;
    if most > 0xfff { 0xfff } else { most }
}

/// A call with this control word and these bytes, one part after the other, in the input page. What the output page
/// holds afterwards is copied out on every status; a list that does not fit its page is refused here as
/// INVALID_ALIGNMENT.
pub fn raw(control: CallInput, input: &[&[u8]], output: &mut [u8]) -> CallResult {
    with_pages(control, input, output, invoke)
}

fn with_pages(
    control: CallInput,
    input: &[&[u8]],
    output: &mut [u8],
    invoke: impl Fn(CallInput, u64, u64) -> CallResult,
) -> CallResult {
    if input.iter().map(|part| part.len()).sum::<usize>() > PAGE || output.len() > PAGE {
        return CallResult::new(Status::INVALID_ALIGNMENT, 0);
    }
    cpu::without_interrupts(|| {
        let index = descriptor::vp_slot();
        // SAFETY: `vp_slot` is below MAX_VPS.
        let pages = unsafe { PAGES.pointer().cast::<Pages>().add(index) };
        let input_page = pages.cast::<u8>();
        // SAFETY: the second page of the pair.
        let output_page = unsafe { input_page.add(PAGE) };
        let mut offset = 0;
        for part in input {
            // SAFETY: the parts fit one page together; this VP's pages are touched here alone, with interrupts off.
            unsafe { crate::pool::copy(part.as_ptr(), input_page.add(offset), part.len()) };
            offset += part.len();
        }
        let result = invoke(control, input_page as u64, output_page as u64);
        // SAFETY: `output` fits one page.
        unsafe { crate::pool::copy(output_page, output.as_mut_ptr(), output.len()) };
        result
    })
}

/// Addresses of the calling VP's input and output page: for probes that pass a control word of their own.
#[must_use]
pub fn page_addresses() -> (u64, u64) {
    let input = PAGES.pointer() as u64 + (descriptor::vp_slot() * size_of::<Pages>()) as u64;
    (input, input + PAGE as u64)
}

/// A call with addresses of the caller's choice, for probes. The output address must not lie in memory that this
/// program uses, unless it is one of [`page_addresses`]; such a call is refused here as INVALID_PARAMETER.
pub fn at(control: CallInput, input: u64, output: u64) -> CallResult {
    let (first, last) = page_addresses();
    let own = output >= first && output < last + PAGE as u64;
    let end = output.saturating_add(PAGE as u64);
    if !own && !control.is_fast() && crate::memory::overlaps_ram(output, end) {
        return CallResult::new(Status::INVALID_PARAMETER, 0);
    }
    invoke(control, input, output)
}

fn uses_vmmcall() -> bool {
    if INSTRUCTION.load(Ordering::Relaxed) == 0 {
        let choice = if !cpu::has_hypercalls() {
            3
        } else if cpu::is_amd() {
            1
        } else {
            2
        };
        INSTRUCTION.store(choice, Ordering::Relaxed);
    }
    INSTRUCTION.load(Ordering::Relaxed) == 1
}

/// The instruction itself. Without a hypervisor below: INVALID_HYPERCALL_CODE.
fn invoke(control: CallInput, rdx: u64, r8: u64) -> CallResult {
    let vmmcall = uses_vmmcall();
    if INSTRUCTION.load(Ordering::Relaxed) == 3 {
        return CallResult::new(Status::INVALID_HYPERCALL_CODE, 0);
    }
    let result: u64;
    // SAFETY: the callers pass addresses that the hypervisor may write. A continuation leaves RIP at the instruction
    // and moves the start index in RCX on: nothing to do here. The count in the result includes those before.
    unsafe {
        if vmmcall {
            asm!("vmmcall", inout("rcx") control.0 => _, inout("rdx") rdx => _, inout("r8") r8 => _,
                lateout("rax") result, lateout("r9") _, lateout("r10") _, lateout("r11") _, options(nostack));
        } else {
            asm!("vmcall", inout("rcx") control.0 => _, inout("rdx") rdx => _, inout("r8") r8 => _,
                lateout("rax") result, lateout("r9") _, lateout("r10") _, lateout("r11") _, options(nostack));
        }
    }
    CallResult(result)
}

/// The hypercall page (TLFS, "Establishing the hypercall interface"), switched on at an address of the caller's choice.
pub struct HypercallPage(u64);

impl HypercallPage {
    const ENABLE: u64 = 1;

    /// Names a guest OS and switches the page on; `None` where this program's own memory lies, where the first 4 GiB end, or where
    /// the hypervisor does not show it.
    #[must_use]
    pub fn open(address: u64) -> Option<Self> {
        let end = address.checked_add(PAGE as u64)?;
        if !address.is_multiple_of(PAGE as u64)
            || end > 1 << 32
            || crate::memory::overlaps_ram(address, end)
        {
            return None;
        }
        fault::try_write(msr::GUEST_OS_ID, 0x8100_0000_0000_0000).ok()?;
        fault::try_write(msr::HYPERCALL, address | Self::ENABLE).ok()?;
        let on = fault::read_msr(msr::HYPERCALL) == Ok(address | Self::ENABLE);
        on.then_some(Self(address))
    }

    /// As [`raw`], by calling into the page.
    pub fn raw(&self, control: CallInput, input: &[&[u8]], output: &mut [u8]) -> CallResult {
        with_pages(control, input, output, |control, rdx, r8| {
            let result: u64;
            // SAFETY: the hypervisor shows its code there for as long as this object lives: the instruction, and a return. No
            // program has a red zone here.
            unsafe {
                asm!("call {page}", page = in(reg) self.0, inout("rcx") control.0 => _,
                    inout("rdx") rdx => _, inout("r8") r8 => _,
                    lateout("rax") result, lateout("r9") _, lateout("r10") _, lateout("r11") _);
            }
            CallResult(result)
        })
    }
}

impl Drop for HypercallPage {
    fn drop(&mut self) {
        // Where it cannot be switched off it stays where nothing else is.
        let _ = fault::try_write(msr::HYPERCALL, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_fill_the_page_and_no_more() {
        assert_eq!(fitting(24, 8), abi::memory::MAP_MAX);
        assert_eq!(fitting(8, 8), abi::memory::DEPOSIT_MAX);
        assert_eq!(fitting(16, 32), 127);
    }
}
