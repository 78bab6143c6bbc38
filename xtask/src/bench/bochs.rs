//! The same figures in Bochs, for both dialects beside each other: its time-stamp counter goes up by one for each instruction of
//! the only processor, in the hypervisor as in guests.

use std::fs;
use std::path::Path;

use anyhow::Result;
use qemu_suite::config::Config;
use qemu_suite::emulator::Console;
use qemu_suite::machine::{Kit, Machine};

use super::{Column, Figure, Figures, KEYS, benches, boot, elf, table, write_json};
use crate::bochs_test::{self, Cpu};
use crate::build::Flavor;

/// What needs a device.
const WITH_DEVICE: &str = "device_interrupt";

/// Measures and prints; true when everything was measured and meets its bound.
pub fn run(cpu: Cpu, file: Option<&Path>) -> Result<bool> {
    let kit = bochs_test::kit(Flavor::Release)?;
    let text = elf::executable_bytes(&fs::read(&kit.artifacts.hypervisor)?)?;
    let mut columns = Vec::new();
    for cpu in [cpu, cpu.other()] {
        let mut figures = measure(&kit, cpu)?;
        figures.insert("text_bytes".into(), Figure::once(text));
        columns.push(Column {
            name: cpu.name().into(),
            figures,
        });
    }
    let good = table::print(&columns, &keys());
    if let Some(path) = file {
        write_json(path, columns.get(..1).unwrap_or_default())?;
    }
    Ok(good)
}

/// What is measured here. The bounds on instructions are for SVM in QEMU: an access to VMX's control structure is an instruction,
/// and Bochs's processors step over an exit's instruction in another way.
fn keys() -> Vec<(&'static str, Option<u64>)> {
    let here = KEYS.into_iter().filter(|(key, _)| *key != WITH_DEVICE);
    here.map(|(key, bound)| (key, bound.filter(|_| key.ends_with("bytes"))))
        .collect()
}

fn measure(kit: &Kit, cpu: Cpu) -> Result<Figures> {
    let config = Config::on_bochs(cpu.processor(), 1);
    let mut machine = Machine::start(kit, &config, Console::Log)?;
    let outcome = boot(&mut machine, cpu.name()).and_then(|()| benches(&machine, None));
    outcome.map_err(|error| error.context(machine.keep_log(&kit.logs, "bench")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sizes_have_a_bound_on_every_processor() {
        let keys = keys();
        assert!(keys.iter().all(|(key, _)| *key != WITH_DEVICE));
        let bounded = keys.iter().filter(|(_, bound)| bound.is_some());
        let names: Vec<_> = bounded.map(|(key, _)| *key).collect();
        assert_eq!(names, ["text_bytes", "memory_kept_bytes"]);
    }
}
