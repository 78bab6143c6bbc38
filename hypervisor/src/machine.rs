//! The seams that the kernel stands on, on real hardware.

use core::mem::ManuallyDrop;
use core::sync::atomic::{AtomicU64, Ordering};

use address::{LpIndex, Spa};
use guest::apic::Posted;
use kernel::{Facts, Kernel, Posting};
use paging::SlatKind;
use spin::Once;
use x86_64::instructions::port::Port;

use crate::cpu::{self, apic, clock, per_lp};
use crate::iommu::{DeviceSeams, Tables};
use crate::{console, io_apic, memory, power, vp};

/// The machine as the kernel sees it.
#[derive(Debug)]
pub struct Machine {
    /// Width of physical addresses.
    pub physical_bits: u8,
    /// What does not change, `boot_ticks` excepted.
    pub facts: Facts,
}

static KERNEL: Once<Kernel<Machine>> = Once::new();
/// See [`Facts::boot_ticks`].
static BOOT_TICKS: AtomicU64 = AtomicU64::new(0);

/// Puts the kernel where interrupt handlers and the other LPs find it.
pub fn install(kernel: Kernel<Machine>) -> &'static Kernel<Machine> {
    // Never taken apart: no code for that either.
    let kernel = ManuallyDrop::new(kernel);
    KERNEL.call_once(|| ManuallyDrop::into_inner(kernel))
}

/// The kernel, once there is one.
#[inline]
pub fn kernel() -> Option<&'static Kernel<Machine>> {
    KERNEL.get()
}

/// Notes how long the boot took.
pub fn note_boot_ticks(ticks: u64) {
    BOOT_TICKS.store(ticks, Ordering::Relaxed);
}

impl kernel::Machine for Machine {
    type Vcpu = vp::Vp;
    type Tables = Tables;
    type Platform = DeviceSeams;

    #[inline]
    fn tables(&self) -> &Tables {
        &Tables
    }

    fn slat_kind(&self) -> SlatKind {
        vp::slat_kind()
    }

    fn tags(&self) -> u32 {
        vp::tags()
    }

    fn physical_bits(&self) -> u8 {
        self.physical_bits
    }

    fn hypercall_code(&self) -> &'static [u8] {
        vp::hypercall_code()
    }

    #[inline]
    fn read(&self, from: Spa, to: &mut [u8]) {
        if !memory::copy_in(from, to) {
            to.fill(0xff);
        }
    }

    #[inline]
    fn write(&self, to: Spa, from: &[u8]) {
        // Outside the direct map there is no RAM, and so nothing to write.
        let _ = memory::copy_out(to, from);
    }

    fn scrub(&self, frame: Spa) {
        memory::zero_frame(frame);
    }

    #[inline]
    fn current_lp(&self) -> LpIndex {
        per_lp::current_index()
    }

    fn kick(&self, lp: LpIndex) {
        if let Some(lp) = per_lp::get(lp) {
            apic::send(lp.apic_id, apic::vector::KICK);
        }
    }

    fn notify(&self, lp: LpIndex) {
        let vector = if vp::takes_posts() {
            apic::vector::NOTIFY
        } else {
            apic::vector::KICK
        };
        if let Some(lp) = per_lp::get(lp) {
            apic::send(lp.apic_id, vector);
        }
    }

    fn posting(&self, posted: &Posted) -> Option<Posting> {
        vp::takes_posts().then(|| Posting {
            descriptor: memory::physical_of(&raw const *posted),
            running: apic::vector::NOTIFY,
            waiting: apic::vector::POSTED,
        })
    }

    fn idle(&self) {
        if vp::has_timer() {
            // That one stands still without a guest.
            let deadline = clock::deadline();
            clock::set_deadline((deadline != u64::MAX).then_some(deadline));
        }
        cpu::wait_for_interrupt();
    }

    fn relax(&self) {
        core::hint::spin_loop();
    }

    #[inline]
    fn now(&self) -> u64 {
        clock::now()
    }

    fn tsc_hz(&self) -> u64 {
        clock::tsc_hz()
    }

    #[inline]
    fn arm_timer(&self, deadline: u64) {
        if vp::has_timer() {
            clock::note_deadline(deadline);
        } else {
            clock::set_deadline((deadline != u64::MAX).then_some(deadline));
        }
    }

    fn input(&self, port: u16, size: u8) -> u32 {
        // SAFETY: the kernel lets only ports of its allow-list through, which the hypervisor does not use itself.
        unsafe {
            match size {
                1 => u32::from(Port::<u8>::new(port).read()),
                2 => u32::from(Port::<u16>::new(port).read()),
                _ => Port::<u32>::new(port).read(),
            }
        }
    }

    fn output(&self, port: u16, size: u8, value: u32) {
        // SAFETY: as for `input`.
        unsafe {
            match size {
                1 => Port::<u8>::new(port).write(value as u8),
                2 => Port::<u16>::new(port).write(value as u16),
                _ => Port::<u32>::new(port).write(value),
            }
        }
    }

    fn read_log(&self, position: u64, to: &mut [u8]) -> (u64, usize) {
        console::read(position, to)
    }

    fn power(&self, reset: bool) {
        if reset { power::reset() } else { power::off() }
    }

    fn program_pin(&self, io_apic: u8, pin: u8, entry: u64) {
        if let Some(io_apic) = io_apic::find(io_apic) {
            io_apic.set(pin, entry);
        }
    }

    fn mask_pin(&self, io_apic: u8, pin: u8) {
        if let Some(io_apic) = io_apic::find(io_apic) {
            io_apic.mask(pin);
        }
    }

    fn nmis(&self, lp: LpIndex) -> u64 {
        per_lp::get(lp).map_or(0, |lp| lp.nmis.load(Ordering::Relaxed))
    }

    fn facts(&self) -> Facts {
        Facts {
            boot_ticks: BOOT_TICKS.load(Ordering::Relaxed),
            ..self.facts
        }
    }
}
