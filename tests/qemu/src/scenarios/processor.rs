//! What a hostile guest does with its processor. Each beside a sibling whose heart goes on.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::bare;
use crate::bochs::Processor;
use crate::child::{Child, Order};
use crate::machine::Machine;
use crate::scenario::Scenario;

/// The payload that probes.
pub const PAYLOAD: &str = "probe.elf";
/// The latest that a sibling's tick may come, in microseconds. A slice is 2 ms; what the host does besides may cost far
/// more, and a tick that never comes is what this is to find.
const LATEST: u64 = 1_500_000;
/// The same in Bochs's SVM, where a guest that was entered with interrupts off cannot be preempted before it turns them on.
const LATEST_UNPREEMPTED: u64 = 4 * LATEST;

pub fn scenarios() -> Vec<Scenario> {
    let control = |name, of| probe(name, heart).control_of(of);
    vec![
        probe("cpu_01_model_specific_registers", |m| {
            beside_a_heart(m, "msr")
        }),
        control(
            "cpu_01_control_heartbeat",
            "cpu_01_model_specific_registers",
        ),
        probe("cpu_11_triple_fault", |m| stops(m, "triple", "fault")),
        probe("cpu_11_halt_with_interrupts_off", |m| {
            stops(m, "halt-off", "shutdown")
        }),
        probe("cpu_11_control_start_up_of_a_second_vp", second_vp)
            .control_of("cpu_11_triple_fault")
            .smoke(),
        control(
            "cpu_11_control_heartbeat",
            "cpu_11_halt_with_interrupts_off",
        ),
        probe("cpu_18_virtualisation_instructions", |m| {
            beside_a_heart(m, "instructions")
        }),
        probe("cpu_18_control_ordinary_instructions", |m| {
            beside_a_heart(m, "cpuid")
        })
        .control_of("cpu_18_virtualisation_instructions"),
        probe("cpu_29_vp_that_never_yields", never_yields),
        control(
            "cpu_29_control_heartbeat_alone",
            "cpu_29_vp_that_never_yields",
        ),
        probe("interrupts_to_oneself", to_oneself).smoke(),
        probe("interrupts_to_a_vp_that_runs", to_one_that_runs).smoke(),
        probe("timers_and_clocks", |m| beside_a_heart(m, "timer clock")).smoke(),
    ]
}

/// A scenario that judges the probe, and needs no more than processors and memory.
pub fn probe(name: &'static str, run: fn(&mut Machine) -> Result<()>) -> Scenario {
    Scenario::new(name, bare(), run).payload(PAYLOAD).anywhere()
}

/// A sibling that ticks on an LP.
pub fn heartbeat<'m>(machine: &'m Machine, lp: u32, count: u32) -> Result<Child<'m>> {
    let child = Child::start(
        machine,
        &Order {
            payload: PAYLOAD,
            options: &format!("memory=16M lps={lp}"),
            words: &format!("heartbeat quiet period=50 count={count}"),
            devices: &[],
        },
    )?;
    child.line(|line| line.starts_with("probe: tick 1 "))?;
    Ok(child)
}

/// Waits for the end of a heartbeat; no tick was later than it may be.
pub fn beats(child: &Child) -> Result<()> {
    let outcome = child.ended(Duration::from_secs(60))?;
    let report = outcome
        .lines
        .iter()
        .find(|line| line.contains("heartbeat ok"));
    let latest = report
        .and_then(|line| line.split("latest ").nth(1))
        .and_then(|text| text.split(' ').next())
        .and_then(|number| number.parse::<u64>().ok());
    let latest = latest.ok_or_else(|| anyhow::anyhow!("no heartbeat: {:?}", outcome.lines))?;
    let limit = match child.machine().bochs() {
        Some(Processor::Svm) => LATEST_UNPREEMPTED,
        _ => LATEST,
    };
    ensure!(
        latest <= limit,
        "a tick of the sibling came {latest} us late"
    );
    Ok(())
}

fn heart(machine: &mut Machine) -> Result<()> {
    beats(&heartbeat(machine, 0, 20)?)
}

/// A probe that must be content, on the LP of a heartbeat that must not notice.
pub fn beside_a_heart(machine: &mut Machine, words: &str) -> Result<()> {
    let sibling = heartbeat(machine, 0, 40)?;
    let child = Child::interactive(machine, PAYLOAD, &[])?;
    child.ask_good(words)?;
    beats(&sibling)
}

