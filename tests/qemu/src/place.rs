//! Where scenarios run that need neither an IOMMU nor a device: machines in Bochs.

use std::fmt;

use anyhow::{Context, Result};

use crate::bochs::Processor;
use crate::config::Config;
use crate::machine::{Kit, Machine};
use crate::scenario::Scenario;

/// A machine in Bochs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its processor.
    pub processor: Processor,
    /// How many of them; as many as a scenario asks for where it is not said.
    pub lps: Option<u32>,
}

impl Place {
    /// The machine for a scenario; none where that one is about another number of processors.
    fn config(self, scenario: &Scenario) -> Option<Config> {
        let own = scenario.config.lps;
        let lps = self.lps.unwrap_or(own);
        (!scenario.counted || lps == own).then(|| Config::on_bochs(self.processor, lps))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lps = self.lps.unwrap_or(Config::default().lps);
        write!(f, "{}", Config::on_bochs(self.processor, lps))
    }
}

/// The scenarios on each machine that fits them.
pub fn on_each(scenarios: &[Scenario], places: &[Place]) -> Vec<Scenario> {
    let mut all = Vec::new();
    for place in places {
        for scenario in scenarios {
            all.extend(place.config(scenario).map(|config| Scenario {
                config,
                ..scenario.clone()
            }));
        }
    }
    all
}

/// The few scenarios that are to be tried on every machine, one after the other on this one.
pub fn smoke(kit: &Kit, place: Place, scenarios: &[Scenario]) -> Result<()> {
    let fitting = |scenario: &&Scenario| scenario.smoke && place.config(scenario).is_some();
    let scenarios: Vec<&Scenario> = scenarios.iter().filter(fitting).collect();
    let config = scenarios.first().and_then(|it| place.config(it));
    let config = config.context("no scenario fits this machine")?;
    let mut machine = Machine::boot(kit, &config)?;
    for scenario in scenarios {
        let outcome = (scenario.run)(&mut machine).and_then(|()| machine.clean());
        let panic = machine.panic_line();
        let outcome = outcome.and_then(|()| match panic {
            Some(line) => Err(anyhow::anyhow!("the machine panicked: {line}")),
            None => Ok(()),
        });
        if let Err(error) = outcome {
            let kept = machine.keep_log(&kit.logs, &format!("smoke.{config}"));
            return Err(error.context(kept).context(scenario.name));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenarios;

    #[test]
    fn a_scenario_about_four_processors_runs_on_no_other_number() {
        let four = Scenario::new("four", Config::with_lps(4), |_| Ok(())).counted();
        let place = |lps| Place {
            processor: Processor::Svm,
            lps,
        };
        assert_eq!(place(None).config(&four).map(|config| config.lps), Some(4));
        assert_eq!(place(Some(4)).config(&four), place(None).config(&four));
        assert_eq!(place(Some(2)).config(&four), None);
        let any = Scenario::new("any", Config::default(), |_| Ok(()));
        let config = place(Some(1)).config(&any).unwrap();
        assert_eq!((config.lps, config.bochs), (1, Some(Processor::Svm)));
    }

    #[test]
    fn every_machine_has_something_to_try() {
        let all = scenarios::all();
        for lps in [1, 2, 4] {
            let place = Place {
                processor: Processor::Vmx,
                lps: Some(lps),
            };
            let fitting = all.iter().filter(|it| it.smoke && it.anywhere);
            let counted = fitting.clone().filter(|it| it.counted);
            let counted: Vec<_> = counted.filter(|it| place.config(it).is_some()).collect();
            assert_eq!(counted.len(), 1, "{lps} processors");
            assert!(fitting.count() >= 4);
        }
    }
}
