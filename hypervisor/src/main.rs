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
mod machine;
mod memory;
mod mmio;
mod panic;
mod platform;
mod power;
mod root;
mod root_info;
mod run;
mod vp;

use handoff::Handoff;

use facts::Facts;

/// Where the loader arrives, through the entry code in [`cpu::entry`].
extern "C" fn start(handoff: *const Handoff) -> ! {
    cpu::per_lp::set_none();
    boot(facts::read(handoff))
}

/// The boot order.
fn boot(facts: &'static Facts) -> ! {
    console::start(facts.handoff.serial_port);
    log::info!("Portcullis {}", env!("CARGO_PKG_VERSION"));
    heap::start(facts);
    memory::start(facts);
    cpu::features::require(cpu::features::check());
    let boot_lp = cpu::start_boot_processor();
    cpu::features::require(vp::check());
    cpu::clock::start(facts);
    let tables = acpi_tables::find(facts);
    power::start(facts, &tables);
    io_apic::start(facts, tables.find(b"APIC"));
    cpu::start_up::start_all(facts, &tables, boot_lp);
    memory::drop_identity_map(facts);
    let mut topology = iommu::walk(facts, &tables);
    let platform = platform::find(facts, &tables, &topology);
    let devices = iommu::start(facts, &platform, &mut topology, boot_lp.apic_id);
    let info = root_info::write(facts, &tables, &platform);
    let kernel = run::make_kernel(facts, &platform, topology, devices);
    run::make_root(facts, kernel, info);
    announce(facts);
    run::enter(facts, kernel)
}

/// The banner: what the machine has.
fn announce(facts: &Facts) {
    let mib = facts.ram_bytes() >> 20;
    let kept = facts.kept_bytes() >> 10;
    let lps = cpu::per_lp::count();
    log::info!("{mib} MiB RAM, {kept} KiB kept, {lps} LPs");
}
