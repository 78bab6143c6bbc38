//! Whether KVM can be used: only a real boot tells.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;
use qemu_suite::config::{Accelerator, Config};
use qemu_suite::emulator::Console;
use qemu_suite::machine::{Kit, Machine};

use crate::progress::say;
use crate::workspace;

/// A boot under KVM that takes longer than this will not come.
const PROBE_TIME: Duration = Duration::from_secs(30);
const DEVICE: &str = "/dev/kvm";

/// What the user wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Choice {
    /// KVM if the hypervisor boots under it, else translation
    Auto,
    /// Translation
    Tcg,
    /// The host's processor, with its own virtualisation: SVM or VMX
    Kvm,
}

impl Choice {
    /// What is used; may boot a machine to find out.
    pub fn decide(self, kit: &Kit) -> Result<Accelerator> {
        match self {
            Self::Tcg => Ok(Accelerator::Tcg),
            Self::Kvm => Ok(Accelerator::Kvm),
            Self::Auto => {
                let host = Host {
                    device: DEVICE.into(),
                    kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default(),
                    cache: workspace::cache()?,
                };
                let verdict = host.verdict(&kit.emulator.version, || {
                    say("trying whether the hypervisor boots under KVM (once; remembered afterwards) …");
                    boots(kit, PROBE_TIME)
                })?;
                Ok(verdict.accelerator())
            }
        }
    }
}

/// Whether KVM works.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Works,
    /// Why it does not.
    Not(String),
}

impl Verdict {
    fn accelerator(&self) -> Accelerator {
        match self {
            Self::Works => {
                say("the hypervisor boots under KVM: using it");
                Accelerator::Kvm
            }
            Self::Not(reason) => {
                say(format!("no KVM, so QEMU's translation: {reason}"));
                Accelerator::Tcg
            }
        }
    }

    /// One line, and back.
    fn text(&self) -> String {
        match self {
            Self::Works => "yes\n".into(),
            Self::Not(reason) => format!("no {reason}\n"),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        match text.trim_end() {
            "yes" => Some(Self::Works),
            other => Some(Self::Not(other.strip_prefix("no ")?.into())),
        }
    }
}

/// What an answer depends on besides the emulator.
struct Host {
    device: PathBuf,
    /// Its kernel's version.
    kernel: String,
    /// Where answers are kept.
    cache: PathBuf,
}

impl Host {
    /// The answer for this QEMU and this kernel: from an earlier run, or by a boot now.
    fn verdict(&self, version: &str, boot: impl FnOnce() -> Result<()>) -> Result<Verdict> {
        let device = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(&self.device);
        if let Err(error) = device {
            // May be otherwise next time.
            return Ok(Verdict::Not(format!("{}: {error}", self.device.display())));
        }
        let path = self.place(version);
        let known = fs::read_to_string(&path).ok();
        if let Some(verdict) = known.as_deref().and_then(Verdict::parse) {
            return Ok(match verdict {
                Verdict::Not(reason) => Verdict::Not(format!(
                    "{reason} (an earlier try; remove {} for another one)",
                    path.display()
                )),
                Verdict::Works => verdict,
            });
        }
        // Any end, abort or silence is a no.
        let verdict = match boot() {
            Ok(()) => Verdict::Works,
            Err(error) => Verdict::Not(one_line(&format!("{error:#}"))),
        };
        fs::write(&path, verdict.text())
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(verdict)
    }

    fn place(&self, version: &str) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        (version, &self.kernel).hash(&mut hasher);
        self.cache.join(format!("kvm-{:016x}", hasher.finish()))
    }
}

/// A boot of the hypervisor under KVM, with an IOMMU as the suite has it.
fn boots(kit: &Kit, within: Duration) -> Result<()> {
    let config = Config {
        accelerator: Accelerator::Kvm,
        ..Config::with_lps(1)
    };
    let folder: &Path = &kit.logs;
    let mut machine = Machine::start(kit, &config, Console::Log)?;
    let ready = machine.wait_ready(within);
    ready.map_err(|error| error.context(machine.keep_log(folder, "kvm")))
}

