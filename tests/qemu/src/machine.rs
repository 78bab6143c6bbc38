//! A running machine, and what a scenario does with it.

use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::artifacts::Artifacts;
use crate::bochs::{self, Bochs};
use crate::client::{Client, CommandError, Reply};
use crate::config::{Config, Dialect, MOST_DEVICES};
use crate::emulator::{Console, Emulator, RunFiles};
use crate::keyboard::Keyboard;
use crate::power::{self, said};
use crate::protocol::{Event, quote};
use crate::qmp::Qmp;
use crate::scratch::Scratch;
use crate::serial_line::SerialLine;
use crate::volume::{self, VolumeFile};

/// Between the emulator's start and the root agent's `ready`; the firmware alone takes five seconds.
pub const BOOT_TIME: Duration = Duration::from_secs(90);
/// For one command of the line protocol.
pub const COMMAND_TIME: Duration = Duration::from_secs(30);

/// What all machines of a run are made from.
#[derive(Clone, Debug)]
pub struct Kit {
    /// The emulator.
    pub emulator: Emulator,
    /// The build.
    pub artifacts: Artifacts,
    /// The other emulator, for the machines that ask for it.
    pub bochs: Option<Bochs>,
    /// Where the logs of failed machines go.
    pub logs: PathBuf,
    /// A payload that is loaded in place of every other one: a scenario whose payload only halts must fail.
    pub replaced_by: Option<String>,
}

/// An emulator process with a connected line protocol.
#[derive(Debug)]
pub struct Machine {
    process: Child,
    /// The first serial line, where the harness carries it.
    line: Option<SerialLine>,
    console: Console,
    client: Client,
    files: RunFiles,
    scratch: Scratch,
    wires: Vec<Option<UdpSocket>>,
    keyboard: Option<Keyboard>,
    replaced_by: Option<String>,
    dialect: Dialect,
    lps: u32,
    bochs: Option<bochs::Processor>,
    next_name: AtomicU32,
    /// When the emulator was started.
    pub started: Instant,
}

/// How a child partition's run ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The lines that it wrote to its console.
    pub lines: Vec<String>,
    /// `exit`, `shutdown`, `fault` or `deleted`.
    pub reason: String,
    /// The stop code.
    pub code: u64,
    /// More about a fault.
    pub detail: String,
}

impl Machine {
    /// Starts the emulator; does not wait for the boot.
    pub fn start(kit: &Kit, config: &Config, console: Console) -> Result<Self> {
        ensure!(
            config.devices.len() <= MOST_DEVICES,
            "a machine has at most {MOST_DEVICES} devices"
        );
        let scratch = Scratch::new("vm")?;
        let files = RunFiles::below(scratch.path());
        assemble(kit, config, &files.volume)?;
        let (wires, ports) = power::wires(config)?;
        let started = Instant::now();
        let (process, stream, line) = match config.bochs {
            Some(processor) => {
                let bochs = kit.bochs.as_ref().context("Bochs has not been set up")?;
                let started = bochs.start(processor, config, &files, console, scratch.path())?;
                (started.process, started.protocol, Some(started.console))
            }
            None => {
                let (process, stream) = power::on(
                    &kit.emulator,
                    config,
                    &files,
                    console,
                    &ports,
                    scratch.path(),
                )?;
                (process, stream, None)
            }
        };
        Ok(Self {
            process,
            line,
            lps: config.lps,
            bochs: config.bochs,
            console,
            client: Client::new(stream)?,
            files,
            scratch,
            wires,
            keyboard: None,
            replaced_by: kit.replaced_by.clone(),
            dialect: config.dialect,
            next_name: AtomicU32::new(0),
            started,
        })
    }

    /// Starts a machine and waits until its root agent is ready.
    pub fn boot(kit: &Kit, config: &Config) -> Result<Self> {
        let mut machine = Self::start(kit, config, Console::Log)?;
        match machine.wait_ready(BOOT_TIME) {
            Ok(()) => Ok(machine),
            Err(error) => Err(error.context(machine.keep_log(&kit.logs, "boot"))),
        }
    }

