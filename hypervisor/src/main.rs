//! The machine: where the hypervisor meets hardware. The boot order is in [`boot`].

#![no_std]
#![no_main]

extern crate alloc;

mod acpi_tables;
mod config_space;
mod console;
mod cpu;
mod facts;
mod heap;
mod io_apic;
mod iommu;
mod memory;
mod mmio;
mod panic;
mod platform;
mod root_info;
mod vp;

use handoff::Handoff;

/// Where the loader arrives, through the entry code in [`cpu::entry`].
extern "C" fn start(handoff: *const Handoff) -> ! {
    cpu::per_lp::set_none();
    let facts = facts::read(handoff);
    boot(facts)
}

/// The boot order.
fn boot(facts: &'static facts::Facts) -> ! {
    console::start(facts.handoff.serial_port);
    log::info!("Portcullis {}", env!("CARGO_PKG_VERSION"));
    heap::start(facts);
    memory::start(facts);
    cpu::features::require(cpu::features::check());
    let boot_lp = cpu::start_boot_processor();
    cpu::features::require(vp::check());
    cpu::clock::start(facts);
    let tables = acpi_tables::find(facts);
    cpu::start_up::start_all(facts, &tables, boot_lp);
    memory::drop_identity_map(facts);
    io_apic::start(facts, tables.find(b"APIC"));
    let (topology, _devices) = iommu::start(facts, &tables, cpu::per_lp::count() as u16);
    let platform = platform::find(facts, &tables, &topology);
    let _info = root_info::write(facts, &tables, &platform);
    announce(facts);
    cpu::halt()
}

/// What an LP other than the boot processor does once it has its tables.
fn run_lp(_lp: &'static cpu::per_lp::Lp) -> ! {
    cpu::halt()
}

/// The banner: what the machine has.
fn announce(facts: &facts::Facts) {
    let mib = facts.ram_bytes() >> 20;
    let kept = facts.kept_bytes() >> 10;
    log::info!(
        "{mib} MiB RAM, {kept} KiB kept, {} LPs",
        cpu::per_lp::count()
    );
}
