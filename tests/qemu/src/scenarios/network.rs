//! Network cards in children, with the harness at the other end of their cables.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{E1000E, IGB, full};
use crate::child::{Child, Order};
use crate::frames::{self, Counts, HOST};
use crate::machine::Machine;
use crate::scenario::Scenario;

const PAYLOAD: &str = "net.elf";
const FIRST: [u8; 4] = [10, 7, 0, 2];
const SECOND: [u8; 4] = [10, 7, 0, 3];
const PATIENCE: Duration = Duration::from_secs(60);

pub fn scenarios() -> Vec<Scenario> {
    let net = |name, run| Scenario::new(name, full(), run).payload(PAYLOAD);
    vec![
        net("two_children_with_a_nic_each", two_children),
        net("int_02_control_msix_delivers", |m| by_message(m, "msix"))
            .control_of("int_02_raw_message_in_msix_table"),
        net("nic_by_msi", |m| by_message(m, "msi")),
    ]
}

/// Each pings the other and the host through its own card, and the host pings both.
fn two_children(machine: &mut Machine) -> Result<()> {
    let ping = |own: &str, other: &str| format!("ip={own}/24 ping={other} count=5 stay");
    let start = |words: &str, device| {
        let order = Order {
            payload: PAYLOAD,
            options: "memory=16M",
            words,
            devices: &[device],
        };
        Child::start(machine, &order)
    };
    let one = start(&ping("10.7.0.2", "10.7.0.3"), IGB)?;
    let other = start(&ping("10.7.0.3", "10.7.0.1"), E1000E)?;
    let wires = [machine.wire(IGB.0)?, machine.wire(E1000E.0)?];
    let done = |child: &Child| -> bool {
        let lines = machine.lines(child.name(), 0);
        lines.iter().any(|line| line == "net: ping ok 5")
    };
    let deadline = Instant::now() + machine.patience(PATIENCE);
    let mut counts = Counts::default();
    while Instant::now() < deadline {
        frames::switch(&wires, &mut counts, Duration::from_millis(200))?;
        frames::ping(&wires, &mut counts, FIRST)?;
        frames::ping(&wires, &mut counts, SECOND)?;
        let host = counts.answers(FIRST) >= 5 && counts.answers(SECOND) >= 5;
        if host && done(&one) && done(&other) {
            break;
        }
    }
    for (child, address) in [(&one, FIRST), (&other, SECOND)] {
        let lines = machine.lines(child.name(), 0);
        ensure!(done(child), "{} wrote {lines:?}", child.name());
        let answers = counts.answers(address);
        ensure!(
            answers >= 5,
            "{} answered {answers} pings of the host",
            child.name()
        );
    }
    ensure!(counts.between > 0, "no frame went between the two");
    carried(&one)?;
    carried(&other)
}

/// Interrupts of the device came, and pages are mapped for its DMA.
fn carried(child: &Child) -> Result<()> {
    let counters = child.command("counters {}")?.result;
    let of = |key| counters.number(key).unwrap_or(0);
    ensure!(
        of("device-interrupts") > 0,
        "{} got no interrupt",
        child.name()
    );
    ensure!(
        of("domain-pages") > 0,
        "{} has no pages for DMA",
        child.name()
    );
    ensure!(
        of("dma-faults") == 0,
        "{} had {} faults",
        child.name(),
        of("dma-faults")
    );
    Ok(())
}

/// A card whose driver uses only this kind of message pings the host.
fn by_message(machine: &mut Machine, kind: &str) -> Result<()> {
    let words = format!("ip=10.7.0.2/24 ping=10.7.0.1 count=3 irq={kind}");
    let order = Order {
        payload: PAYLOAD,
        options: "memory=16M",
        words: &words,
        devices: &[IGB],
    };
    let child = Child::start(machine, &order)?;
    let wires = [machine.wire(IGB.0)?];
    let deadline = Instant::now() + machine.patience(PATIENCE);
    let mut counts = Counts::default();
    let mut checked = false;
    while Instant::now() < deadline {
        frames::switch(&wires, &mut counts, Duration::from_millis(100))?;
        let lines = machine.lines(child.name(), 0);
        if !checked && counts.echoed > 0 {
            carried(&child)?;
            checked = true;
        }
        if lines.iter().any(|line| line == "net: ping ok 3") {
            ensure!(checked, "the host answered no ping");
            ensure!(
                counts.echoed >= 3 && HOST != FIRST,
                "the host answered {}",
                counts.echoed
            );
            return Ok(());
        }
    }
    anyhow::bail!(
        "no ping came through; the child wrote {:?}",
        machine.lines(child.name(), 0)
    )
}
