//! `cargo xtask bochs-test`: the scenarios that need no IOMMU, on the other emulator and so on both processor dialects.

use std::thread::available_parallelism;

use anyhow::Result;
use clap::{Args, ValueEnum};
use qemu_suite::bochs::{Bochs, Processor};
use qemu_suite::machine::Kit;
use qemu_suite::place::Place;
use qemu_suite::suite::{self, Counts, Options};

use crate::build::Flavor;
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
    /// Every processor model of the dialect, with 1, 2 and 4 processors
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
pub enum Cpu {
    /// Intel VMX
    #[default]
    Vmx,
    /// AMD SVM
    Svm,
}

impl Cpu {
    /// The model that has all that the hypervisor can use.
    pub const fn processor(self) -> Processor {
        match self {
            Self::Vmx => Processor::Vmx,
            Self::Svm => Processor::Svm,
        }
    }

    /// The other one.
    pub const fn other(self) -> Self {
        match self {
            Self::Vmx => Self::Svm,
            Self::Svm => Self::Vmx,
        }
    }

    /// Its word on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vmx => "vmx",
            Self::Svm => "svm",
        }
    }

    /// Every model.
    const fn processors(self) -> &'static [Processor] {
        match self {
            Self::Vmx => &[Processor::Vmx, Processor::OldVmx],
            Self::Svm => &[Processor::Svm],
        }
    }
}

/// Numbers of processors of a whole matrix.
const LPS: [u32; 3] = [1, 2, 4];

/// Lists or runs; gives the counts.
pub fn run(options: &BochsTest) -> Result<Counts> {
    let places = if options.full {
        matrix(options.cpu.processors())
    } else {
        vec![as_asked(options.cpu)]
    };
    let selected = Options {
        filter: options.filter.clone(),
        threads: threads(options.test_threads),
        bochs: places,
        replaced_by: options.replace_payloads.clone(),
        ..Options::default()
    };
    // Also refuses a filter that selects nothing, before anything is built.
    let lines = suite::list(&selected)?;
    if options.list {
        lines.iter().for_each(|line| println!("{line}"));
        return Ok(Counts::default());
    }
    let counts = suite::run(kit(Flavor::Test)?, &selected)?;
    println!("{} passed, {} failed", counts.passed, counts.failed);
    Ok(counts)
}

/// What `cargo xtask test` runs: every scenario once per dialect, and a few on every model with every number of processors.
pub fn short() -> Result<Counts> {
    let selected = Options {
        threads: threads(None),
        bochs: vec![as_asked(Cpu::Vmx), as_asked(Cpu::Svm)],
        smoke: matrix(&Processor::ALL),
        ..Options::default()
    };
    suite::run(kit(Flavor::Test)?, &selected)
}

/// What machines are made from; sets up and builds.
pub fn kit(flavor: Flavor) -> Result<Kit> {
    let root = setup::bochs()?;
    Ok(Kit {
        bochs: Some(Bochs {
            root,
            write_disk: image::write,
        }),
        ..qemu_test::kit(flavor)?
    })
}

fn threads(asked: Option<usize>) -> usize {
    asked.unwrap_or_else(|| available_parallelism().map_or(1, usize::from))
}

/// The dialect's usual model, with as many processors as a scenario asks for.
const fn as_asked(cpu: Cpu) -> Place {
    Place {
        processor: cpu.processor(),
        lps: None,
    }
}

fn matrix(processors: &[Processor]) -> Vec<Place> {
    let with = |processor: &Processor| {
        LPS.map(|lps| Place {
            processor: *processor,
            lps: Some(lps),
        })
    };
    processors.iter().flat_map(with).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_matrix_is_every_model_with_every_number() {
        let vmx = matrix(Cpu::Vmx.processors()).len();
        let svm = matrix(Cpu::Svm.processors()).len();
        assert_eq!((vmx, svm), (6, 3));
        assert_eq!(vmx + svm, matrix(&Processor::ALL).len());
    }
}
