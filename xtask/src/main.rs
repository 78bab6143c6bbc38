//! `cargo xtask`: everything that a person or a machine does with this source tree.

mod bench;
mod bochs_test;
mod build;
mod checks;
mod image;
mod progress;
mod qemu_test;
mod run;
mod script;
mod setup;
mod test;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Set up, build, run and test Portcullis.
///
/// Every task sets up what it needs first; on Debian nothing else has to be installed by hand.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Find or fetch what the other tasks need: a bare-metal compiler, QEMU, UEFI firmware
    Setup,
    /// Build the loader, the hypervisor, the root agent and the payloads
    Build {
        /// What is shipped, or the hypervisor with the suite's test-only calls
        #[arg(long, value_enum, default_value = "release")]
        flavor: build::Flavor,
    },
    /// Write a GPT disk image that starts on a UEFI machine, for a USB stick
    Image(image::Image),
    /// Boot in QEMU, or with --cpu vmx in Bochs: the demonstration, or an image of your own with --guest
    Run(run::Run),
    /// Format, lints, host tests, house checks, then the suites in QEMU and Bochs
    Test(test::Test),
    /// The suite of scenarios in QEMU
    QemuTest(qemu_test::QemuTest),
    /// The scenarios that need no IOMMU, in Bochs: Intel VMX, or AMD SVM
    BochsTest(bochs_test::BochsTest),
    /// Count instructions in QEMU and print a table
    Bench(bench::Bench),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to standard output with code 0; where even that fails there is nobody to tell.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() {
                run::code::REFUSED
            } else {
                0
            });
        }
    };
    match carry_out(&cli.task) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(run::exit_code_of(&error))
        }
    }
}

fn carry_out(task: &Task) -> Result<u8> {
    match task {
        Task::Setup => setup::run()?,
        Task::Build { flavor } => build::run(&setup::toolchain()?, *flavor)?,
        Task::Image(options) => image::run(options)?,
        Task::Run(options) => return run::run(options),
        Task::Test(options) => return Ok(u8::from(!test::run(options)?)),
        Task::QemuTest(options) => return Ok(u8::from(qemu_test::run(options)?.failed > 0)),
        Task::BochsTest(options) => return Ok(u8::from(bochs_test::run(options)?.failed > 0)),
        Task::Bench(options) => return Ok(u8::from(!bench::run(options)?)),
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
