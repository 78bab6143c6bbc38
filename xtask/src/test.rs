//! `cargo xtask test`: everything that must pass before a change lands.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use clap::Args;
use qemu_suite::suite::Counts;

use crate::bochs_test;
use crate::checks;
use crate::progress::say;
use crate::qemu_test::{self, QemuTest};
use crate::workspace::{self, Package};

/// The options of `cargo xtask test`.
#[derive(Args, Clone, Debug)]
pub struct Test {
    /// Leave out the suites in QEMU and Bochs
    #[arg(long)]
    host_only: bool,
}

/// Runs every part, whatever became of the ones before it; true when all passed.
pub fn run(options: &Test) -> Result<bool> {
    let packages = workspace::metadata()?.packages;
    let mut total = Counts::default();
    say("format …");
    step(
        &mut total,
        "format",
        workspace::cargo().args(["fmt", "--all", "--check"]),
    );
    say("lints …");
    for (what, mut clippy) in lints(&packages) {
        step(&mut total, what, &mut clippy);
    }
    house(&mut total)?;
    say("host tests …");
    add(&mut total, "host tests", host_tests(&packages));
    if !options.host_only {
        say("suite in QEMU …");
        add(
            &mut total,
            "suite in QEMU",
            qemu_test::run(&QemuTest::default()),
        );
        say("scenarios in Bochs …");
        add(&mut total, "scenarios in Bochs", bochs_test::short());
    }
    println!("{} passed, {} failed", total.passed, total.failed);
    Ok(total.failed == 0)
}

/// Clippy in four calls: programs with a panic handler of their own must not meet the standard library, which tests
/// and programs of the host bring into every dependency that has a feature for it.
fn lints(packages: &[Package]) -> Vec<(&'static str, Command)> {
    let call = |wanted: fn(&Package) -> bool, targets: &[&str]| {
        let mut clippy = workspace::cargo();
        clippy.arg("clippy").args(targets);
        for package in packages.iter().filter(|package| wanted(package)) {
            clippy.args(["--package", &package.name]);
        }
        clippy.args(["--", "--deny", "warnings"]);
        clippy
    };
    let libraries = ["--lib", "--tests", "--examples", "--benches"];
    vec![
        (
            "lints of libraries and tests",
            call(|package| package.has_tests, &libraries),
        ),
        (
            "lints of host programs",
            call(
                |package| !package.bare && !package.binaries.is_empty(),
                &["--bins"],
            ),
        ),
        (
            "lints of bare-metal programs",
            call(
                |package| package.bare && package.bare_metal_target.is_none(),
                &["--bins"],
            ),
        ),
        (
            // They share a library with the loader, of which the loader wants more than they may have.
            "lints of UEFI stages",
            call(
                |package| package.bare && package.bare_metal_target.is_some(),
                &["--bins"],
            ),
        ),
    ]
}

fn count(total: &mut Counts, what: &str, passed: bool) {
    println!("{what} ... {}", if passed { "ok" } else { "FAILED" });
    total.passed += u64::from(passed);
    total.failed += u64::from(!passed);
}

fn add(total: &mut Counts, what: &str, counts: Result<Counts>) {
    match counts {
        Ok(counts) => {
            total.passed += counts.passed;
            total.failed += counts.failed;
        }
        Err(error) => {
            println!("{error:#}");
            count(total, what, false);
        }
    }
}

fn step(total: &mut Counts, what: &str, command: &mut Command) {
    let passed = command
        .stdin(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    count(total, what, passed);
}

fn house(total: &mut Counts) -> Result<()> {
    for check in checks::run()? {
        check
            .violations
            .iter()
            .for_each(|violation| println!("{violation}"));
        count(total, check.rule, check.violations.is_empty());
    }
    Ok(())
}

/// The packages by name: two programs without `std` in one test build would bring two panic handlers.
fn host_tests(packages: &[Package]) -> Result<Counts> {
    let mut cargo = workspace::cargo();
    cargo.args(["test", "--no-fail-fast"]);
    for package in packages.iter().filter(|package| package.has_tests) {
        cargo.args(["--package", &package.name]);
    }
    let mut process = cargo
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start cargo")?;
    let output = process.stdout.take().context("cargo has no output")?;
    let mut counts = Counts::default();
    for line in BufReader::new(output).lines() {
        let line = line.context("cargo's output cannot be read")?;
        println!("{line}");
        let (passed, failed) = test_result(&line).unwrap_or_default();
        counts.passed += passed;
        counts.failed += failed;
    }
    let status = process.wait()?;
    if !status.success() && counts.failed == 0 {
        // A test that does not compile, or that ends its process, is in no count.
        counts.failed = 1;
    }
    Ok(counts)
}

/// Passed and failed of a line `test result: ok. 3 passed; 0 failed; …`.
fn test_result(line: &str) -> Option<(u64, u64)> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let number = |word: &str| {
        let part = counts
            .split("; ")
            .find_map(|part| part.strip_suffix(word))?;
        part.trim().parse().ok()
    };
    Some((number("passed")?, number("failed")?))
}

#[cfg(test)]
mod tests {
    use super::test_result;

    #[test]
    fn counts_are_read() {
        let line =
            "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(test_result(line), Some((12, 3)));
        assert_eq!(
            test_result("test result: ok. 1 passed; 0 failed; 0 ignored"),
            Some((1, 0))
        );
        assert_eq!(test_result("test x ... ok"), None);
    }
}
