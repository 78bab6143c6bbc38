//! `cargo xtask run`: the demonstration, or a guest of your own.

mod accelerator;
mod agent;
mod demonstration;
mod guest;
mod page;
mod place;
mod session;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use clap::{Args, ValueEnum};
use qemu_suite::config::{Config, DeviceKind, Dialect, Iommu};
use qemu_suite::emulator::Console;
use qemu_suite::machine::Kit;

use place::Place;

use crate::bochs_test::{self, Cpu};
use crate::build::Flavor;
use crate::qemu_test;

pub use accelerator::Choice as AcceleratorChoice;

/// The options of `cargo xtask run`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXIT_CODES)]
pub struct Run {
    /// Logical processors
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    smp: u32,
    /// The processor's dialect: svm runs in QEMU, vmx in Bochs with --iommu none [default: svm]
    #[arg(long, value_enum)]
    cpu: Option<Cpu>,
    /// The machine's IOMMU; without one, assignment is refused
    #[arg(long, value_enum, default_value = "intel")]
    iommu: IommuChoice,
    /// The device to assign; with --guest any number of them [default: igb, with --guest none]
    #[arg(long = "device", value_enum, value_name = "MODEL")]
    devices: Vec<DeviceChoice>,
    /// The start script in place of the demonstration's; $NONCE, $DEVICE, $RESET and $IMAGE are replaced in it
    #[arg(long, value_name = "FILE", conflicts_with = "guest")]
    script: Option<PathBuf>,
    /// How QEMU executes instructions; auto tries KVM once for each QEMU version and kernel
    #[arg(long, value_enum, default_value = "auto")]
    accel: AcceleratorChoice,
    /// No terminal: end as soon as the outcome is known, and say by the exit code what it was
    #[arg(long)]
    headless: bool,
    /// End with exit code 124 so many seconds after the emulator's start
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// One more word for QEMU's command line; may be repeated
    #[arg(long = "qemu-arg", value_name = "WORD", allow_hyphen_values = true)]
    qemu_args: Vec<String>,
    /// Boot this image as a child partition: a multiboot1 (32-bit ELF) or an ELF64 file
    #[arg(long, value_name = "FILE")]
    guest: Option<PathBuf>,
    /// The guest's command line
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        requires = "guest",
        hide_default_value = true
    )]
    cmdline: String,
    /// A module for the guest; may be repeated
    #[arg(long = "module", value_name = "FILE", requires = "guest")]
    modules: Vec<PathBuf>,
    /// The guest's virtual processors [default: 1]
    #[arg(long, value_name = "N", requires = "guest", value_parser = clap::value_parser!(u32).range(1..=64))]
    vps: Option<u32>,
    /// The guest's local APICs have xAPIC mode alone: x2APIC mode is hidden
    #[arg(long, requires = "guest")]
    xapic: bool,
    /// The guest's RAM, as 256M or 1G [default: 256M]
    #[arg(long, value_name = "SIZE", requires = "guest", value_parser = mebibytes)]
    memory: Option<u32>,
}

const EXIT_CODES: &str = "Exit codes: 0 the demonstration's page was fetched (--headless) or the guest shut down; \
    2*v+1 the guest wrote v to port F4h; 2 the guest faulted; 64 the input was refused; 70 the hypervisor failed; \
    124 the time was up; 1 anything else.\n\nOn the terminal, Ctrl-A x ends the emulator.\n\n\
    In Bochs there are no devices and no demonstration: the console is the agent's, and --headless without --script or --guest \
    ends with 0 when the agent answers.";

/// The machine's IOMMU as a word of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum IommuChoice {
    /// VT-d with interrupt remapping
    Intel,
    /// AMD-Vi with interrupt remapping
    Amd,
    /// No IOMMU
    None,
}

/// The models of devices as words of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lowercase")]
pub enum DeviceChoice {
    /// Intel 82576
    Igb,
    /// Intel 82574L
    E1000e,
    /// An NVM Express controller
    Nvme,
    /// QEMU's teaching device
    Edu,
}

impl DeviceChoice {
    fn kind(self) -> DeviceKind {
        match self {
            Self::Igb => DeviceKind::Igb,
            Self::E1000e => DeviceKind::E1000e,
            Self::Nvme => DeviceKind::Nvme,
            Self::Edu => DeviceKind::Edu,
        }
    }
}

/// Input that was refused before anything was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(pub String);

/// A run that ended badly, with the exit code that says how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// The exit code.
    pub code: u8,
    /// What happened.
    pub sentence: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for Refused {}
