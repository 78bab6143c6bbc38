//! The demonstration: a child partition with a network card of its own serves a page.

use std::fs::File;
use std::io::Read;

use anyhow::{Context, Result};
use qemu_suite::config::{Config, DeviceKind, Network, Watched};
use qemu_suite::machine::Kit;
use qemu_suite::protocol::Event;
use qemu_suite::trace::{self, Function};

use super::page::{self, Fetcher};
use super::session::{Session, script_error, stop_reason};
use super::{DeviceChoice, IommuChoice, Refused, Run, code, read};
use crate::progress::say;
use crate::script::{self, Variables};

/// What was decided before anything was started.
pub struct Plan {
    device: DeviceKind,
    script: String,
}

/// Checks the options.
pub fn plan(options: &Run) -> Result<Plan, Refused> {
    let device = match options.devices.as_slice() {
        [] | [DeviceChoice::Igb] => DeviceKind::Igb,
        [DeviceChoice::E1000e] => DeviceKind::E1000e,
        _ => {
            return Err(Refused(
                "the demonstration takes one device, igb or e1000e".into(),
            ));
        }
    };
    let script = match &options.script {
        None => include_str!("../../scripts/demonstration.cfg").to_string(),
        Some(path) => String::from_utf8(read("the script", path)?).map_err(|_| {
            Refused(format!(
                "the script {} is not text in UTF-8",
                path.display()
            ))
        })?,
    };
    // Refuses an unknown variable now rather than after the build.
    let refused = |error: anyhow::Error| Refused(error.to_string());
    script::substitute(&script, &variables(device, "")).map_err(refused)?;
    Ok(Plan { device, script })
}

fn variables(device: DeviceKind, nonce: &str) -> Variables {
    let reset = if device.resets() { "" } else { "without-reset" };
    Variables::from([
        ("NONCE", nonce.to_string()),
        ("DEVICE", Config::device_id(0)),
        ("RESET", reset.to_string()),
        ("IMAGE", "net.elf".to_string()),
    ])
}

/// A number that no earlier run had.
fn nonce() -> Result<String> {
    let mut bytes = [0; 8];
    let source = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    source.context("/dev/urandom cannot be read")?;
    Ok(format!("{:016x}", u64::from_le_bytes(bytes)))
}

/// Boots and watches.
pub fn run(options: &Run, kit: &Kit, mut config: Config, plan: &Plan) -> Result<u8> {
    let (nonce, port) = (nonce()?, page::free_port()?);
    let accelerator = options.accel.decide(kit)?;
    config.accelerator = accelerator;
    config = config.device(
        plan.device,
        Network::User {
            forwarded_port: Some(port),
        },
    );
    config.script = script::substitute(&plan.script, &variables(plan.device, &nonce))?;
    if options.headless && options.iommu != IommuChoice::None {
        config = config.watch(&[Watched::Dma, Watched::Interrupts]);
    }
    say(format!(
        "starting {} with an {} at {}",
        kit.emulator.version,
        plan.device,
        Config::device_id(0)
    ));
    if !options.headless {
        say("Ctrl-A x ends the emulator");
    }
    let session = Session::start(kit, &config, options.console(), options.limit())?;
    Watch {
        options,
        session,
        fetcher: None,
        port,
        nonce,
        fetched: false,
    }
    .watch()
}

struct Watch<'a> {
    options: &'a Run,
    session: Session<'a>,
    /// Starts with the root agent: the emulator keeps earlier connections and would make the child serve them all.
    fetcher: Option<Fetcher>,
    port: u16,
    nonce: String,
    fetched: bool,
}

impl Watch<'_> {
    fn watch(mut self) -> Result<u8> {
        loop {
            for event in self.session.step()? {
                self.event(&event)?;
            }
            if !self.fetched
                && let Some(body) = self.fetcher.as_ref().and_then(Fetcher::body)
            {
                self.fetched = true;
                self.page(&body)?;
                if self.options.headless {
                    return self.carried();
                }
            }
            if let Some(status) = self.session.machine.ended() {
                if self.options.headless {
                    let sentence =
                        format!("the machine ended ({status}) before the page was fetched");
                    return Err(self.session.failed(code::HYPERVISOR, sentence));
                }
                return Ok(status
                    .code()
                    .and_then(|code| u8::try_from(code).ok())
                    .unwrap_or(code::HYPERVISOR));
            }
        }
    }

    fn event(&mut self, event: &Event) -> Result<()> {
        let of_child = event.fields.get("partition").unwrap_or_default();
        match event.name.as_str() {
            "ready" => {
                self.fetcher = Some(Fetcher::start(self.port));
                let seconds = self.session.machine.started.elapsed().as_secs_f32();
                self.tell(format!("the root agent is ready after {seconds:.1} s"));
            }
            "console" if self.options.headless => {
                println!(
                    "[{of_child}] {}",
                    event.fields.get("line").unwrap_or_default()
                );
            }
            "script" => return self.ends(code::REFUSED, script_error(event)),
            "stopped" if !self.fetched => {
                return self.bad(format!(
                    "{of_child} stopped before it served its page: {}",
                    stop_reason(event)
                ));
            }
            "fault" => self.tell(format!("fault: {}", event.fields)),
            _ => {}
        }
        Ok(())
    }

    /// In a terminal the person sees the console and decides; without one it is the end.
    fn bad(&self, sentence: String) -> Result<()> {
        self.ends(code::FAILURE, sentence)
    }

    fn ends(&self, code: u8, sentence: String) -> Result<()> {
        if self.options.headless {
            return Err(self.session.failed(code, sentence));
        }
        self.tell(sentence);
        Ok(())
    }

    fn page(&self, body: &str) -> Result<()> {
        if !body.contains(&self.nonce) {
            return self.bad(format!(
                "the page does not show this run's nonce {}",
                self.nonce
            ));
        }
        self.tell(format!(
            "the child's page, with this run's nonce: http://127.0.0.1:{}/",
            self.port
        ));
        Ok(())
    }

    /// The page alone does not show what carried it; the emulator's trace does.
    fn carried(&self) -> Result<u8> {
        if self.options.iommu == IommuChoice::None {
            return Ok(0);
        }
        let machine = &self.session.machine;
        let card = Function::at(Config::slot(0));
        let counts = trace::carried(machine.dialect(), &machine.trace(), card);
        say(format!(
            "of {}: {} DMA translations, {} remapped interrupts",
            Config::device_id(0),
            counts.dma,
            counts.interrupts
        ));
        if counts.dma == 0 || counts.interrupts == 0 {
            let sentence =
                "the page came, but not by translated DMA and remapped interrupts".to_string();
            return Err(self.session.failed(code::FAILURE, sentence));
        }
        Ok(0)
    }

    /// The terminal may be in raw mode, where a line feed alone does not return to the margin.
    fn tell(&self, text: String) {
        if self.options.headless {
            say(text);
        } else {
            eprint!("\r\nportcullis: {text}\r\n");
        }
    }
}
