//! The boot volume as a folder; the emulator shows it to the firmware as a FAT file system.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::artifacts::Artifacts;

/// A further file of the boot volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeFile {
    /// Its name below `portcullis/`, or, with a leading slash, from the root of the volume.
    pub name: String,
    /// The file that is copied there.
    pub source: PathBuf,
}

/// Fills the folder `root` with everything that the loader looks for.
///
/// `payloads` names the images of `artifacts` to include; `script` becomes `start.cfg`.
pub fn assemble(
    root: &Path,
    artifacts: &Artifacts,
    payloads: &[String],
    script: &str,
    files: &[VolumeFile],
) -> Result<()> {
    let own = root.join("portcullis");
    copy(&artifacts.loader, &root.join("EFI/BOOT/BOOTX64.EFI"))?;
    copy(&artifacts.hypervisor, &own.join("hypervisor.elf"))?;
    copy(&artifacts.root_agent, &own.join("root-agent.elf"))?;
    for name in payloads {
        let source = artifacts.payloads.get(name).with_context(|| {
            format!(
                "no payload is called {name}; the build made {}",
                known(artifacts)
            )
        })?;
        copy(source, &own.join(name))?;
    }
    for file in files {
        match file.name.strip_prefix('/') {
            Some(from_root) => copy(&file.source, &root.join(from_root))?,
            None => copy(&file.source, &own.join(&file.name))?,
        }
    }
    let script_path = own.join("start.cfg");
    fs::write(&script_path, script)
        .with_context(|| format!("cannot write {}", script_path.display()))
}

/// Writes one more file; its name is as in [`VolumeFile`].
pub fn write(root: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let path = match name.strip_prefix('/') {
        Some(from_root) => root.join(from_root),
        None => root.join("portcullis").join(name),
    };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    }
    fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// Lets the firmware start a payload first; the loader waits for it as `EFI/BOOT/LOADER.EFI`.
pub fn put_before_the_loader(root: &Path, artifacts: &Artifacts, payload: &str) -> Result<()> {
    let folder = root.join("EFI/BOOT");
    let stage = artifacts.payloads.get(payload);
    let stage = stage.with_context(|| format!("no payload is called {payload}"))?;
    copy(&artifacts.loader, &folder.join("LOADER.EFI"))?;
    copy(stage, &folder.join("BOOTX64.EFI"))
}

fn known(artifacts: &Artifacts) -> String {
    if artifacts.payloads.is_empty() {
        return "none".into();
    }
    artifacts
        .payloads
        .keys()
        .cloned()
        .collect::<Vec<_>>()
        .join(", ")
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    }
    fs::copy(from, to)
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;
    use std::collections::BTreeMap;

    fn artifacts(folder: &Path) -> Artifacts {
        let file = |name: &str| {
            let path = folder.join(name);
            fs::write(&path, name).unwrap();
            path
        };
        Artifacts {
            loader: file("loader"),
            hypervisor: file("hypervisor"),
            root_agent: file("agent"),
            payloads: BTreeMap::from([("net.elf".to_string(), file("net"))]),
        }
    }

    #[test]
    fn everything_lands_where_the_loader_looks() {
        let scratch = Scratch::new("volume").unwrap();
        let artifacts = artifacts(scratch.path());
        let root = scratch.path().join("esp");
        let extra = VolumeFile {
            name: "/acpi/dmar.aml".into(),
            source: artifacts.loader.clone(),
        };
        assemble(&root, &artifacts, &["net.elf".into()], "help\n", &[extra]).unwrap();
        let text = |path: &str| fs::read_to_string(root.join(path)).unwrap();
        assert_eq!(text("EFI/BOOT/BOOTX64.EFI"), "loader");
        assert_eq!(text("portcullis/hypervisor.elf"), "hypervisor");
        assert_eq!(text("portcullis/root-agent.elf"), "agent");
        assert_eq!(text("portcullis/net.elf"), "net");
        assert_eq!(text("portcullis/start.cfg"), "help\n");
        assert_eq!(text("acpi/dmar.aml"), "loader");
    }

    #[test]
    fn an_unknown_payload_is_named() {
        let scratch = Scratch::new("volume").unwrap();
        let artifacts = artifacts(scratch.path());
        let root = scratch.path().join("esp");
        let error = assemble(&root, &artifacts, &["nett.elf".into()], "", &[]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no payload is called nett.elf; the build made net.elf"
        );
    }
}
