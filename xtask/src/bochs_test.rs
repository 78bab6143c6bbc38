//! `cargo xtask bochs-test`: the scenarios that need no IOMMU, on the other emulator and so on both processor dialects.

use std::thread::available_parallelism;

use anyhow::Result;
use clap::{Args, ValueEnum};
use qemu_suite::bochs::{Bochs, Processor};
use qemu_suite::config::Dialect;
use qemu_suite::machine::Kit;
use qemu_suite::suite::{self, Counts, Options};

use crate::build::Flavor;
use crate::progress::say;
use crate::{image, qemu_test, setup};

/// The options of `cargo xtask bochs-test`.
#[derive(Args, Clone, Debug, Default)]
pub struct BochsTest {
    /// Run only scenarios whose name contains this text
    filter: Option<String>,
    /// Print the scenarios, the hostile ones with their positive controls, and run nothing
    #[arg(long)]
    list: bool,
    /// The processor's dialect
    #[arg(long, value_enum, default_value = "vmx")]
    cpu: Cpu,
    /// Every processor model of the dialect, one after the other
    #[arg(long)]
    full: bool,
    /// How many scenarios run at once [default: the number of processors]
    #[arg(long, value_name = "N")]
    test_threads: Option<usize>,
    /// Load this payload in place of every other: each scenario that judges a payload must then fail
    #[arg(long, value_name = "IMAGE")]
    replace_payloads: Option<String>,
}

/// A processor dialect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Cpu {
    /// Intel VMX
    #[default]
    Vmx,
    /// AMD SVM
    Svm,
}

/// Lists or runs; gives the counts.
pub fn run(options: &BochsTest) -> Result<Counts> {
    let cores = available_parallelism().map_or(1, usize::from);
    let selected = Options {
        filter: options.filter.clone(),
        threads: options.test_threads.unwrap_or(cores),
        dialects: vec![Dialect::default()],
        anywhere: true,
        replaced_by: options.replace_payloads.clone(),
    };
    let lines = suite::list(&selected)?;
    if options.list {
        lines.iter().for_each(|line| println!("{line}"));
        return Ok(Counts::default());
    }
    let root = setup::bochs()?;
    let kit = qemu_test::kit(Flavor::Test)?;
    let mut sum = Counts::default();
    for &processor in processors(options) {
        say(format!("scenarios on Bochs, {processor:?}"));
        let bochs = Bochs {
            root: root.clone(),
            processor,
            write_disk: image::write,
        };
        let kit = Kit {
            bochs: Some(bochs),
            ..kit.clone()
        };
        let counts = suite::run(kit, &selected)?;
        sum.passed += counts.passed;
        sum.failed += counts.failed;
    }
    println!("{} passed, {} failed", sum.passed, sum.failed);
    Ok(sum)
}

fn processors(options: &BochsTest) -> &'static [Processor] {
    match (options.cpu, options.full) {
        (Cpu::Vmx, false) => &[Processor::Vmx],
        (Cpu::Vmx, true) => &[Processor::Vmx, Processor::OldVmx],
        (Cpu::Svm, _) => &[Processor::Svm],
    }
}
