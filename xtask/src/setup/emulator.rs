//! QEMU and its UEFI firmware: the system's when new enough, else a private copy.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail, ensure};
use qemu_suite::emulator::Emulator;

use super::apt::{self, Recipe};
use super::version;

/// Older versions have a broken amd-iommu and a VT-d that stops on a legal descriptor.
const OLDEST: (u32, u32, u32) = (10, 0, 13);

const RECIPE: Recipe = Recipe {
    name: "emulator-1",
    what: "QEMU 10.0.13 or newer with UEFI firmware",
    release: "trixie",
    security: false,
    packages: &["qemu-system-x86", "ovmf", "bochs", "bochsbios", "vgabios"],
    left_out: &[],
    size: (90, 362),
};

/// Where distributions put the firmware: code, variables.
const FIRMWARE: [(&str, &str); 4] = [
    (
        "/usr/share/OVMF/OVMF_CODE_4M.fd",
        "/usr/share/OVMF/OVMF_VARS_4M.fd",
    ),
    (
        "/usr/share/edk2/x64/OVMF_CODE.4m.fd",
        "/usr/share/edk2/x64/OVMF_VARS.4m.fd",
    ),
    (
        "/usr/share/edk2/ovmf/OVMF_CODE.fd",
        "/usr/share/edk2/ovmf/OVMF_VARS.fd",
    ),
    (
        "/usr/share/qemu/ovmf-x86_64-code.bin",
        "/usr/share/qemu/ovmf-x86_64-vars.bin",
    ),
];

/// The emulator; fetched when there is none that will do.
pub fn find_or_make() -> Result<Emulator> {
    if let Some(found) = system() {
        return Ok(found);
    }
    if let Some(root) = apt::finished(&RECIPE)? {
        return private(&root);
    }
    if let Err(reason) = apt::possible() {
        return Err(anyhow!(
            "QEMU 10.0.13 or newer with UEFI firmware (OVMF) is needed, and cannot be fetched by this program \
             because {reason}; install both (Debian 13 and newer: apt-get install qemu-system-x86 ovmf; Fedora: \
             dnf install qemu-system-x86-core edk2-ovmf; Arch: pacman -S qemu-system-x86 edk2-ovmf)"
        ));
    }
    private(&apt::make(&RECIPE, |root| private(root).map(drop))?)
}

/// The private copy's folder, whatever the system has: Bochs wants the version, and the firmware, of that copy.
pub fn bochs() -> Result<PathBuf> {
    if let Some(root) = apt::finished(&RECIPE)? {
        return Ok(root);
    }
    if let Err(reason) = apt::possible() {
        bail!("Bochs 3.0 with its firmware cannot be fetched by this program because {reason}");
    }
    apt::make(&RECIPE, |root| private(root).map(drop))
}

/// The system's own, when it is new enough and has firmware.
fn system() -> Option<Emulator> {
    let program = PathBuf::from("qemu-system-x86_64");
    let firmware = FIRMWARE
        .iter()
        .find(|(code, variables)| Path::new(code).exists() && Path::new(variables).exists())?;
    let said = ask(Command::new(&program).arg("--version")).ok()?;
    (version(&said)? >= OLDEST).then(|| Emulator {
        program,
        prefix: Vec::new(),
        firmware_code: firmware.0.into(),
        firmware_variables: firmware.1.into(),
        version: first_line(&said),
    })
}

/// The private copy in `root`, run through its own loader and with its own libraries.
fn private(root: &Path) -> Result<Emulator> {
    let at = |path: &str| root.join(path).display().to_string();
    let libraries = at("usr/lib/x86_64-linux-gnu");
    let library_path =
        format!("{libraries}:{libraries}/pulseaudio:{libraries}/blas:{libraries}/lapack");
    let mut prefix = vec![
        "--library-path".into(),
        library_path,
        at("usr/bin/qemu-system-x86_64"),
    ];
    for folder in ["usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu"] {
        prefix.extend(["-L".into(), at(folder)]);
    }
    let mut emulator = Emulator {
        program: root.join("usr/lib64/ld-linux-x86-64.so.2"),
        prefix,
        firmware_code: root.join("usr/share/OVMF/OVMF_CODE_4M.fd"),
        firmware_variables: root.join("usr/share/OVMF/OVMF_VARS_4M.fd"),
        version: String::new(),
    };
    let broken = || {
        format!(
            "the copy in {} is broken: remove that folder and try again",
            root.display()
        )
    };
    for file in [&emulator.firmware_code, &emulator.firmware_variables] {
        ensure!(file.exists(), broken());
    }
    let said = ask(emulator.command().arg("--version")).with_context(broken)?;
    let found = version(&said).with_context(broken)?;
    ensure!(
        found >= OLDEST,
        "Debian's archive has only {}, and 10.0.13 is needed",
        first_line(&said)
    );
    emulator.version = first_line(&said);
    Ok(emulator)
}

fn ask(command: &mut Command) -> Result<String> {
    let output = command.output().context("cannot start it")?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "it ended with {}: {}",
        output.status,
        complaint.trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_string()
}