/// The child ends for the given reason; its sibling does not.
pub fn stops(machine: &mut Machine, words: &str, reason: &str) -> Result<()> {
    let sibling = heartbeat(machine, 0, 40)?;
    let child = Child::interactive(machine, PAYLOAD, &[])?;
    child.tell(words)?;
    child.line(|line| line == format!("probe: {words} begins"))?;
    let outcome = child.ended(Duration::from_secs(20))?;
    ensure!(
        outcome.reason == reason,
        "it ended by {} {} {}",
        outcome.reason,
        outcome.code,
        outcome.detail
    );
    beats(&sibling)
}

/// INIT and start-up IPIs as they are meant: a second VP starts and answers.
fn second_vp(machine: &mut Machine) -> Result<()> {
    let child = Child::start(
        machine,
        &Order {
            payload: PAYLOAD,
            options: &format!("memory=16M vps=2 lps=0,{}", machine.lp(1)),
            words: "ipi vps=2",
            devices: &[],
        },
    )?;
    let outcome = child.ended(Duration::from_secs(60))?;
    let answered = outcome.lines.iter().any(|line| line.contains("ipi ok"));
    ensure!(
        answered && outcome.code == 1,
        "{} {:?}",
        outcome.code,
        outcome.lines
    );
    Ok(())
}

/// A VP that spins with interrupts off on each LP: siblings on both tick, the agent answers, and it was preempted.
fn never_yields(machine: &mut Machine) -> Result<()> {
    // Bochs, after a VMRUN of a guest whose IF is clear, holds the host's interrupts back until the guest writes IF, whatever
    // the host's IF says (its VMRUN masks them before it is in the guest's mode). A guest that opens IF for no instruction
    // at all takes no interrupt either, and has Bochs think again. With VMX the preemption timer leaves the guest.
    let words = match machine.bochs() {
        Some(Processor::Svm) => "spin shadow",
        _ => "spin",
    };
    let mut spinners = Vec::new();
    for lp in [0, machine.lp(1)] {
        let child = Child::start(
            machine,
            &Order {
                payload: PAYLOAD,
                options: &format!("memory=16M lps={lp}"),
                words,
                devices: &[],
            },
        )?;
        child.line(|line| line == "probe: spin begins")?;
        spinners.push(child);
    }
    let siblings = [
        heartbeat(machine, 0, 40)?,
        heartbeat(machine, machine.lp(1), 40)?,
    ];
    for sibling in &siblings {
        beats(sibling)?;
    }
    for child in &spinners {
        let counters = child.command("counters {}")?.result;
        let preempted = counters.number("preemptions").unwrap_or(0);
        ensure!(
            preempted > 10,
            "{} was preempted {preempted} times",
            child.name()
        );
    }
    Ok(())
}

/// What a probe says of the exits that its interrupts took.
fn exits_of(machine: &Machine, words: &str, options: &str) -> Result<u64> {
    let child = Child::start(
        machine,
        &Order {
            payload: PAYLOAD,
            options,
            words,
            devices: &[],
        },
    )?;
    let outcome = child.ended(Duration::from_secs(60))?;
    let report = outcome
        .lines
        .iter()
        .find(|line| line.contains(&format!("{words} ok")));
    let exits = report
        .and_then(|line| line.split("exits ").nth(1))
        .and_then(|text| text.split(' ').next())
        .and_then(|number| number.parse().ok());
    exits.ok_or_else(|| anyhow::anyhow!("{} {:?}", outcome.code, outcome.lines))
}

/// A thousand self-IPIs and their ends of interrupt: two exits each, and none where the processor serves interrupts.
fn to_oneself(machine: &mut Machine) -> Result<()> {
    let exits = exits_of(machine, "self-ipi", "memory=16M")?;
    let served = matches!(machine.bochs(), Some(Processor::Vmx | Processor::OldVmx));
    ensure!(
        if served { exits < 300 } else { exits >= 2000 },
        "{exits} exits, served by the processor: {served}"
    );
    Ok(())
}

/// Five hundred IPIs to a VP that runs: all arrive. It leaves the guest for each, unless the processor takes posted interrupts.
fn to_one_that_runs(machine: &mut Machine) -> Result<()> {
    let options = format!("memory=16M vps=2 lps=0,{}", machine.lp(1));
    let exits = exits_of(machine, "post", &options)?;
    if machine.lp(1) == 0 {
        // Not both of them run, and they leave for one another.
        return Ok(());
    }
    let posted = machine.bochs() == Some(Processor::Vmx);
    ensure!(
        if posted { exits < 200 } else { exits >= 400 },
        "{exits} exits for the host, posted interrupts: {posted}"
    );
    Ok(())
}
