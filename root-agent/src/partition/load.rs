//! Loading an image into a partition.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Life, Partition};
use crate::agent::Agent;
use crate::calls::vp;
use crate::emulation::acpi;
use crate::failure::Failure;
use crate::guest_image::boot_info::{self, Module};
use crate::guest_image::placement::{BOOT_INFO, GDT, PAGE_TABLES};
use crate::guest_image::{self, Image, Kind, entry, long_mode, placement};
use crate::machine::Machine;

/// Modules that a guest gets at most.
const MODULES_MAX: usize = 16;

/// What to load, by file names of the boot volume.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Order {
    /// The image.
    pub image: String,
    /// Its command line.
    pub command_line: String,
    /// Modules: a file name, and words behind it.
    pub modules: Vec<String>,
}

/// Whether an image can be loaded into a partition with this much memory.
pub fn check<M: Machine>(agent: &Agent<M>, name: &str, memory: u64) -> Result<(), Failure> {
    let bytes = file(&agent.machine, name)?;
    let parsed = guest_image::parse(bytes, memory);
    parsed
        .map(|_| ())
        .map_err(|refusal| bad_image(name, &refusal))
}

fn bad_image(name: &str, refusal: &str) -> Failure {
    Failure::new("BAD_IMAGE", format!("{name} is refused: {refusal}"))
}

/// Loads an image. All is checked before a byte of the guest changes.
pub fn load<M: Machine>(
    agent: &Agent<M>,
    partition: &Partition,
    order: &Order,
) -> Result<Kind, Failure> {
    if *partition.life.lock() != Life::Empty {
        let sentence = format!("{} has an image already", partition.name);
        return Err(Failure::state(sentence));
    }
    let machine = &agent.machine;
    let memory = partition.memory.size();
    let bad = |refusal: String| bad_image(&order.image, &refusal);
    let image = guest_image::parse(file(machine, &order.image)?, memory).map_err(bad)?;
    let modules = place_modules(machine, &image, order, memory)?;
    let named: Vec<Module> = modules.iter().map(|(module, _)| module.clone()).collect();
    let information = boot_info::build(memory, &order.command_line, &named).map_err(bad)?;
    let mut pieces: Vec<(u64, &[u8])> = Vec::new();
    let acpi = acpi::build(partition.vps.len() as u32);
    let descriptors = long_mode::descriptors(image.kind == Kind::Long);
    let tables = match image.kind {
        Kind::Long => long_mode::page_tables(),
        Kind::Multiboot1 => Vec::new(),
    };
    pieces.extend([
        (BOOT_INFO, information.as_slice()),
        (GDT, descriptors.as_slice()),
        (PAGE_TABLES, tables.as_slice()),
        (acpi::RSDP, acpi.as_slice()),
    ]);
    pieces.extend(image.segments.iter().map(|s| (s.address, s.data)));
    pieces.extend(
        modules
            .iter()
            .map(|(m, bytes)| (u64::from(m.start), *bytes)),
    );
    // The partition's RAM is clear until now, so that what segments do not fill is as well.
    if !pieces
        .iter()
        .all(|(at, bytes)| partition.memory.write(machine, *at, bytes))
    {
        return Err(bad("the partition has too little memory".into()));
    }
    let registers = entry::registers(image.kind, image.entry);
    vp::write(machine, partition.id, 0, &registers)
        .map_err(|status| Failure::refused(status, "the first registers"))?;
    *partition.life.lock() = Life::Loaded;
    Ok(image.kind)
}

fn file<'m, M: Machine>(machine: &'m M, name: &str) -> Result<&'m [u8], Failure> {
    machine.module(name).ok_or_else(|| {
        Failure::not_found(format!("there is no file \"{name}\" on the boot volume"))
    })
}

/// Addresses for the modules, behind the image and each other.
fn place_modules<'m, M: Machine>(
    machine: &'m M,
    image: &Image,
    order: &Order,
    memory: u64,
) -> Result<Vec<(Module, &'m [u8])>, Failure> {
    if order.modules.len() > MODULES_MAX {
        let sentence = format!("at most {MODULES_MAX} modules were expected");
        return Err(Failure::usage(sentence));
    }
    let mut next = placement::first_free(image);
    let mut placed = Vec::new();
    for text in &order.modules {
        let name = text.split_whitespace().next().unwrap_or("");
        let bytes = file(machine, name)?;
        let end = next.saturating_add(bytes.len() as u64);
        if end > memory {
            return Err(Failure::new(
                "BAD_IMAGE",
                format!("module {name} does not fit the partition's memory"),
            ));
        }
        let module = Module {
            start: next as u32,
            end: end as u32,
            name: text.clone(),
        };
        placed.push((module, bytes));
        next = end.next_multiple_of(4096);
    }
    Ok(placed)
}
