//! A compiler with `core` for the bare-metal targets.
//!
//! In this order: what stands beside the pinned toolchain; what rustup may add to it; Debian's newer Rust with its
//! sources, as a private root. `RUSTUP_AUTO_INSTALL=0` is the machine owner's word and is never overridden.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, ensure};

use super::apt::{self, Recipe};
use super::{succeeds, version};
use crate::progress::say;
use crate::workspace;

/// The targets of the hypervisor and of the loader.
pub const TARGETS: [&str; 2] = ["x86_64-unknown-none", "x86_64-unknown-uefi"];

/// Debian 12's own Rust is older than the sources here need.
const OLDEST: (u32, u32, u32) = (1, 95, 0);

const RECIPE: Recipe = Recipe {
    name: "rust-1",
    what: "Rust's standard library for bare metal",
    release: "bookworm",
    security: true,
    packages: &[
        "rustc-web",
        "cargo-web",
        "rust-web-src",
        "libstd-rust-web-dev",
        "libllvm22",
    ],
    // Its programs run with the system's C library: two versions of that in one process do not work.
    left_out: &["libc6", "libc-", "gcc", "cpp", "binutils"],
    size: (138, 870),
};

/// How to compile for bare metal.
#[derive(Clone, Debug)]
pub struct BareMetal {
    /// Debian's Rust; `None` when the pinned toolchain has `core` for the targets.
    private_root: Option<PathBuf>,
    /// The pinned toolchain's linker, by its full path: another name would rebuild `core`.
    linker: PathBuf,
}

impl fmt::Display for BareMetal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.private_root {
            Some(root) => write!(f, "Debian's Rust in {}", root.display()),
            None => write!(f, "the pinned toolchain"),
        }
    }
}

impl BareMetal {
    /// `cargo SUBCOMMAND` for bare metal in the source tree; `--target` is the caller's.
    pub fn cargo(&self, subcommand: &str) -> Command {
        let mut command = match &self.private_root {
            None => workspace::cargo(),
            Some(root) => private_cargo(root),
        };
        command.current_dir(workspace::root()).arg(subcommand);
        if self.private_root.is_some() {
            command.arg("-Zbuild-std=core,alloc,compiler_builtins");
            command.arg("-Zbuild-std-features=compiler-builtins-mem,optimize_for_size");
        }
        for target in TARGETS {
            let name = target.to_uppercase().replace('-', "_");
            command.env(format!("CARGO_TARGET_{name}_LINKER"), &self.linker);
        }
        command
    }
}

fn private_cargo(root: &Path) -> Command {
    let mut command = Command::new(root.join("usr/bin/cargo"));
    command.env("LD_LIBRARY_PATH", library_path(root));
    command
        .env("RUSTC", root.join("usr/bin/rustc"))
        .env("RUSTC_BOOTSTRAP", "1");
    // Left by the cargo that started this program; they are about another compiler.
    for name in [
        "CARGO",
        "RUSTUP_TOOLCHAIN",
        "RUSTDOC",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
    ] {
        command.env_remove(name);
    }
    command
}

fn library_path(root: &Path) -> String {
    let library = |path: &str| root.join(path).display().to_string();
    format!(
        "{}:{}",
        library("usr/lib/x86_64-linux-gnu"),
        library("usr/lib/llvm-22/lib")
    )
}

/// A way to compile for bare metal; fetched when there is none.
pub fn find_or_make() -> Result<BareMetal> {
    let sysroot = PathBuf::from(ask_rustc(&["--print", "sysroot"])?);
    let linker = linker(&sysroot)?;
    let pinned = |linker| BareMetal {
        private_root: None,
        linker,
    };
    if has_core(&sysroot) {
        return Ok(pinned(linker));
    }
    if rustup_may_install() && rustup_adds() && has_core(&sysroot) {
        return Ok(pinned(linker));
    }
    if let Some(root) = apt::finished(&RECIPE)? {
        check(&root)?;
        return Ok(BareMetal {
            private_root: Some(root),
            linker,
        });
    }
    if let Err(reason) = apt::possible() {
        return Err(anyhow!(
            "Rust's standard library for bare metal is needed, and cannot be fetched by this program because \
             {reason}; run: rustup target add --toolchain 1.95.0 {}",
            TARGETS.join(" ")
        ));
    }
    let root = apt::make(&RECIPE, check)?;
    Ok(BareMetal {
        private_root: Some(root),
        linker,
    })
}

fn ask_rustc(arguments: &[&str]) -> Result<String> {
    let output = Command::new("rustc")
        .current_dir(workspace::root())
        .args(arguments)
        .output();
    let output = output.context("cannot start rustc")?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "rustc does not work: {}",
        complaint.trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_string())
}

fn linker(sysroot: &Path) -> Result<PathBuf> {
    let about = ask_rustc(&["-vV"])?;
    let host = about.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("rustc does not say which host it is for")?;
    let linker = sysroot.join("lib/rustlib").join(host).join("bin/rust-lld");
    ensure!(
        linker.exists(),
        "{} is missing: the pinned toolchain must be one of rustup's, which bring this linker",
        linker.display()
    );
    Ok(linker)
}

/// Whether `core` for both targets stands beside the toolchain.
fn has_core(sysroot: &Path) -> bool {
    TARGETS.iter().all(|target| {
        let folder = sysroot.join("lib/rustlib").join(target).join("lib");
        let files = fs::read_dir(folder).into_iter().flatten().flatten();
        files
            .into_iter()
            .any(|file| file.file_name().to_string_lossy().starts_with("libcore-"))
    })
}

fn rustup_may_install() -> bool {
    let forbidden = std::env::var_os("RUSTUP_AUTO_INSTALL").is_some_and(|value| value == "0");
    !forbidden && succeeds(Command::new("rustup").arg("--version"))
}

fn rustup_adds() -> bool {
    say(format!("rustup target add {}", TARGETS.join(" ")));
    let mut rustup = Command::new("rustup");
    let added = rustup
        .current_dir(workspace::root())
        .args(["target", "add"])
        .args(TARGETS)
        .status();
    let added = added.is_ok_and(|status| status.success());
    if !added {
        say("rustup could not add the targets; trying another way");
    }
    added
}

/// Whether the private root in `root` works.
fn check(root: &Path) -> Result<()> {
    let broken = || {
        format!(
            "the copy in {} is broken: remove that folder and try again",
            root.display()
        )
    };
    let mut command = Command::new(root.join("usr/bin/rustc"));
    command
        .env("LD_LIBRARY_PATH", library_path(root))
        .env_remove("RUSTUP_TOOLCHAIN");
    let output = command.arg("--version").output().with_context(broken)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let found = version(&said).with_context(broken)?;
    ensure!(
        found >= OLDEST,
        "Debian's archive has only {}, and 1.95 is needed",
        said.trim()
    );
    Ok(())
}
