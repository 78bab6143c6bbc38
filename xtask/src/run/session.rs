//! A machine that is being watched until the outcome is known.

use std::time::Duration;

use anyhow::Result;
use qemu_suite::config::Config;
use qemu_suite::emulator::Console;
use qemu_suite::machine::{Kit, Machine};
use qemu_suite::protocol::Event;

use super::{Failed, code};

/// The machine with what has been seen of it.
pub struct Session<'k> {
    /// The machine.
    pub machine: Machine,
    kit: &'k Kit,
    limit: Option<Duration>,
    seen: usize,
}

impl<'k> Session<'k> {
    /// Starts the emulator.
    pub fn start(
        kit: &'k Kit,
        config: &Config,
        console: Console,
        limit: Option<Duration>,
    ) -> Result<Self> {
        let machine = Machine::start(kit, config, console)?;
        Ok(Self {
            machine,
            kit,
            limit,
            seen: 0,
        })
    }

    /// Waits a moment, and gives the events that came meanwhile; an error when the time is up.
    pub fn step(&mut self) -> Result<Vec<Event>> {
        let seen = self.seen;
        // Only a pause that an event shortens: whether one came is seen below.
        let _ = self
            .machine
            .client()
            .wait_event(seen, Duration::from_millis(100), |_| true);
        if self.machine.client().closed() {
            std::thread::sleep(Duration::from_millis(50));
        }
        if let Some(line) = self.machine.panic_line() {
            return Err(self.failed(code::HYPERVISOR, format!("the hypervisor gave up: {line}")));
        }
        let events = self.machine.client().events_from(seen);
        self.seen += events.len();
        if events.is_empty()
            && self
                .limit
                .is_some_and(|limit| self.machine.started.elapsed() >= limit)
        {
            let seconds = self.machine.started.elapsed().as_secs();
            return Err(self.failed(code::TIMEOUT, format!("no outcome after {seconds} s")));
        }
        Ok(events)
    }

    /// An error with this exit code, which tells where the serial log is.
    pub fn failed(&self, code: u8, sentence: String) -> anyhow::Error {
        let kept = self.machine.keep_log(&self.kit.logs, "run");
        Failed {
            code,
            sentence: format!("{sentence}; {kept}"),
        }
        .into()
    }
}

/// What a script error event says.
pub fn script_error(event: &Event) -> String {
    let line = event.fields.get("line").unwrap_or("?");
    let error = event.fields.get("error").unwrap_or("no reason given");
    format!("line {line} of the start script: {error}")
}

/// Why a partition stopped, as a clause.
pub fn stop_reason(event: &Event) -> String {
    let text = |key: &str| event.fields.get(key).unwrap_or_default();
    format!(
        "reason={} code={} {}",
        text("reason"),
        text("code"),
        text("detail")
    )
    .trim_end()
    .to_string()
}
