//! `cargo xtask qemu-test`: the integration suite.

use std::thread::available_parallelism;

use anyhow::Result;
use clap::{Args, ValueEnum};
use qemu_suite::config::Dialect;
use qemu_suite::machine::Kit;
use qemu_suite::suite::{self, Counts, Options};

use crate::build::{self, Flavor};
use crate::run::AcceleratorChoice;
use crate::setup;
use crate::workspace;

/// Whose IOMMU the machines have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum IommuKinds {
    /// VT-d
    Intel,
    /// AMD-Vi
    Amd,
    /// Both kinds
    #[default]
    Both,
}

impl IommuKinds {
    /// One by one.
    pub fn dialects(self) -> &'static [Dialect] {
        match self {
            Self::Intel => &[Dialect::Intel],
            Self::Amd => &[Dialect::Amd],
            Self::Both => &[Dialect::Intel, Dialect::Amd],
        }
    }
}

/// The options of `cargo xtask qemu-test`.
#[derive(Args, Clone, Debug, Default)]
pub struct QemuTest {
    /// Run only scenarios whose name contains this text; each runs once for each kind of IOMMU that --iommu names
    filter: Option<String>,
    /// Print the scenarios, the hostile ones with their positive controls, and run nothing
    #[arg(long)]
    list: bool,
    /// The machines' IOMMU
    #[arg(long, value_enum, default_value = "both")]
    iommu: IommuKinds,
    /// How QEMU executes instructions; kvm takes the host's SVM or VMX, auto finds out whether it works [default: tcg]
    #[arg(long, value_enum)]
    accel: Option<AcceleratorChoice>,
    /// How many scenarios run at once [default: the number of processors]
    #[arg(long, value_name = "N")]
    test_threads: Option<usize>,
    /// Load this payload in place of every other: each scenario that judges a payload must then fail
    #[arg(long, value_name = "IMAGE")]
    replace_payloads: Option<String>,
}

/// Lists or runs; gives the counts.
pub fn run(options: &QemuTest) -> Result<Counts> {
    let cores = available_parallelism().map_or(1, usize::from);
    let selected = Options {
        filter: options.filter.clone(),
        threads: options.test_threads.unwrap_or(cores),
        dialects: options.iommu.dialects().to_vec(),
        replaced_by: options.replace_payloads.clone(),
        ..Options::default()
    };
    // Also refuses a filter that selects nothing, before anything is built.
    let lines = suite::list(&selected)?;
    if options.list {
        lines.iter().for_each(|line| println!("{line}"));
        return Ok(Counts::default());
    }
    let kit = kit(Flavor::Test)?;
    let choice = options.accel.unwrap_or(AcceleratorChoice::Tcg);
    let selected = Options {
        accelerator: Some(choice.decide(&kit)?),
        ..selected
    };
    let counts = suite::run(kit, &selected)?;
    println!("{} passed, {} failed", counts.passed, counts.failed);
    Ok(counts)
}

/// What machines are made from; sets up and builds.
pub fn kit(flavor: Flavor) -> Result<Kit> {
    let toolchain = setup::toolchain()?;
    let emulator = setup::emulator()?;
    let artifacts = build::build(&toolchain, flavor)?;
    let logs = workspace::metadata()?.target_folder.join("portcullis/logs");
    Ok(Kit {
        emulator,
        artifacts,
        logs,
        bochs: None,
        replaced_by: None,
    })
}
