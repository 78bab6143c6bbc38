//! Scenarios that an emulator falsifies. They run on the model instead, or on another processor.

use std::fmt;

use crate::bochs::Processor;
use crate::config::{Dialect, Iommu};
use crate::scenario::Scenario;

/// Where a scenario means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Where {
    /// In QEMU, with this kind of IOMMU.
    Iommu(Dialect),
    /// In Bochs, on this processor.
    Processor(Processor),
    /// The same, on a machine that has one.
    OneLp(Processor),
}

/// A scenario that means nothing in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ignored {
    scenario: &'static str,
    place: Where,
    /// What the emulator does that hardware does not.
    reason: &'static str,
    /// The test on the model which shows it, or the other place.
    instead: &'static str,
}

/// All of them.
const IGNORED: [Ignored; 3] = [
    Ignored {
        scenario: "dma_01_a_blocked_write_is_told",
        place: Where::Iommu(Dialect::Amd),
        reason: "QEMU's event log has a tail that never moves",
        instead: "faults_are_told_with_their_device_and_partition",
    },
    Ignored {
        scenario: "int_03_a_refused_message_is_told",
        place: Where::Iommu(Dialect::Amd),
        reason: "QEMU logs no event of an interrupt",
        instead: "faults_are_told_with_their_device_and_partition",
    },
    Ignored {
        scenario: "int_07_messages_that_are_not_fixed",
        place: Where::Iommu(Dialect::Intel),
        reason: "QEMU passes messages that are not in remappable format",
        instead: "int_06_interrupts_that_are_not_remapped_go_nowhere",
    },
];

/// What Bochs's SVM cannot show.
const IN_BOCHS: [Ignored; 10] = [
    on_svm("cpu_09_control_single_steps", STEPS, "QEMU"),
    on_svm("cpu_10_control_steps_without_shadows", STEPS, "QEMU"),
    on_svm("cpu_10_debug_exceptions_in_shadows", STEPS, "QEMU"),
    // A random set may run on as it is, without an exit of its own.
    on_svm("cpu_16_random_register_sets", KEPT, "QEMU"),
    on_svm("tlb_10_page_taken_from_a_vp_that_runs", KEPT, "QEMU"),
    on_one_lp("cpu_12_an_instruction_that_another_vp_rewrites", KEPT),
    on_one_lp("cpu_12_control_an_instruction_that_stays", KEPT),
    on_one_lp("cpu_17_control_interrupts_in_memory", KEPT),
    on_one_lp("tlb_10_control_page_shared_with_a_vp_that_runs", KEPT),
    on_one_lp("xapic_two_vps_talk_and_keep_time", KEPT),
];

const STEPS: &str = "a #DB that is intercepted in an SVM guest comes again and again";
/// VMRUN decides which events are held back before it is in the guest's mode.
const KEPT: &str =
    "no interrupt of the host leaves an SVM guest that was entered with interrupts off";

const fn on_svm(scenario: &'static str, reason: &'static str, instead: &'static str) -> Ignored {
    Ignored {
        scenario,
        place: Where::Processor(Processor::Svm),
        reason,
        instead,
    }
}

/// Where VPs that wait for one another, or for the root's, share the only LP.
const fn on_one_lp(scenario: &'static str, reason: &'static str) -> Ignored {
    Ignored {
        scenario,
        place: Where::OneLp(Processor::Svm),
        reason,
        instead: "two processors",
    }
}

/// The entry of a scenario with its machine, where there is one.
pub fn of(scenario: &Scenario) -> Option<&'static Ignored> {
    let config = &scenario.config;
    let there = |place: Where| match place {
        Where::Iommu(dialect) => {
            config.bochs.is_none() && config.dialect == dialect && config.iommu != Iommu::None
        }
        Where::Processor(processor) => config.bochs == Some(processor),
        Where::OneLp(processor) => config.bochs == Some(processor) && config.lps == 1,
    };
    IGNORED
        .iter()
        .chain(&IN_BOCHS)
        .find(|it| it.scenario == scenario.name && there(it.place))
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            scenario,
            place,
            reason,
            instead,
        } = self;
        match place {
            Where::Iommu(dialect) => write!(
                f,
                "[{dialect}] {scenario} is ignored: {reason}; on the model: {instead}"
            ),
            Where::Processor(processor) => write!(
                f,
                "[{}] {scenario} is ignored: {reason}; it runs on {instead}",
                processor.name()
            ),
            Where::OneLp(processor) => write!(
                f,
                "[{}-1] {scenario} is ignored: {reason}; it runs on {instead}",
                processor.name()
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenarios;

    #[test]
    fn few_are_ignored_and_all_run_on_the_model() {
        assert!(IGNORED.len() <= 5);
        let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../flow/tests");
        let files = std::fs::read_dir(model).unwrap();
        let tests: String = files
            .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
            .collect();
        for it in IN_BOCHS {
            let known = |scenario: &Scenario| scenario.name == it.scenario;
            assert!(scenarios::all().iter().any(known), "{}", it.scenario);
        }
        for it in IGNORED {
            let known = |scenario: &Scenario| scenario.name == it.scenario;
            assert!(scenarios::all().iter().any(known), "{}", it.scenario);
            assert!(
                tests.contains(&format!("fn {}", it.instead)),
                "{}",
                it.instead
            );
        }
    }
}
