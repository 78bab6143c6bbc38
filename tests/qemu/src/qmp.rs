//! The emulator's own monitor: hot-plug, power, questions about its devices.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// How long the emulator may take for one answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection to the monitor.
#[derive(Debug)]
pub struct Qmp {
    writer: UnixStream,
    reader: BufReader<UnixStream>,
}

impl Qmp {
    /// Connects and leaves the negotiation behind.
    pub fn connect(socket: &Path) -> Result<Self> {
        let writer =
            UnixStream::connect(socket).context("the emulator's monitor cannot be reached")?;
        writer.set_read_timeout(Some(PATIENCE))?;
        let reader = BufReader::new(writer.try_clone()?);
        let mut monitor = Self { writer, reader };
        monitor.read()?;
        monitor.call("qmp_capabilities", json!({}))?;
        Ok(monitor)
    }

    /// Carries out `command` and returns what it returned.
    pub fn call(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let request = json!({ "execute": command, "arguments": arguments });
        writeln!(self.writer, "{request}").context("the emulator's monitor is gone")?;
        loop {
            let answer = self.read()?;
            if let Some(error) = answer.get("error") {
                bail!("the emulator refused {command}: {error}");
            }
            if let Some(value) = answer.get("return") {
                return Ok(value.clone());
            }
        }
    }

    /// Carries out a line of the monitor for persons; what it says.
    pub fn human(&mut self, line: &str) -> Result<String> {
        let arguments = json!({ "command-line": line });
        let answer = self.call("human-monitor-command", arguments)?;
        Ok(answer.as_str().unwrap_or_default().to_string())
    }

    fn read(&mut self) -> Result<Value> {
        let mut line = String::new();
        let count = self
            .reader
            .read_line(&mut line)
            .context("the emulator's monitor is silent")?;
        if count == 0 {
            bail!("the emulator has ended");
        }
        serde_json::from_str(&line)
            .context("the emulator's monitor sent something that is not JSON")
    }
}
