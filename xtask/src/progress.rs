//! Lines that tell a person what is going on, and commands that say nothing unless they fail.

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Prints one line about what happens next.
pub fn say(text: impl AsRef<str>) {
    eprintln!("portcullis: {}", text.as_ref());
}

/// Runs `command` with its output in `log`, and says how long it has been going on.
///
/// On failure the error holds the end of the log.
pub fn quietly(what: &str, command: &mut Command, log: &Path) -> Result<()> {
    let file = fs::File::create(log).with_context(|| format!("cannot make {}", log.display()))?;
    let program = command.get_program().to_string_lossy().into_owned();
    command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file);
    let mut process = command
        .spawn()
        .with_context(|| format!("cannot start {program}"))?;
    let mut ticker = Ticker::new(what);
    let status = loop {
        if let Some(status) = process.try_wait()? {
            break status;
        }
        ticker.tick("");
        std::thread::sleep(Duration::from_millis(50));
    };
    ticker.done();
    if status.success() {
        return Ok(());
    }
    let text = fs::read(log)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let end = lines
        .get(lines.len().saturating_sub(12)..)
        .unwrap_or_default()
        .join("\n");
    bail!("{what} failed ({program} ended with {status}):\n{end}")
}

/// Repeats a line while something takes long: in place on a terminal, every ten seconds elsewhere.
#[derive(Debug)]
pub struct Ticker {
    what: String,
    started: Instant,
    last: Instant,
    live: bool,
}

impl Ticker {
    /// Says what begins.
    pub fn new(what: &str) -> Self {
        say(format!("{what} …"));
        let now = Instant::now();
        Self {
            what: what.into(),
            started: now,
            last: now,
            live: std::io::stderr().is_terminal(),
        }
    }

    /// Says that it is still going on, if it is time to; `detail` says how far it is.
    pub fn tick(&mut self, detail: &str) {
        let pause = Duration::from_secs(if self.live { 1 } else { 10 });
        if self.last.elapsed() < pause {
            return;
        }
        self.last = Instant::now();
        let seconds = self.started.elapsed().as_secs();
        let line = format!("portcullis: {} … {seconds} s {detail}", self.what);
        if self.live {
            eprint!("\r{line}\x1b[K");
            // A line that cannot be shown is no reason to stop.
            let _ = std::io::stderr().flush();
        } else {
            eprintln!("{line}");
        }
    }

    /// Removes the live line.
    pub fn done(&mut self) {
        if self.live {
            eprint!("\r\x1b[K");
        }
    }
}
