//! From power-on to a root agent that answers.

use anyhow::{Result, ensure};

use crate::config::{Config, Iommu};
use crate::machine::Machine;
use crate::scenario::Scenario;

pub fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new("boot_one_lp", Config::with_lps(1), |machine| {
            answers(machine, 1)
        }),
        Scenario::new("boot_two_lps", Config::with_lps(2), |machine| {
            answers(machine, 2)
        }),
        Scenario::new("boot_four_lps", Config::with_lps(4), |machine| {
            answers(machine, 4)
        }),
        Scenario::new(
            "boot_without_iommu",
            Config::default().iommu(Iommu::None),
            |machine| answers(machine, 2),
        ),
    ]
}

/// The agent lists as many logical processors as the machine has.
fn answers(machine: &mut Machine, lps: usize) -> Result<()> {
    let listed = machine.command("lps")?.data.len();
    ensure!(
        listed == lps,
        "the agent lists {listed} logical processors, the machine has {lps}"
    );
    Ok(())
}
