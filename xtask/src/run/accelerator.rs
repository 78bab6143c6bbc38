//! Whether KVM can be used: only a real boot tells.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;
use qemu_suite::config::{Accelerator, Config};
use qemu_suite::emulator::{Console, Emulator};
use qemu_suite::machine::{Kit, Machine};

use crate::progress::say;
use crate::workspace;

/// A boot under KVM that takes longer than this will not come.
const PROBE_TIME: Duration = Duration::from_secs(30);

/// What the user wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Choice {
    /// KVM if the hypervisor boots under it, else translation
    Auto,
    /// Translation
    Tcg,
    /// The host's processor
    Kvm,
}

impl Choice {
    /// What is used; may boot a machine to find out.
    pub fn decide(self, emulator: &Emulator, kit: &Kit) -> Result<Accelerator> {
        match self {
            Self::Tcg => Ok(Accelerator::Tcg),
            Self::Kvm => Ok(Accelerator::Kvm),
            Self::Auto if !plausible() => Ok(Accelerator::Tcg),
            Self::Auto => remembered(emulator, kit),
        }
    }
}

/// A host without SVM or without its device cannot do it.
fn plausible() -> bool {
    let about = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = about
        .lines()
        .find(|line| line.starts_with("flags"))
        .unwrap_or_default();
    let svm = flags.split_whitespace().any(|flag| flag == "svm");
    svm && fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/kvm")
        .is_ok()
}

/// The verdict for this QEMU and this kernel, from an earlier run or by a boot now.
fn remembered(emulator: &Emulator, kit: &Kit) -> Result<Accelerator> {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut hasher = DefaultHasher::new();
    (&emulator.version, &kernel).hash(&mut hasher);
    let path = workspace::cache()?.join(format!("kvm-{:016x}", hasher.finish()));
    let verdict = match fs::read_to_string(&path) {
        Ok(text) => text.trim() == "yes",
        Err(_) => {
            let verdict = boots(kit);
            let text = if verdict { "yes\n" } else { "no\n" };
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            verdict
        }
    };
    Ok(if verdict {
        Accelerator::Kvm
    } else {
        Accelerator::Tcg
    })
}

fn boots(kit: &Kit) -> bool {
    say("trying whether the hypervisor boots under KVM (once; remembered afterwards) …");
    let config = Config {
        accelerator: Accelerator::Kvm,
        ..Config::with_lps(1)
    };
    // Any end, abort or silence is a no, and its reason does not matter.
    let machine = Machine::start(kit, &config, Console::Log);
    let booted = machine.is_ok_and(|machine| {
        machine
            .client()
            .wait_event(0, PROBE_TIME, |event| event.name == "ready")
            .is_some()
    });
    say(if booted {
        "it does"
    } else {
        "it does not: using QEMU's translation"
    });
    booted
}