impl std::error::Error for Failed {}

/// Exit codes of runs; 0 and those of a guest come besides.
pub mod code {
    /// The demonstration did not do what it should.
    pub const FAILURE: u8 = 1;
    /// The guest faulted.
    pub const FAULT: u8 = 2;
    /// The input was refused.
    pub const REFUSED: u8 = 64;
    /// The hypervisor, or the emulator below it, failed.
    pub const HYPERVISOR: u8 = 70;
    /// The time was up.
    pub const TIMEOUT: u8 = 124;
}

/// The exit code for an error of any task.
pub fn exit_code_of(error: &anyhow::Error) -> u8 {
    let failed = || error.downcast_ref::<Failed>().map(|failed| failed.code);
    let refused = error.downcast_ref::<Refused>().map(|_| code::REFUSED);
    refused.or_else(failed).unwrap_or(code::FAILURE)
}

/// `cargo xtask run`.
pub fn run(options: &Run) -> Result<u8> {
    // Everything that can be refused is refused before the set-up starts to fetch.
    let place = Place::of(options)?;
    match (&options.guest, place) {
        (Some(image), _) => {
            let plan = guest::plan(options, image)?;
            let kit = kit(place)?;
            guest::run(options, &kit, options.machine(place), &plan)
        }
        (None, Place::Bochs(_)) => {
            let script = agent::plan(options)?;
            agent::run(options, &kit(place)?, options.machine(place), &script)
        }
        (None, Place::Qemu) => {
            let plan = demonstration::plan(options)?;
            let kit = kit(place)?;
            demonstration::run(options, &kit, options.machine(place), &plan)
        }
    }
}

fn kit(place: Place) -> Result<Kit> {
    match place {
        Place::Qemu => qemu_test::kit(Flavor::Release),
        Place::Bochs(_) => bochs_test::kit(Flavor::Release),
    }
}

impl Run {
    fn console(&self) -> Console {
        if self.headless {
            Console::Log
        } else {
            Console::Terminal
        }
    }

    fn limit(&self) -> Option<Duration> {
        self.timeout.map(Duration::from_secs)
    }

    /// The machine without its devices.
    fn machine(&self, place: Place) -> Config {
        if let Place::Bochs(processor) = place {
            return Config::on_bochs(processor, self.smp);
        }
        let (dialect, iommu) = match self.iommu {
            IommuChoice::Intel => (Dialect::Intel, Iommu::Whole),
            IommuChoice::Amd => (Dialect::Amd, Iommu::Whole),
            IommuChoice::None => (Dialect::Intel, Iommu::None),
        };
        let extra: Vec<&str> = self.qemu_args.iter().map(String::as_str).collect();
        let config = Config::with_lps(self.smp).dialect(dialect).iommu(iommu);
        config.extra(&extra)
    }
}

/// Reads a size as MiB.
fn mebibytes(text: &str) -> Result<u32, String> {
    let wrong = || {
        format!(
            "{text} is not a size: write 256M or 1G (an even number of MiB, at least 2M, at most 3G)"
        )
    };
    let (digits, factor) = match text.strip_suffix(['M', 'm']) {
        Some(digits) => (digits, 1),
        None => (text.strip_suffix(['G', 'g']).ok_or_else(wrong)?, 1024),
    };
    let size = digits
        .parse::<u32>()
        .ok()
        .and_then(|number| number.checked_mul(factor));
    // As the root agent: RAM in large pages, below the window of the devices.
    size.filter(|size| (2..=3072).contains(size) && size.is_multiple_of(2))
        .ok_or_else(wrong)
}

/// Reads a file that the user named.
fn read(what: &str, path: &Path) -> Result<Vec<u8>, Refused> {
    fs::read(path)
        .map_err(|error| Refused(format!("{what} {} cannot be read: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        assert_eq!(mebibytes("256M"), Ok(256));
        assert_eq!(mebibytes("2g"), Ok(2048));
        assert_eq!(mebibytes("3G"), Ok(3072));
        for wrong in ["", "M", "0M", "3M", "256", "4G", "-1M", "4294967295G"] {
            assert!(mebibytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn errors_have_exit_codes() {
        assert_eq!(exit_code_of(&anyhow::anyhow!("x")), 1);
        assert_eq!(exit_code_of(&Refused("x".into()).into()), 64);
        let failed = Failed {
            code: code::TIMEOUT,
            sentence: "x".into(),
        };
        assert_eq!(
            exit_code_of(&anyhow::Error::from(failed).context("more")),
            124
        );
    }
}
