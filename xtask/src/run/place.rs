//! Which emulator a run takes: QEMU, or Bochs for Intel's processors without an IOMMU.

use qemu_suite::bochs::{self, MOST_MEMORY};

use super::guest::OTHER_MEMORY;
use super::{AcceleratorChoice, IommuChoice, Refused, Run};
use crate::bochs_test::Cpu;

/// The emulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// QEMU, with an AMD processor or the host's.
    Qemu,
    /// Bochs, with this processor.
    Bochs(bochs::Processor),
}

impl Place {
    /// What the options ask for, or a sentence why there is no such machine.
    pub fn of(options: &Run) -> Result<Self, Refused> {
        let refused = |sentence: &str| Err(Refused(sentence.into()));
        let kvm = options.accel == AcceleratorChoice::Kvm;
        match options.cpu {
            Some(_) if kvm => refused("--accel kvm takes the host's processor: leave --cpu out"),
            None | Some(Cpu::Svm) => Ok(Self::Qemu),
            Some(Cpu::Vmx) if options.iommu != IommuChoice::None => refused(
                "--cpu vmx runs in Bochs, which has no IOMMU: say --iommu none (VMX beside an IOMMU needs --accel kvm on an \
                 Intel machine)",
            ),
            Some(Cpu::Vmx) if !options.devices.is_empty() => refused(
                "--cpu vmx runs in Bochs, which has none of these devices: leave --device out",
            ),
            Some(Cpu::Vmx) if !options.qemu_args.is_empty() => {
                refused("--cpu vmx runs in Bochs, which takes no --qemu-arg")
            }
            Some(Cpu::Vmx) if options.smp > MOST_LPS => refused(
                "--cpu vmx runs in Bochs, which has at most 8 processors: say --smp 8 or less",
            ),
            Some(Cpu::Vmx) if options.memory.unwrap_or(0) > MOST_MEMORY - OTHER_MEMORY => {
                Err(Refused(format!(
                    "--cpu vmx runs in Bochs, where a guest has at most {} MiB: say less with --memory",
                    MOST_MEMORY - OTHER_MEMORY
                )))
            }
            Some(Cpu::Vmx) => Ok(Self::Bochs(Cpu::Vmx.processor())),
        }
    }
}

/// Processors of a machine in Bochs.
const MOST_LPS: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        run: Run,
    }

    fn place(line: &str) -> Result<Place, String> {
        let words = std::iter::once("run").chain(line.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        Place::of(&line.run).map_err(|refused| refused.0)
    }

    #[test]
    fn each_machine_has_its_emulator() {
        for line in [
            "",
            "--cpu svm",
            "--iommu none",
            "--cpu svm --iommu amd",
            "--accel kvm",
        ] {
            assert_eq!(place(line), Ok(Place::Qemu), "{line}");
        }
        let bochs = Ok(Place::Bochs(bochs::Processor::Vmx));
        assert_eq!(place("--cpu vmx --iommu none"), bochs);
        assert_eq!(
            place("--cpu vmx --iommu none --smp 4 --headless --timeout 60"),
            bochs
        );
    }

    #[test]
    fn machines_that_there_are_not_are_refused_with_the_reason() {
        for (line, reason) in [
            ("--cpu vmx", "no IOMMU"),
            ("--cpu vmx --iommu intel", "no IOMMU"),
            ("--cpu vmx --iommu amd", "no IOMMU"),
            (
                "--cpu vmx --iommu none --device igb",
                "none of these devices",
            ),
            ("--cpu vmx --iommu none --qemu-arg -s", "no --qemu-arg"),
            ("--cpu vmx --iommu none --smp 9", "at most 8"),
            ("--cpu vmx --iommu none --accel kvm", "the host's processor"),
            ("--cpu svm --accel kvm", "the host's processor"),
            ("--cpu vmx --iommu none --guest x --memory 2G", "--memory"),
        ] {
            let sentence = place(line).unwrap_err();
            assert!(sentence.contains(reason), "{line}: {sentence}");
        }
    }
}
