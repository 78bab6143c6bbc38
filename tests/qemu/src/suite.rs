//! Runs the scenarios as ordinary tests.

use std::fs;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use libtest_mimic::{Arguments, Trial};

use crate::config::{Accelerator, Dialect, Iommu};
use crate::ignored::{self, Ignored};
use crate::machine::{Kit, Machine};
use crate::place::{self, Place};
use crate::pool::Pool;
use crate::scenario::Scenario;
use crate::scenarios;

/// What to run and how.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Only scenarios whose name contains this.
    pub filter: Option<String>,
    /// At most so many at once.
    pub threads: usize,
    /// On machines with each of these kinds of IOMMU.
    pub dialects: Vec<Dialect>,
    /// How QEMU executes instructions where a scenario does not mind; translation unless told.
    pub accelerator: Option<Accelerator>,
    /// In Bochs, only scenarios that run on every emulator, on each of these machines.
    pub bochs: Vec<Place>,
    /// Further machines in Bochs, on each of which a few scenarios run one after the other.
    pub smoke: Vec<Place>,
    /// Load this payload in place of every other one, and expect every scenario that has a payload to fail.
    pub replaced_by: Option<String>,
}

/// How many passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Passed.
    pub passed: u64,
    /// Failed.
    pub failed: u64,
}

/// Runs what the options select.
pub fn run(kit: Kit, options: &Options) -> Result<Counts> {
    let kit = Kit {
        replaced_by: options.replaced_by.clone(),
        ..kit
    };
    let chosen = select(scenarios::all(), options)?;
    let mut selected = placed(&chosen, options);
    let left_out: Vec<&Ignored> = selected.iter().filter_map(ignored::of).collect();
    // Side by side in the table means side by side in time: scenarios of one configuration share machines.
    selected.sort_by_key(|scenario| (format!("{:?}", scenario.config), scenario.name));
    let wanted = selected
        .iter()
        .filter(|scenario| ignored::of(scenario).is_none())
        .map(|scenario| scenario.config.clone())
        .collect();
    let pool = Arc::new(Pool::new(kit, wanted));
    let trials = selected.into_iter().map(|scenario| trial(scenario, &pool));
    let smokes = options.smoke.iter();
    let smokes = smokes.map(|place| smoke_trial(*place, &chosen, &pool));
    let trials = trials.chain(smokes).collect();
    let arguments = Arguments {
        test_threads: Some(options.threads.max(1)),
        ..Arguments::default()
    };
    let conclusion = libtest_mimic::run(&arguments, trials);
    left_out.iter().for_each(|it| println!("{it}"));
    Ok(Counts {
        passed: conclusion.num_passed,
        failed: conclusion.num_failed,
    })
}

/// One line for each scenario: its name, and what it is a control of or which controls it has; then those that are ignored.
pub fn list(options: &Options) -> Result<Vec<String>> {
    let all = scenarios::all();
    let selected = select(all.clone(), options)?;
    let scenarios = selected.iter().map(|scenario| describe(scenario, &all));
    let each = placed(&selected, options);
    let left_out = each.iter().filter_map(ignored::of).map(Ignored::to_string);
    Ok(scenarios.chain(left_out).collect())
}

fn describe(scenario: &Scenario, all: &[Scenario]) -> String {
    let controls = all
        .iter()
        .filter(|other| other.control_of == Some(scenario.name));
    let controls: Vec<&str> = controls.map(|other| other.name).collect();
    let mut line = scenario.name.to_string();
    if let Some(hostile) = scenario.control_of {
        line.push_str(&format!("  (positive control of {hostile})"));
    }
    if !controls.is_empty() {
        line.push_str(&format!(
            "  (hostile; positive control: {})",
            controls.join(", ")
        ));
    }
    line
}

/// In QEMU all but what is for Bochs alone; there, what needs no device.
fn runs_there(scenario: &Scenario, options: &Options) -> bool {
    if options.bochs.is_empty() {
        !scenario.bochs_alone
    } else {
        scenario.anywhere
    }
}

fn select(all: Vec<Scenario>, options: &Options) -> Result<Vec<Scenario>> {
    let filter = options.filter.as_deref().unwrap_or("");
    let halted = options.replaced_by.is_some();
    let chosen = |scenario: &Scenario| {
        scenario.name.contains(filter)
            && (!halted || scenario.payload.is_some())
            && runs_there(scenario, options)
    };
    let selected: Vec<Scenario> = all.into_iter().filter(chosen).collect();
    if selected.is_empty() {
        bail!("no scenario's name contains \"{filter}\"; --list shows all names");
    }
    Ok(selected)
}

