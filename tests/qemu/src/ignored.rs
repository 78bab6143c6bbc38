//! Scenarios that an emulator falsifies. They run on the model instead.

use std::fmt;

use crate::config::{Dialect, Iommu};
use crate::scenario::Scenario;

/// A scenario that means nothing on this emulator's IOMMU of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ignored {
    scenario: &'static str,
    dialect: Dialect,
    /// What the emulator does that hardware does not.
    reason: &'static str,
    /// The test on the model which shows it.
    instead: &'static str,
}

/// All of them.
const IGNORED: [Ignored; 3] = [
    Ignored {
        scenario: "dma_01_a_blocked_write_is_told",
        dialect: Dialect::Amd,
        reason: "QEMU's event log has a tail that never moves",
        instead: "faults_are_told_with_their_device_and_partition",
    },
    Ignored {
        scenario: "int_03_a_refused_message_is_told",
        dialect: Dialect::Amd,
        reason: "QEMU logs no event of an interrupt",
        instead: "faults_are_told_with_their_device_and_partition",
    },
    Ignored {
        scenario: "int_07_messages_that_are_not_fixed",
        dialect: Dialect::Intel,
        reason: "QEMU passes messages that are not in remappable format",
        instead: "int_06_interrupts_that_are_not_remapped_go_nowhere",
    },
];

/// The entry of a scenario with its machine, where there is one.
pub fn of(scenario: &Scenario) -> Option<&'static Ignored> {
    let config = &scenario.config;
    IGNORED.iter().find(|it| {
        it.scenario == scenario.name && it.dialect == config.dialect && config.iommu != Iommu::None
    })
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            scenario,
            dialect,
            reason,
            instead,
        } = self;
        write!(
            f,
            "[{dialect}] {scenario} is ignored: {reason}; on the model: {instead}"
        )
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
