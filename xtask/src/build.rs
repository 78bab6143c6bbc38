//! `cargo xtask build`: the loader, the hypervisor, the root agent and every payload.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use qemu_suite::artifacts::Artifacts;

use crate::progress::say;
use crate::setup::BareMetal;
use crate::workspace::{self, Metadata, Package};

const BARE: &str = "x86_64-unknown-none";
const UEFI: &str = "x86_64-unknown-uefi";

/// Which hypervisor is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Flavor {
    /// What is shipped.
    Release,
    /// With the calls that only the suite may use.
    Test,
}

impl Flavor {
    fn folder(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Test => "test",
        }
    }
}

/// `cargo xtask build`.
pub fn run(toolchain: &BareMetal, flavor: Flavor) -> Result<()> {
    let built = build(toolchain, flavor)?;
    for file in [&built.loader, &built.hypervisor, &built.root_agent]
        .into_iter()
        .chain(built.payloads.values())
    {
        println!("{}", file.display());
    }
    Ok(())
}

/// Builds everything and gathers it in `target/portcullis/FLAVOR`, where the other flavor does not overwrite it.
pub fn build(toolchain: &BareMetal, flavor: Flavor) -> Result<Artifacts> {
    let metadata = workspace::metadata()?;
    let payloads: Vec<&Package> = metadata
        .packages
        .iter()
        .filter(|package| is_payload(package))
        .collect();
    say(format!("building the {} image …", flavor.folder()));
    compile(toolchain, UEFI, &["boot"], &[])?;
    let features: &[&str] = match flavor {
        Flavor::Release => &[],
        Flavor::Test => &["--features", "hypervisor/test-calls"],
    };
    compile(toolchain, BARE, &["hypervisor"], features)?;
    for target in [BARE, UEFI] {
        let names = payloads
            .iter()
            .filter(|package| target_of(package) == target);
        let mut names: Vec<&str> = names.map(|package| package.name.as_str()).collect();
        if target == BARE {
            names.push("root-agent");
        }
        if !names.is_empty() {
            compile(toolchain, target, &names, &[])?;
        }
    }
    gather(&metadata, &payloads, flavor)
}

fn is_payload(package: &Package) -> bool {
    package.folder.starts_with("tests/payloads") && !package.binaries.is_empty()
}

fn target_of(package: &Package) -> &str {
    package.bare_metal_target.as_deref().unwrap_or(BARE)
}

fn compile(toolchain: &BareMetal, target: &str, packages: &[&str], more: &[&str]) -> Result<()> {
    let mut cargo = toolchain.cargo("build");
    cargo.args(["--release", "--target", target]).args(more);
    for package in packages {
        cargo.args(["--package", package]);
    }
    let status = cargo.status().context("cannot start cargo")?;
    ensure!(
        status.success(),
        "{} cannot be built for {target}",
        packages.join(", ")
    );
    Ok(())
}

fn gather(metadata: &Metadata, payloads: &[&Package], flavor: Flavor) -> Result<Artifacts> {
    let folder = metadata
        .target_folder
        .join("portcullis")
        .join(flavor.folder());
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let built = |target: &str, file: &str| {
        metadata
            .target_folder
            .join(target)
            .join("release")
            .join(file)
    };
    let take = |from: PathBuf, name: &str| -> Result<PathBuf> {
        let to = folder.join(name);
        replace(&from, &to)?;
        Ok(to)
    };
    let mut images = BTreeMap::new();
    for package in payloads {
        for binary in &package.binaries {
            let uefi = target_of(package) == UEFI;
            let ending = if uefi { "efi" } else { "elf" };
            let product = if uefi {
                format!("{binary}.efi")
            } else {
                binary.clone()
            };
            let name = format!("{binary}.{ending}");
            images.insert(
                name.clone(),
                take(built(target_of(package), &product), &name)?,
            );
        }
    }
    Ok(Artifacts {
        loader: take(built(UEFI, "boot.efi"), "boot.efi")?,
        hypervisor: take(built(BARE, "hypervisor"), "hypervisor.elf")?,
        root_agent: take(built(BARE, "root-agent"), "root-agent.elf")?,
        payloads: images,
    })
}

/// Copies by way of a temporary name: another run may be reading the old file.
fn replace(from: &Path, to: &Path) -> Result<()> {
    let new = to.with_extension(format!("{}.new", std::process::id()));
    fs::copy(from, &new).with_context(|| format!("the build left no {}", from.display()))?;
    fs::rename(&new, to).with_context(|| format!("cannot write {}", to.display()))
}
