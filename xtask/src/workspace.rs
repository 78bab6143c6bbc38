//! Where things are: the source tree, the build's folder, the user's cache.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// The root of the source tree.
pub fn root() -> PathBuf {
    let own = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let own = own.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")));
    own.parent().map(Path::to_path_buf).unwrap_or(own)
}

/// The folder for what set-up downloads, shared by all clones of one user.
pub fn cache() -> Result<PathBuf> {
    let absolute = |name: &str| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    let base = base.context("neither XDG_CACHE_HOME nor HOME names a folder: set one of them")?;
    Ok(base.join("portcullis"))
}

/// The cargo that started this program, for the pinned toolchain.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// The packages of this workspace and the folder for build products.
#[derive(Clone, Debug)]
pub struct Metadata {
    /// Every member.
    pub packages: Vec<Package>,
    /// Where cargo builds.
    pub target_folder: PathBuf,
}

/// One member of the workspace.
#[derive(Clone, Debug)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its folder, from the root of the source tree.
    pub folder: PathBuf,
    /// Its programs.
    pub binaries: Vec<String>,
    /// Whether `cargo test` has something to build for it.
    pub has_tests: bool,
    /// Whether it has programs that run without an operating system.
    pub bare: bool,
    /// `package.metadata.portcullis.target` of its manifest.
    pub bare_metal_target: Option<String>,
}

/// Asks cargo; needs no network.
pub fn metadata() -> Result<Metadata> {
    let output = cargo()
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .output();
    let output = output.context("cannot start cargo")?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "cargo cannot read the workspace: {}",
        complaint.trim()
    );
    let value: Value =
        serde_json::from_slice(&output.stdout).context("cargo's metadata is not JSON")?;
    let target = value["target_directory"]
        .as_str()
        .context("cargo's metadata names no target folder")?;
    let packages = value["packages"]
        .as_array()
        .context("cargo's metadata lists no packages")?;
    let packages = packages
        .iter()
        .filter_map(|package| read_package(package, &root()))
        .collect();
    Ok(Metadata {
        packages,
        target_folder: target.into(),
    })
}

fn read_package(value: &Value, root: &Path) -> Option<Package> {
    let manifest = Path::new(value["manifest_path"].as_str()?);
    let folder = manifest.parent()?.strip_prefix(root).ok()?;
    let targets = value["targets"].as_array()?;
    let is = |target: &Value, kind: &str| {
        target["kind"]
            .as_array()
            .is_some_and(|kinds| kinds.iter().any(|k| k == kind))
    };
    let binaries = targets.iter().filter(|target| is(target, "bin"));
    Some(Package {
        name: value["name"].as_str()?.into(),
        folder: folder.into(),
        binaries: binaries
            .filter_map(|target| target["name"].as_str())
            .map(str::to_string)
            .collect(),
        bare: targets
            .iter()
            .any(|target| is(target, "bin") && target["test"] == false),
        has_tests: targets
            .iter()
            .any(|target| target["test"] == true && !is(target, "custom-build")),
        bare_metal_target: value["metadata"]["portcullis"]["target"]
            .as_str()
            .map(str::to_string),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_workspace_is_understood() {
        let metadata = metadata().unwrap();
        let hypervisor = metadata
            .packages
            .iter()
            .find(|package| package.name == "hypervisor")
            .unwrap();
        assert_eq!(hypervisor.folder, Path::new("hypervisor"));
        assert_eq!(hypervisor.binaries, ["hypervisor"]);
        assert!(!hypervisor.has_tests);
        assert!(
            metadata
                .packages
                .iter()
                .any(|package| package.name == "xtask" && package.has_tests)
        );
    }
}