    /// Waits until the root agent is ready; an end or a panic of the machine shortens the wait.
    pub fn wait_ready(&mut self, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        while Instant::now() < deadline {
            let second = Duration::from_secs(1);
            if self
                .client
                .wait_event(0, second, |event| event.name == "ready")
                .is_some()
            {
                return Ok(());
            }
            if let Some(line) = self.panic_line() {
                bail!("the machine panicked: {line}");
            }
            if let Some(status) = self.ended() {
                bail!("the emulator ended with {status} before the root agent was ready");
            }
        }
        bail!("the root agent was not ready within {within:?}")
    }

    /// The line of the serial log with which the hypervisor or the root agent gave up, when one did.
    pub fn panic_line(&self) -> Option<String> {
        let log = self.serial_log();
        let signs = ["PANIC", "panicked at", "ERROR: cannot start"];
        let gave_up = |line: &&str| signs.iter().any(|sign| line.contains(sign));
        log.lines().find(gave_up).map(str::to_string)
    }

    /// The line protocol itself.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The files of this run.
    pub fn files(&self) -> &RunFiles {
        &self.files
    }

    /// Whose kind of IOMMU it has, where it has one.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The LP that stands for number `wanted` on a machine which may have fewer.
    pub fn lp(&self, wanted: u32) -> u32 {
        wanted % self.lps.max(1)
    }

    /// Bochs's processor, when the machine runs there.
    pub fn bochs(&self) -> Option<bochs::Processor> {
        self.bochs
    }

    /// Whether a person has ended the emulator from the console.
    pub fn ended_by_hand(&self) -> bool {
        self.line.as_ref().is_some_and(SerialLine::ended_by_hand)
    }

