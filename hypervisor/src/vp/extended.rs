//! State that no dialect switches: extended registers, debug address registers, TSC_AUX. It stays in the processor while
//! the same VP runs on, and is saved when another one comes.

use core::arch::asm;
use core::ptr::NonNull;

use address::Spa;
use guest::xstate::{self, MAX_BYTES, Xstate};
use spin::Once;
use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags};
use x86_64::registers::model_specific::Msr;

use super::cpuid;

const TSC_AUX: u32 = 0xc000_0103;
const PRED_CMD: u32 = 0x49;
const PRED_CMD_BARRIER: u64 = 1;
/// Where the XSAVE area keeps MXCSR, and its value after reset.
const MXCSR_OFFSET: usize = 24;
const MXCSR_RESET: u32 = 0x1f80;

/// What this processor has, found once at boot.
#[derive(Clone, Copy)]
struct Processor {
    xstate: Xstate,
    rdtscp: bool,
    /// It has the indirect branch prediction barrier.
    branch_barrier: bool,
}

static PROCESSOR: Once<Processor> = Once::new();

/// Finds out what this processor has.
pub fn check() -> Result<(), &'static str> {
    const RDTSCP: u32 = 1 << 27;
    const BARRIER_7: u32 = 1 << 26;
    const BARRIER_8000_0008: u32 = 1 << 12;
    let xstate = Xstate::supported(cpuid);
    if xstate.bytes > MAX_BYTES {
        return Err("the processor's extended state does not fit a frame");
    }
    let (last, last_extended) = (cpuid(0, 0)[0], cpuid(0x8000_0000, 0)[0]);
    let barrier_7 = last >= 7 && cpuid(7, 0)[3] & BARRIER_7 != 0;
    let barrier_8 =
        last_extended >= 0x8000_0008 && cpuid(0x8000_0008, 0)[1] & BARRIER_8000_0008 != 0;
    PROCESSOR.call_once(|| Processor {
        xstate,
        rdtscp: cpuid(0x8000_0001, 0)[3] & RDTSCP != 0,
        branch_barrier: barrier_7 || barrier_8,
    });
    Ok(())
}

/// What [`check`] found; nothing before that.
fn processor() -> Processor {
    let none = Processor {
        xstate: Xstate {
            offered: 1,
            switched: 1,
            bytes: 576,
        },
        rdtscp: false,
        branch_barrier: false,
    };
    PROCESSOR.get().copied().unwrap_or(none)
}

/// Lets this LP save extended state.
pub fn enable() {
    // SAFETY: `check` found XSAVE. Saving extended state needs CR4.OSXSAVE, and TS and EM clear; nothing else in the
    // hypervisor uses that state.
    unsafe {
        Cr0::update(|cr0| cr0.remove(Cr0Flags::TASK_SWITCHED | Cr0Flags::EMULATE_COPROCESSOR));
        Cr4::update(|cr4| cr4.insert(Cr4Flags::OSXSAVE | Cr4Flags::OSFXSR));
    }
}

/// The state of one VP.
pub struct Extended {
    area: NonNull<u8>,
    processor: Processor,
    xcr0: u64,
    debug: [u64; 4],
    tsc_aux: u32,
    /// The state is in the processor.
    live: bool,
}

impl Extended {
    /// The state after power-up, in a zeroed frame.
    pub fn new(frame: Spa) -> Self {
        let start = crate::memory::virtual_of(frame.as_u64());
        let area = NonNull::new(start).unwrap_or(NonNull::dangling());
        // SAFETY: inside the frame, which is this VP's alone.
        unsafe { area.add(MXCSR_OFFSET).cast::<u32>().write(MXCSR_RESET) };
        Self {
            area,
            processor: processor(),
            xcr0: xstate::X87,
            debug: [0; 4],
            tsc_aux: 0,
            live: false,
        }
    }

