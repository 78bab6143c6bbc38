//! DMA-04: a device that firmware left running, and that nobody owns.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::config::{Config, DeviceKind, Network};
use crate::frames;
use crate::machine::{BOOT_TIME, Machine};
use crate::scenario::Scenario;

const STAGE: &str = "running-nic.efi";

pub fn scenarios() -> Vec<Scenario> {
    let scenario = |name, run| {
        Scenario::new(name, config(), run)
            .payload(STAGE)
            .unready()
            .alone()
    };
    vec![
        scenario("dma_04_device_left_running_by_firmware", left_running),
        scenario("dma_04_control_it_receives_before", receives_before)
            .control_of("dma_04_device_left_running_by_firmware"),
    ]
}

fn config() -> Config {
    let config = Config::default().device(DeviceKind::E1000e, Network::Wire);
    Config {
        stage: Some(STAGE.into()),
        ..config
    }
}

/// Sends frames until the stage says that one has come; where its ring is, and how long.
fn receiving(machine: &mut Machine) -> Result<(u64, usize)> {
    let end = std::time::Instant::now() + machine.patience(BOOT_TIME);
    while std::time::Instant::now() < end {
        frames::shout(machine.wire(0)?);
        std::thread::sleep(Duration::from_millis(50));
        let log = machine.serial_log();
        if let Some(line) = log
            .lines()
            .find_map(|line| line.split("stage: receiving at ").nth(1))
        {
            let mut words = line.split_whitespace();
            let ring = words.next().and_then(|text| text.strip_prefix("0x"));
            let ring = ring.and_then(|digits| u64::from_str_radix(digits, 16).ok());
            let bytes = words.nth(1).and_then(|text| text.parse().ok());
            return ring
                .zip(bytes)
                .with_context(|| format!("not understood: {line}"));
        }
        ensure!(machine.ended().is_none(), "the emulator ended");
    }
    anyhow::bail!("the stage received nothing")
}

/// Frames go on arriving at the adapter's end of the cable, and its memory does not change once the hypervisor runs.
fn left_running(machine: &mut Machine) -> Result<()> {
    let (ring, bytes) = receiving(machine)?;
    machine.wait_ready(BOOT_TIME)?;
    let master = machine.config_register(0, 4)? & 4;
    ensure!(master == 0, "a device that nobody owns masters the bus");
    let before = machine.physical(ring, bytes)?;
    ensure!(before.iter().any(|byte| *byte != 0), "the ring is empty");
    for _ in 0..50 {
        frames::shout(machine.wire(0)?);
        std::thread::sleep(Duration::from_millis(10));
    }
    ensure!(
        machine.physical(ring, bytes)? == before,
        "the adapter wrote to its old ring"
    );
    // Nobody's fault is nobody's trouble: the rest works.
    let outcome = machine.run("hello.elf", "greeting=moin", "memory=16M", super::SHORT)?;
    ensure!(
        outcome.reason == "exit",
        "a child ended by {}",
        outcome.reason
    );
    Ok(())
}

/// Before the hypervisor runs, frames do arrive in the ring.
fn receives_before(machine: &mut Machine) -> Result<()> {
    let (ring, bytes) = receiving(machine)?;
    let memory = machine.physical(ring, bytes)?;
    ensure!(
        memory
            .windows(frames::SHOUT.len())
            .any(|window| window == frames::SHOUT),
        "no frame is in the ring"
    );
    Ok(())
}