    /// The exit status, when the emulator has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended_by_hand() {
            // It has no word for it itself; the status says how it ended.
            let _ = self.process.kill();
        }
        self.process.try_wait().ok().flatten()
    }

    /// Carries out a command of the line protocol.
    pub fn command(&self, line: &str) -> Result<Reply> {
        self.client
            .command(line, COMMAND_TIME)
            .with_context(|| format!("command: {line}"))
    }

    /// Sends a command that must be refused; gives the status name.
    pub fn refused(&self, line: &str) -> Result<String> {
        match self.client.command(line, COMMAND_TIME) {
            Err(CommandError::Refused { status, .. }) => Ok(status),
            Err(other) => Err(other).with_context(|| format!("command: {line}")),
            Ok(_) => bail!("{line}: was carried out, but should have been refused"),
        }
    }

    /// How long to wait at most: a payload that only halts need not be waited for as long as one that works.
    pub fn patience(&self, within: Duration) -> Duration {
        if self.replaced_by.is_some() {
            within.min(Duration::from_secs(8))
        } else {
            within
        }
    }

    /// A partition name that this machine has not seen.
    pub fn name(&self, stem: &str) -> String {
        format!("{stem}{}", self.next_name.fetch_add(1, Ordering::Relaxed))
    }

    /// Creates a partition (`options`: `memory=64M vps=1`) and loads a payload into it.
    pub fn prepare(
        &self,
        name: &str,
        options: &str,
        payload: &str,
        command_line: &str,
    ) -> Result<()> {
        self.command(format!("create {name} {options}").trim_end())?;
        let image = self.replaced_by.as_deref().unwrap_or(payload);
        self.command(&format!(
            "load {name} {image} cmdline={}",
            quote(command_line)
        ))?;
        Ok(())
    }

    /// Starts a prepared partition; only events after this moment concern the run.
    pub fn launch(&self, name: &str) -> Result<usize> {
        let start = self.client.event_count();
        self.command(&format!("start {name}"))?;
        Ok(start)
    }

    /// Waits for a console line of `name` at or after event `start`.
    pub fn wait_line(
        &self,
        name: &str,
        start: usize,
        within: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<(usize, String)> {
        // Who has stopped writes no more.
        let accepted =
            |event: &Event| stopped(event, name) || console_line(event, name).is_some_and(&wanted);
        let within = self.patience(within);
        let found = self.client.wait_event(start, within, accepted);
        let heard = || self.lines(name, start).join(" | ");
        let (next, event) = found.ok_or_else(|| {
            anyhow!(
                "{name} did not write the expected line within {within:?}; it wrote: {}",
                heard()
            )
        })?;
        ensure!(
            !stopped(&event, name),
            "{name} stopped ({}) before it wrote the expected line; it wrote: {}",
            event.fields,
            heard()
        );
        Ok((
            next,
            console_line(&event, name).unwrap_or_default().to_string(),
        ))
    }

    /// The console lines of `name` at or after event `start`, so far.
    pub fn lines(&self, name: &str, start: usize) -> Vec<String> {
        let events = self.client.events_from(start);
        events
            .iter()
            .filter_map(|event| console_line(event, name))
            .map(str::to_string)
            .collect()
    }

    /// Waits until the run of `name` that began at event `start` has ended.
    pub fn wait_stopped(&self, name: &str, start: usize, within: Duration) -> Result<Outcome> {
        let within = self.patience(within);
        let found = self
            .client
            .wait_event(start, within, |event| stopped(event, name));
        let (_, event) = found.ok_or_else(|| {
            let heard = self.lines(name, start).join(" | ");
            anyhow!("{name} did not stop within {within:?}; it wrote: {heard}")
        })?;
        let text = |key: &str| event.fields.get(key).unwrap_or_default().to_string();
        Ok(Outcome {
            lines: self.lines(name, start),
            reason: text("reason"),
            code: event.fields.number("code").unwrap_or(u64::MAX),
            detail: text("detail"),
        })
    }

    /// Prepares, starts, waits for the end, deletes: the whole life of a payload without devices.
    pub fn run(
        &self,
        payload: &str,
        command_line: &str,
        options: &str,
        within: Duration,
    ) -> Result<Outcome> {
        let name = self.name("child");
        self.prepare(&name, options, payload, command_line)?;
        let start = self.launch(&name)?;
        let outcome = self.wait_stopped(&name, start, within)?;
        self.command(&format!("delete {name}"))?;
        Ok(outcome)
    }

    /// The harness's end of the wire of the device with this index.
    pub fn wire(&self, device: usize) -> Result<&UdpSocket> {
        let wire = self.wires.get(device).and_then(Option::as_ref);
        wire.with_context(|| format!("device {device} of this configuration has no wire"))
    }

    /// A connection to the emulator's monitor.
    pub fn monitor(&self) -> Result<Qmp> {
        Qmp::connect(&self.files.monitor_socket)
    }

    /// `count` bytes of physical memory, as the emulator has them: no word of the hypervisor's is needed for it.
    pub fn physical(&self, address: u64, count: usize) -> Result<Vec<u8>> {
        let file = self.scratch.path().join("memory");
        let arguments = serde_json::json!({
            "val": address, "size": count, "filename": file.display().to_string()
        });
        self.monitor()?.call("pmemsave", arguments)?;
        let bytes = fs::read(&file).context("the emulator left no memory behind")?;
        ensure!(
            bytes.len() == count,
            "the emulator gave {} of {count} bytes at {address:#x}",
            bytes.len()
        );
        Ok(bytes)
    }

    /// A register of 4 bytes at a physical address.
    pub fn register(&self, address: u64) -> Result<u32> {
        let line = format!("xp /1wx {address:#x}");
        let text = self.monitor()?.human(&line)?;
        let digits = text.rsplit("0x").next().unwrap_or_default().trim();
        u32::from_str_radix(digits, 16).with_context(|| format!("{line}: {text}"))
    }

    /// 4 bytes of the physical configuration space of the device with this index.
    pub fn config_register(&self, device: usize, offset: u16) -> Result<u32> {
        let memory = self.command("memory")?;
        let window = memory
            .data
            .iter()
            .find(|range| range.get("kind") == Some("ecam"));
        let base = window.and_then(|range| range.number("start"));
        let base = base.context("the machine has no memory-mapped configuration space")?;
        self.register(base + (u64::from(Config::slot(device)) << 15) + u64::from(offset))
    }

    /// Types on the first serial line.
    pub fn type_on_console(&mut self, text: &str) -> Result<()> {
        let keyboard = match self.keyboard.take() {
            Some(keyboard) => keyboard,
            None => Keyboard::connect(&self.files.console_socket)?,
        };
        self.keyboard.insert(keyboard).write(text)
    }

    /// What the first serial line has said so far.
    pub fn serial_log(&self) -> String {
        read_lossy(&self.files.serial_log)
    }

    /// The recorded trace so far.
    pub fn trace(&self) -> String {
        read_lossy(&self.files.trace_log)
    }

    /// Deletes every child; an error means that this machine should not be used again.
    pub fn clean(&mut self) -> Result<()> {
        ensure!(self.ended().is_none(), "the emulator has ended");
        for partition in self.command("partitions")?.data {
            match partition.get("name") {
                None | Some("root") => {}
                Some(name) => drop(self.command(&format!("delete {name}"))?),
            }
        }
        Ok(())
    }

    /// Copies the serial log and the trace to `folder`; a sentence that says where they are.
    pub fn keep_log(&self, folder: &Path, label: &str) -> String {
        let copy = |from: &Path, ending: &str| -> Result<PathBuf> {
            fs::create_dir_all(folder)?;
            let to = folder.join(format!("{label}.{ending}"));
            fs::copy(from, &to)?;
            Ok(to)
        };
        if self.files.trace_log.exists() {
            // The serial log is what the sentence promises; the trace is only a help.
            let _ = copy(&self.files.trace_log, "trace.log");
        }
        let emulator_log = self.scratch.path().join("bochs.log");
        if emulator_log.exists() {
            let _ = copy(&emulator_log, "bochs.log");
        }
        let emulator = said(self.scratch.path());
        match copy(&self.files.serial_log, "serial.log") {
            Ok(path) => format!("serial log: {}; {emulator}", path.display()),
            Err(error) => format!("no serial log could be kept ({error}); {emulator}"),
        }
    }
}