    pub fn load(&mut self) {
        if self.processor.branch_barrier {
            // SAFETY: the barrier exists; what another VP taught the branch predictors ends here (CPU-25).
            unsafe { Msr::new(PRED_CMD).write(PRED_CMD_BARRIER) };
        }
        let switched = self.processor.xstate.switched;
        write_xcr0(switched);
        // SAFETY: the area is a frame, aligned, and nothing but XSAVE ever wrote it after its creation.
        unsafe {
            asm!("xrstor64 [{area}]", area = in(reg) self.area.as_ptr(), in("eax") switched as u32,
                in("edx") (switched >> 32) as u32, options(nostack, preserves_flags));
        }
        write_xcr0(self.xcr0);
        write_debug(&self.debug);
        self.live = true;
        self.load_tsc_aux();
    }

    pub fn save(&mut self) {
        let switched = self.processor.xstate.switched;
        write_xcr0(switched);
        // SAFETY: the area is a frame, aligned, and holds every part of `switched` (`check` has seen to it).
        unsafe {
            asm!("xsave64 [{area}]", area = in(reg) self.area.as_ptr(), in("eax") switched as u32,
                in("edx") (switched >> 32) as u32, options(nostack, preserves_flags));
        }
        self.debug = read_debug();
        self.live = false;
    }

    pub const fn xcr0(&self) -> u64 {
        self.xcr0
    }

    /// Writes XCR0; `false`: not a value for it.
    pub fn set_xcr0(&mut self, value: u64) -> bool {
        if !xstate::is_valid_xcr0(value, self.processor.xstate.offered) {
            return false;
        }
        self.xcr0 = value;
        if self.live {
            write_xcr0(value);
        }
        true
    }

    /// DR0 to DR3.
    pub fn debug(&self, index: usize) -> Option<u64> {
        let all = if self.live { read_debug() } else { self.debug };
        all.get(index).copied()
    }

    /// Writes DR0 to DR3.
    pub fn set_debug(&mut self, index: usize, value: u64) {
        if self.live {
            self.debug = read_debug();
        }
        if let Some(register) = self.debug.get_mut(index) {
            *register = value;
        }
        if self.live {
            write_debug(&self.debug);
        }
    }

    /// TSC_AUX, where the processor has it.
    pub fn tsc_aux(&self) -> Option<u64> {
        self.processor.rdtscp.then_some(u64::from(self.tsc_aux))
    }

    /// Writes TSC_AUX; `None`: the processor has none; `Some(false)`: not a value for it.
    pub fn set_tsc_aux(&mut self, value: u64) -> Option<bool> {
        self.tsc_aux()?;
        let Ok(value) = u32::try_from(value) else {
            return Some(false);
        };
        self.tsc_aux = value;
        self.load_tsc_aux();
        Some(true)
    }

    fn load_tsc_aux(&self) {
        if self.live && self.processor.rdtscp {
            // SAFETY: the MSR exists where RDTSCP does; the hypervisor does not use it.
            unsafe { Msr::new(TSC_AUX).write(u64::from(self.tsc_aux)) };
        }
    }
}

fn write_xcr0(value: u64) {
    // SAFETY: `value` is one that `is_valid_xcr0` accepts, or all that the processor has and we know; the hypervisor itself
    // uses none of that state.
    unsafe {
        asm!("xsetbv", in("ecx") 0, in("eax") value as u32, in("edx") (value >> 32) as u32, options(nostack, preserves_flags));
    }
}

fn read_debug() -> [u64; 4] {
    let mut all = [0_u64; 4];
    // SAFETY: reading debug registers changes nothing.
    unsafe {
        asm!("mov {0}, dr0", "mov {1}, dr1", "mov {2}, dr2", "mov {3}, dr3", out(reg) all[0], out(reg) all[1],
            out(reg) all[2], out(reg) all[3], options(nomem, nostack, preserves_flags));
    }
    all
}

fn write_debug(all: &[u64; 4]) {
    // SAFETY: breakpoint addresses do nothing while DR7, which every exit resets, enables none.
    unsafe {
        asm!("mov dr0, {0}", "mov dr1, {1}", "mov dr2, {2}", "mov dr3, {3}", in(reg) all[0], in(reg) all[1],
            in(reg) all[2], in(reg) all[3], options(nomem, nostack, preserves_flags));
    }
}
