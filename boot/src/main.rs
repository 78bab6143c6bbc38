//! The loader: a UEFI application that puts the hypervisor, the root agent and the boot modules in memory, ends boot services,
//! takes bus mastering from every device and enters the hypervisor.

#![no_std]
#![no_main]

extern crate alloc;

mod program;

use core::convert::Infallible;

use uefi::prelude::*;

use program::{
    acpi, clock, config, console, enter, files, heap, images, memory, processor, stop::Stop,
};

#[entry]
fn main() -> Status {
    let Err(stop) = load_and_enter();
    stop.report()
}

/// The order of things.
fn load_and_enter() -> Result<Infallible, Stop> {
    heap::start()?;
    let serial = console::start();
    let features = processor::check()?;
    let volume = files::read_volume()?;
    let acpi = acpi::prepare(&volume.acpi)?;
    let hypervisor = images::hypervisor(&volume)?;
    let agent = images::root_agent(&volume)?;
    let map = memory::map(&features)?;
    let kept = memory::Kept::allocate(&map, &features, &hypervisor)?;
    let record = enter::Record::prepare(&volume, &kept, &map)?;
    console::say(format_args!("leaving boot services"));
    let map = memory::leave_boot_services(&features);
    config::stop_bus_masters(&acpi, &map);
    let clocks = clock::calibrate(&acpi);
    let handoff = record.fill(&enter::Facts {
        map: &map,
        volume: &volume,
        kept: &kept,
        hypervisor: &hypervisor,
        agent: &agent,
        acpi: &acpi,
        clocks: &clocks,
        features: &features,
        serial,
    })?;
    enter::hypervisor(&kept, &hypervisor, handoff)
}
