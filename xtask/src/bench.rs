//! `cargo xtask bench`: instructions counted by the emulator, as a table and as JSON.

mod bochs;
mod elf;
mod table;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use qemu_suite::config::{Accelerator, Config, DeviceKind, Dialect, Network};
use qemu_suite::emulator::Console;
use qemu_suite::machine::{Kit, Machine};
use qemu_suite::protocol::Fields;
use serde_json::{Map, Value};

use crate::bochs_test::Cpu;
use crate::build::Flavor;
use crate::progress::{Ticker, say};
use crate::qemu_test::{self, IommuKinds};

/// One thread counts every instruction: the firmware alone takes 40 s.
const BOOT_TIME: Duration = Duration::from_secs(300);
/// For the payload, and for the agent's own part.
const RUN_TIME: Duration = Duration::from_secs(600);

/// What must be measured, with the bound where there is one.
const KEYS: [(&str, Option<u64>); 16] = [
    ("cpuid_exit", Some(250)),
    ("null_hypercall", Some(250)),
    ("msr_exit", Some(250)),
    ("apic_eoi", Some(250)),
    ("device_interrupt", Some(500)),
    ("intercept_to_root_and_back", None),
    ("map_page_1", None),
    ("map_page_512", Some(60)),
    ("map_page_16384", Some(60)),
    ("unmap_page_1", None),
    ("unmap_page_512", Some(60)),
    ("unmap_page_16384", Some(60)),
    ("map_2m_page", None),
    ("boot_to_root_agent", None),
    ("text_bytes", Some(256 * 1024)),
    ("memory_kept_bytes", Some((16 << 20) + (MEMORY << 20) / 256)),
];

/// RAM of the measured machine in MiB.
const MEMORY: u64 = 1024;

/// The measured child.
const CHILD: &str = "bench";
/// What a payload's successful end is as a stop code.
const SUCCESS: u64 = 1;
/// Figures that the agent's commands tell: key, command, field of the reply's last line.
const KNOWN: [(&str, &str, &str); 2] = [
    ("boot_to_root_agent", "lps", "boot-ticks"),
    ("memory_kept_bytes", "memory", "kept"),
];

/// The options of `cargo xtask bench`.
#[derive(Args, Clone, Debug)]
pub struct Bench {
    /// The machine's IOMMU; each kind has a column
    #[arg(long, value_enum, default_value = "intel")]
    iommu: IommuKinds,
    /// In Bochs, with this dialect's processor and beside it the other's: no IOMMU, no device
    #[arg(long, value_enum, conflicts_with = "iommu")]
    cpu: Option<Cpu>,
    /// Write the medians as a flat JSON object of numbers; of both IOMMUs, an object with one for each; with --cpu, that
    /// dialect's
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// One measured figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Figure {
    median: u64,
    minimum: u64,
    samples: u64,
    /// Exits for each sample, in tenths, where they were counted.
    exits: Option<u64>,
}

impl Figure {
    /// What is no sample but a fact.
    fn once(value: u64) -> Self {
        Self {
            median: value,
            minimum: value,
            samples: 1,
            exits: None,
        }
    }
}

type Figures = BTreeMap<String, Figure>;

/// What was measured on one machine.
struct Column {
    /// What tells it from the others.
    name: String,
    figures: Figures,
}

/// Measures and prints; true when everything was measured and meets its bound.
pub fn run(options: &Bench) -> Result<bool> {
    if let Some(cpu) = options.cpu {
        return bochs::run(cpu, options.json.as_deref());
    }
    let kit = qemu_test::kit(Flavor::Release)?;
    let text = elf::executable_bytes(&fs::read(&kit.artifacts.hypervisor)?)?;
    let mut columns = Vec::new();
    for &dialect in options.iommu.dialects() {
        let mut figures = measure(&kit, dialect)?;
        figures.insert("text_bytes".into(), Figure::once(text));
        let name = dialect.to_string();
        columns.push(Column { name, figures });
    }
    let good = table::print(&columns, &KEYS);
    if let Some(path) = &options.json {
        write_json(path, &columns)?;
    }
    Ok(good)
}

