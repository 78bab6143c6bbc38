//! Where scenarios run that need neither an IOMMU nor a device: machines in Bochs.

use std::fmt;

use anyhow::{Context, Result};

use crate::bochs::Processor;
use crate::config::Config;
use crate::ignored;
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
    /// The scenario on this machine; none where it is about another number of processors.
    fn with(self, scenario: &Scenario) -> Option<Scenario> {
        let own = scenario.config.lps;
        let lps = self.lps.unwrap_or(own);
        (!scenario.counted || lps == own).then(|| Scenario {
            config: Config::on_bochs(self.processor, lps),
            ..scenario.clone()
        })
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
    let on = |place: &Place| {
        let place = *place;
        scenarios.iter().filter_map(move |it| place.with(it))
    };
    places.iter().flat_map(on).collect()
}

/// The few scenarios that this machine is tried with: not those that mean nothing on it.
fn few(place: Place, scenarios: &[Scenario]) -> Vec<Scenario> {
    let smokes = scenarios.iter().filter(|it| it.smoke);
    let fitting = smokes.filter_map(|it| place.with(it));
    fitting.filter(|it| ignored::of(it).is_none()).collect()
}

/// The few scenarios that are to be tried on every machine, one after the other on this one.
pub fn smoke(kit: &Kit, place: Place, scenarios: &[Scenario]) -> Result<()> {
    let scenarios = few(place, scenarios);
    let first = scenarios.first().context("no scenario fits this machine")?;
    let config = first.config.clone();
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
        let config = |lps, scenario| place(lps).with(scenario).map(|it| it.config);
        assert_eq!(config(None, &four).map(|config| config.lps), Some(4));
        assert_eq!(config(Some(4), &four), config(None, &four));
        assert_eq!(config(Some(2), &four), None);
        let any = Scenario::new("any", Config::default(), |_| Ok(()));
        let config = config(Some(1), &any).unwrap();
        assert_eq!((config.lps, config.bochs), (1, Some(Processor::Svm)));
    }

    #[test]
    fn every_machine_has_something_to_try() {
        let all = scenarios::all();
        for processor in Processor::ALL {
            for lps in [1, 2, 4] {
                let place = Place {
                    processor,
                    lps: Some(lps),
                };
                let fitting = few(place, &all);
                let counted = fitting.iter().filter(|it| it.counted).count();
                assert_eq!(counted, 1, "{place}");
                assert!(fitting.len() >= 5 && fitting.iter().all(|it| it.anywhere));
            }
        }
    }

    #[test]
    fn a_machine_is_not_tried_with_what_is_ignored_on_it() {
        let name = "cpu_10_debug_exceptions_in_shadows";
        let scenario = Scenario::new(name, Config::default(), |_| Ok(())).smoke();
        let tried = |processor| {
            let lps = Some(2);
            few(Place { processor, lps }, core::slice::from_ref(&scenario)).len()
        };
        assert_eq!((tried(Processor::Vmx), tried(Processor::Svm)), (1, 0));
    }
}