impl Machine {
    /// Asks the emulator to end by itself, which gives the terminal its settings back.
    fn quit(&mut self) {
        let asked = self
            .monitor()
            .and_then(|mut monitor| monitor.call("quit", serde_json::json!({})));
        let deadline = Instant::now() + Duration::from_secs(2);
        while asked.is_ok() && self.ended().is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let has_monitor = self.bochs.is_none();
        if has_monitor && self.console == Console::Terminal && self.ended().is_none() {
            self.quit();
        }
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Makes the boot volume of a machine.
fn assemble(kit: &Kit, config: &Config, folder: &Path) -> Result<()> {
    let payloads: Vec<String> = kit.artifacts.payloads.keys().cloned().collect();
    let extra = config.files.iter();
    let extra: Vec<VolumeFile> = extra
        .map(|(name, source)| VolumeFile {
            name: name.clone(),
            source: source.into(),
        })
        .collect();
    volume::assemble(folder, &kit.artifacts, &payloads, &config.script, &extra)?;
    for (name, bytes) in &config.contents {
        volume::write(folder, name, bytes)?;
    }
    // A stage that does nothing is none.
    let stage = config.stage.as_ref().filter(|_| kit.replaced_by.is_none());
    if let Some(stage) = stage {
        volume::put_before_the_loader(folder, &kit.artifacts, stage)?;
    }
    Ok(())
}

fn console_line<'e>(event: &'e Event, name: &str) -> Option<&'e str> {
    let ours = event.name == "console" && event.fields.get("partition") == Some(name);
    ours.then(|| event.fields.get("line").unwrap_or_default())
}

fn stopped(event: &Event, name: &str) -> bool {
    event.name == "stopped" && event.fields.get("partition") == Some(name)
}

fn read_lossy(path: &Path) -> String {
    fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}