fn write_json(path: &Path, columns: &[Column]) -> Result<()> {
    let text = serde_json::to_string_pretty(&json(columns))? + "\n";
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// The medians: of one column flat, of several by their names.
fn json(columns: &[Column]) -> Value {
    let flat = |column: &Column| -> Map<String, Value> {
        let figures = column.figures.iter();
        figures
            .map(|(key, figure)| (key.clone(), Value::from(figure.median)))
            .collect()
    };
    match columns {
        [column] => Value::Object(flat(column)),
        _ => columns
            .iter()
            .map(|column| (column.name.clone(), Value::Object(flat(column))))
            .collect(),
    }
}

fn measure(kit: &Kit, dialect: Dialect) -> Result<Figures> {
    let mut config = Config::with_lps(1)
        .dialect(dialect)
        .device(DeviceKind::Edu, Network::Unplugged);
    config.accelerator = Accelerator::Counted;
    config.memory = MEMORY as u32;
    let mut machine = Machine::start(kit, &config, Console::Log)?;
    let device = Config::device_id(0);
    let outcome =
        boot(&mut machine, &dialect.to_string()).and_then(|()| benches(&machine, Some(&device)));
    outcome.map_err(|error| error.context(machine.keep_log(&kit.logs, "bench")))
}

fn boot(machine: &mut Machine, name: &str) -> Result<()> {
    let what = format!("booting with every instruction counted ({name})");
    let mut ticker = Ticker::new(&what);
    let second = Duration::from_secs(1);
    for _ in 0..BOOT_TIME.as_secs() {
        ticker.tick("");
        let ready = machine
            .client()
            .wait_event(0, second, |event| event.name == "ready")
            .is_some();
        if ready || machine.ended().is_some() || machine.panic_line().is_some() {
            break;
        }
    }
    ticker.done();
    machine.wait_ready(second)
}

/// What the agent knows, what it measures itself, and what a child measures.
fn benches(machine: &Machine, device: Option<&str>) -> Result<Figures> {
    let mut figures = Figures::new();
    for (key, command, field) in KNOWN {
        let reply = machine.command(command)?;
        figures.extend(
            reply
                .result
                .number(field)
                .map(|value| (key.to_string(), Figure::once(value))),
        );
    }
    // It takes the device for itself and gives it back, so it comes first.
    say("measuring in the root agent …");
    match machine.client().command("bench", RUN_TIME) {
        Ok(reply) => figures.extend(reply.data.iter().filter_map(figure)),
        // The table shows what is missing; what the child measures does not depend on it.
        Err(error) => say(format!("the root agent's own figures are missing: {error}")),
    }
    machine.prepare(CHILD, "memory=64M", "bench.elf", "")?;
    if let Some(device) = device {
        machine.command(&format!("assign {CHILD} {device} without-reset"))?;
    }
    say("measuring in a child …");
    let start = machine.launch(CHILD)?;
    let outcome = machine.wait_stopped(CHILD, start, RUN_TIME)?;
    for line in &outcome.lines {
        if let Some(fields) = console_fields(line) {
            figures.extend(figure(&fields));
        }
    }
    if outcome.reason != "exit" || outcome.code != SUCCESS {
        bail!(
            "the benchmark's child ended by {} {} {}",
            outcome.reason,
            outcome.code,
            outcome.detail
        );
    }
    Ok(figures)
}

/// The fields of a console line `bench key=value samples=N min=M`.
fn console_fields(line: &str) -> Option<Fields> {
    let fields = line.trim().strip_prefix("bench ")?;
    match qemu_suite::protocol::parse(&format!("bench . {fields}")) {
        qemu_suite::protocol::Message::Data { fields, .. } => Some(fields),
        _ => None,
    }
}

/// The figure of a line: the first field is its key and median.
fn figure(fields: &Fields) -> Option<(String, Figure)> {
    let (key, _) = fields.iter().find(|(key, _)| !key.is_empty())?;
    let median = fields.number(key)?;
    let minimum = fields.number("min").unwrap_or(median);
    Some((
        key.to_string(),
        Figure {
            median,
            minimum,
            samples: fields.number("samples").unwrap_or(1),
            exits: fields.number("exits-in-tenths"),
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_figures() {
        let fields =
            console_fields("bench cpuid_exit=214 samples=1000 min=210 exits-in-tenths=10\r")
                .unwrap();
        let expected = Figure {
            median: 214,
            minimum: 210,
            samples: 1000,
            exits: Some(10),
        };
        assert_eq!(figure(&fields), Some(("cpuid_exit".to_string(), expected)));
        assert!(console_fields("hello").is_none());
        assert_eq!(figure(&console_fields("bench x=y").unwrap()), None);
    }

    #[test]
    fn one_column_is_flat_and_two_have_names() {
        let column = |dialect: Dialect, median| Column {
            name: dialect.to_string(),
            figures: Figures::from([("cpuid_exit".into(), Figure::once(median))]),
        };
        let one = json(&[column(Dialect::Amd, 7)]);
        assert_eq!(one, serde_json::json!({ "cpuid_exit": 7 }));
        let two = json(&[column(Dialect::Intel, 8), column(Dialect::Amd, 7)]);
        let wanted = serde_json::json!({
            "intel": { "cpuid_exit": 8 }, "amd": { "cpuid_exit": 7 }
        });
        assert_eq!(two, wanted);
    }
}
