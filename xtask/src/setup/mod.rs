//! `cargo xtask setup`: everything that the project needs and the machine may lack.
//!
//! Checks before it installs, touches nothing outside the user's cache folder (except by `rustup target add`),
//! and may be called by several processes at once.

mod apt;
mod emulator;
mod toolchain;

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use qemu_suite::emulator::Emulator;

pub use toolchain::BareMetal;

use crate::progress::say;
use crate::workspace;

/// Only the compiler for the bare-metal crates.
pub fn toolchain() -> Result<BareMetal> {
    let _lock = lock()?;
    linker()?;
    toolchain::find_or_make()
}

/// Only the emulator and its firmware.
pub fn emulator() -> Result<Emulator> {
    let _lock = lock()?;
    emulator::find_or_make()
}

/// The folder with Bochs and its firmware.
pub fn bochs() -> Result<PathBuf> {
    let _lock = lock()?;
    emulator::bochs()
}

/// `cargo xtask setup`.
pub fn run() -> Result<()> {
    say(format!("bare-metal compiler: {}", toolchain()?));
    let emulator = emulator()?;
    say(format!(
        "emulator: {} ({})",
        emulator.version,
        emulator.program.display()
    ));
    say(format!("firmware: {}", emulator.firmware_code.display()));
    say("everything is in place");
    Ok(())
}

/// One set-up at a time; the lock goes with the process, however it ends.
fn lock() -> Result<File> {
    let cache = workspace::cache()?;
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    let path = cache.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    if file.try_lock().is_err() {
        say("waiting for another set-up to finish …");
        file.lock()
            .with_context(|| format!("cannot lock {}", path.display()))?;
    }
    Ok(file)
}

/// Cargo links host programs with `cc`.
fn linker() -> Result<()> {
    let found = succeeds(Command::new("cc").arg("--version"));
    ensure!(
        found,
        "no C linker: the command `cc` is missing or does not work; install a C compiler (Debian and Ubuntu: \
         apt-get install gcc libc6-dev; Fedora: dnf install gcc)"
    );
    Ok(())
}

/// Whether a command can be started and ends well; its output is dropped.
fn succeeds(command: &mut Command) -> bool {
    let command = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// A version number in a text like `QEMU emulator version 10.0.13 (Debian …)`: the first word with a dot that
/// starts with a digit.
fn version(text: &str) -> Option<(u32, u32, u32)> {
    let word = text
        .split([' ', '\n'])
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.'))?;
    let mut numbers = word
        .split(|c: char| !c.is_ascii_digit())
        .map(|part| part.parse().unwrap_or(0));
    Some((
        numbers.next()?,
        numbers.next()?,
        numbers.next().unwrap_or(0),
    ))
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn versions_are_read() {
        let qemu = "QEMU emulator version 10.0.13 (Debian 1:10.0.13+ds-0+deb13u1)\nCopyright";
        assert_eq!(version(qemu), Some((10, 0, 13)));
        assert_eq!(
            version("rustc 1.96.0 (ac68faa20 2026-05-25)"),
            Some((1, 96, 0))
        );
        assert_eq!(version("QEMU emulator version 11.1"), Some((11, 1, 0)));
        assert_eq!(version("nothing here."), None);
    }
}