/// The last clause of an error that has several, which says what happened, and no line feeds.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;
    use qemu_suite::artifacts::Artifacts;
    use qemu_suite::emulator::Emulator;
    use qemu_suite::scratch::Scratch;

    fn host(scratch: &Scratch) -> Host {
        let device = scratch.path().join("kvm");
        fs::write(&device, "").unwrap();
        Host {
            device,
            kernel: "6.12.1".into(),
            cache: scratch.path().into(),
        }
    }

    fn never() -> Result<()> {
        panic!("booted although the answer is known");
    }

    #[test]
    fn without_the_device_nothing_is_tried_and_nothing_remembered() {
        let scratch = Scratch::new("kvm").unwrap();
        let absent = Host {
            device: scratch.path().join("absent"),
            ..host(&scratch)
        };
        let Verdict::Not(reason) = absent.verdict("QEMU 10", never).unwrap() else {
            panic!("it works without a device");
        };
        assert!(reason.contains("absent"), "{reason}");
        assert_eq!(
            host(&scratch).verdict("QEMU 10", || Ok(())).unwrap(),
            Verdict::Works
        );
    }

    #[test]
    fn an_answer_is_remembered_for_this_emulator_and_this_kernel() {
        let scratch = Scratch::new("kvm").unwrap();
        let mut host = host(&scratch);
        assert_eq!(host.verdict("QEMU 10", || Ok(())).unwrap(), Verdict::Works);
        assert_eq!(host.verdict("QEMU 10", never).unwrap(), Verdict::Works);
        let silent = || bail!("the root agent was not ready\nwithin 30s");
        let verdict = host.verdict("QEMU 11", silent).unwrap();
        assert_eq!(
            verdict,
            Verdict::Not("the root agent was not ready within 30s".into())
        );
        let Verdict::Not(again) = host.verdict("QEMU 11", never).unwrap() else {
            panic!("forgotten");
        };
        assert!(
            again.contains("not ready within 30s (an earlier try; remove"),
            "{again}"
        );
        host.kernel = "6.13.0".into();
        assert_eq!(host.verdict("QEMU 11", || Ok(())).unwrap(), Verdict::Works);
    }

    #[test]
    fn an_answer_that_cannot_be_read_is_asked_for_again() {
        let scratch = Scratch::new("kvm").unwrap();
        let host = host(&scratch);
        fs::write(host.place("QEMU 10"), "perhaps").unwrap();
        assert_eq!(host.verdict("QEMU 10", || Ok(())).unwrap(), Verdict::Works);
    }

    #[test]
    fn what_the_answers_mean() {
        assert_eq!(Verdict::Works.accelerator(), Accelerator::Kvm);
        assert_eq!(Verdict::Not("x".into()).accelerator(), Accelerator::Tcg);
        for verdict in [Verdict::Works, Verdict::Not("it died".into())] {
            assert_eq!(Verdict::parse(&verdict.text()), Some(verdict));
        }
    }

    /// A kit whose emulator is a few words of shell.
    fn fake(scratch: &Scratch, script: &str) -> Kit {
        let file = scratch.path().join("file");
        fs::write(&file, "").unwrap();
        Kit {
            emulator: Emulator {
                program: "sh".into(),
                prefix: vec!["-c".into(), script.into()],
                firmware_code: file.clone(),
                firmware_variables: file.clone(),
                version: "QEMU emulator version 10.0.13".into(),
            },
            artifacts: Artifacts {
                loader: file.clone(),
                hypervisor: file.clone(),
                root_agent: file,
                payloads: Default::default(),
            },
            bochs: None,
            logs: scratch.path().join("logs"),
            replaced_by: None,
        }
    }

    #[test]
    fn an_emulator_that_dies_or_aborts_means_translation_and_the_reason_is_its_own() {
        for (script, reason) in [
            (
                "echo 'KVM internal error. Suberror: 1' >&2; exit 1",
                "KVM internal error. Suberror: 1",
            ),
            (
                "echo 'error: failed to set MSR 0x10a' >&2; kill -ABRT $$",
                "MSR 0x10a",
            ),
            ("exit 0", "ended at once"),
        ] {
            let scratch = Scratch::new("kvm").unwrap();
            let kit = fake(&scratch, script);
            let tried = || boots(&kit, Duration::from_secs(1));
            let verdict = host(&scratch)
                .verdict(&kit.emulator.version, tried)
                .unwrap();
            let Verdict::Not(found) = &verdict else {
                panic!("{script} works");
            };
            assert!(found.contains(reason), "{script}: {found}");
            assert_eq!(verdict.accelerator(), Accelerator::Tcg);
        }
    }
}
