//! From the boot to the kernel: it is made, gets its root VPs, and every LP runs it for ever.

use core::fmt::Display;
use core::sync::atomic::{AtomicBool, Ordering};

use address::{ApicId, Gpa, LpIndex};
use alloc::boxed::Box;
use alloc::vec::Vec;
use device::Devices;
use kernel::hypercall::Scratch;
use kernel::pci::Pci;
use kernel::{Boot, Kernel};
use topology::Topology;
use x86_64::instructions::tlb;

use crate::config_space::Config;
use crate::cpu::per_lp::{self, Lp};
use crate::cpu::{self, apic, clock};
use crate::facts::Facts;
use crate::iommu::{self, DeviceSeams};
use crate::machine::{self, Machine};
use crate::platform::Platform;
use crate::{console, root, vp};

/// Whether the other LPs may run the kernel.
static OPEN: AtomicBool = AtomicBool::new(false);

/// Makes the kernel, with the root partition and its GPA map.
pub fn make_kernel(
    facts: &Facts,
    platform: &Platform,
    topology: Topology,
    devices: Devices<DeviceSeams>,
) -> &'static Kernel<Machine> {
    let lps: Vec<ApicId> = per_lp::all().map(|lp| lp.apic_id).collect();
    let (windows, kept) = root::windows(facts, platform);
    let frames = root::frames(facts);
    let reserve = root::reserve();
    let boot = Boot {
        machine: machine(facts),
        lps: &lps,
        frames,
        pci: Pci::new(topology, windows, kept, Config),
        devices,
        // Not before that has run on hardware.
        posts: false,
        root_map: &root::map(facts, platform),
        reserve: &reserve,
    };
    match Kernel::new(boot) {
        Ok(kernel) => machine::install(kernel),
        Err(error) => stop("the root partition cannot be made", error),
    }
}

fn machine(facts: &Facts) -> Machine {
    Machine {
        physical_bits: facts.handoff.physical_bits as u8,
        facts: kernel::Facts {
            apic_hz: clock::apic_timer_hz(),
            ram_bytes: facts.ram_bytes(),
            kept_bytes: facts.kept_bytes(),
            text_bytes: facts.handoff.hypervisor.text.len,
            boot_ticks: 0,
        },
    }
}

/// One root VP per LP; the first begins at the agent's entry.
pub fn make_root(facts: &Facts, kernel: &'static Kernel<Machine>, info: Gpa) {
    enable_here();
    for lp in per_lp::all() {
        if let Err(status) = kernel.make_root_vp(lp.index) {
            stop("a VP of the root cannot be made", status.name());
        }
    }
    if let Err(status) = kernel.start_root(&root::context(facts), info.as_u64()) {
        stop("the root agent cannot be entered", status.name());
    }
}

fn stop(what: &str, why: impl Display) -> ! {
    log::error!("cannot start: {what}: {why}");
    cpu::halt()
}

/// Turns virtualisation on, on this LP.
fn enable_here() {
    let frames = iommu::boot_frames((vp::HOST_FRAMES as u16).next_power_of_two());
    match frames {
        Some(frames) => cpu::features::require(vp::enable(frames)),
        None => stop("an LP cannot start", "no memory for its control structures"),
    }
}

/// The boot processor's last step: the serial line is the root's now, and all LPs run.
pub fn enter(facts: &Facts, kernel: &'static Kernel<Machine>) -> ! {
    console::hand_over();
    OPEN.store(true, Ordering::Release);
    for lp in per_lp::all().filter(|lp| lp.index != LpIndex(0)) {
        apic::send(lp.apic_id, apic::vector::KICK);
    }
    let ticks = clock::now().wrapping_sub(facts.entry_tsc);
    machine::note_boot_ticks(ticks.saturating_sub(clock::waited()));
    let scratch = Box::leak(Box::new(Scratch::default()));
    kernel.run(LpIndex(0), scratch)
}

/// What every other LP does once it has its tables.
pub fn join(lp: &'static Lp) -> ! {
    while !OPEN.load(Ordering::Acquire) {
        cpu::wait_for_interrupt();
    }
    // The start-up page has gone from the tables.
    tlb::flush_all();
    enable_here();
    let scratch = Box::leak(Box::new(Scratch::default()));
    match machine::kernel() {
        Some(kernel) => kernel.run(lp.index, scratch),
        None => cpu::halt(),
    }
}