/// The scenarios on machines with each kind of IOMMU; on a machine without one, once.
fn on_each(scenarios: &[Scenario], dialects: &[Dialect]) -> Vec<Scenario> {
    let mut all = Vec::new();
    for (number, &dialect) in dialects.iter().enumerate() {
        let machines = scenarios.iter().cloned();
        let machines = machines.map(|scenario| scenario.with_dialect(dialect));
        all.extend(machines.filter(|it| number == 0 || it.config.iommu != Iommu::None));
    }
    all
}

/// The scenarios where they run.
fn placed(scenarios: &[Scenario], options: &Options) -> Vec<Scenario> {
    if options.bochs.is_empty() {
        let mut all = on_each(scenarios, &options.dialects);
        let indifferent = all
            .iter_mut()
            .filter(|it| it.config.accelerator == Accelerator::Tcg);
        for scenario in indifferent {
            scenario.config.accelerator = options.accelerator.unwrap_or(Accelerator::Tcg);
        }
        all
    } else {
        place::on_each(scenarios, &options.bochs)
    }
}

/// The name of a scenario's logs.
fn label(scenario: &Scenario) -> String {
    match scenario.config.to_string().as_str() {
        "" => scenario.name.into(),
        machine => format!("{}.{machine}", scenario.name),
    }
}

/// A few scenarios, one after the other on one machine.
fn smoke_trial(place: Place, scenarios: &[Scenario], pool: &Arc<Pool>) -> Trial {
    let (pool, scenarios) = (Arc::clone(pool), scenarios.to_vec());
    let machine = place.to_string();
    let label = format!("smoke.{machine}");
    let test = Trial::test("smoke", move || {
        let begin = Instant::now();
        let outcome = place::smoke(pool.kit(), place, &scenarios);
        note_time(&pool, &label, begin.elapsed());
        outcome.map_err(|error| format!("{error:#}").into())
    });
    test.with_kind(machine)
}

fn trial(scenario: Scenario, pool: &Arc<Pool>) -> Trial {
    let pool = Arc::clone(pool);
    let ignored = ignored::of(&scenario).is_some();
    let kind = scenario.config.to_string();
    let test = Trial::test(scenario.name, move || {
        let begin = Instant::now();
        let outcome = attempt(&scenario, &pool);
        note_time(&pool, &label(&scenario), begin.elapsed());
        match (outcome, pool.kit().replaced_by.is_some()) {
            (Ok(()), true) => Err("passed although its payload only halts".into()),
            (Err(error), false) => Err(format!("{error:#}").into()),
            _ => Ok(()),
        }
    });
    test.with_kind(kind).with_ignored_flag(ignored)
}

/// Keeps how long each scenario took, its boot included, beside the logs: where the suite's time goes.
fn note_time(pool: &Pool, name: &str, took: Duration) {
    let folder = &pool.kit().logs;
    let line = format!("{:8.1} {name}\n", took.as_secs_f64());
    // A help for who makes the suite faster; a suite on a full disk has other worries.
    let _ = fs::create_dir_all(folder);
    let file = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.join("times.txt"));
    let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
}

fn attempt(scenario: &Scenario, pool: &Pool) -> Result<()> {
    let mut machine = if scenario.unready {
        pool.started(&scenario.config)?
    } else {
        pool.borrow(&scenario.config, scenario.alone)?
    };
    let outcome = (scenario.run)(&mut machine);
    let outcome = outcome.and_then(|()| sound(&machine, scenario));
    if let Err(error) = outcome {
        let kept = machine.keep_log(&pool.kit().logs, &label(scenario));
        return Err(error.context(kept));
    }
    if !scenario.alone && machine.clean().is_ok() {
        pool.give_back(&scenario.config, machine);
    }
    Ok(())
}

/// A scenario never passes on a machine whose hypervisor or root agent gave up, unless that is what it wants.
fn sound(machine: &Machine, scenario: &Scenario) -> Result<()> {
    match (machine.panic_line(), scenario.stops) {
        (Some(line), false) => bail!("the machine panicked: {line}"),
        (None, true) => bail!("the machine did not stop"),
        (Some(_), true) => return Ok(()),
        (None, false) => {}
    }
    if scenario.unready {
        return Ok(());
    }
    machine
        .command("lps")
        .context("the root agent no longer answers")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_controls_point_at_scenarios() {
        let all = scenarios::all();
        for (index, scenario) in all.iter().enumerate() {
            let twice = all
                .iter()
                .skip(index + 1)
                .any(|other| other.name == scenario.name);
            assert!(!twice, "{} is there twice", scenario.name);
            if let Some(hostile) = scenario.control_of {
                assert!(
                    all.iter().any(|other| other.name == hostile),
                    "{hostile} does not exist"
                );
            }
        }
    }

    #[test]
    fn a_filter_that_selects_nothing_is_refused() {
        let options = Options {
            filter: Some("no such scenario".into()),
            ..Options::default()
        };
        assert!(list(&options).unwrap_err().to_string().contains("--list"));
    }
}
