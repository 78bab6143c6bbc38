//! The root agent's console on a machine without devices: in Bochs.

use anyhow::Result;
use qemu_suite::config::Config;
use qemu_suite::machine::Kit;
use qemu_suite::protocol::Event;

use super::guest::exit_code;
use super::session::{Session, script_error, stop_reason};
use super::{Refused, Run, code, read};
use crate::progress::say;

/// The start script: yours, as it is, or none.
pub fn plan(options: &Run) -> Result<String, Refused> {
    let Some(path) = &options.script else {
        return Ok(String::new());
    };
    let wrong = || {
        Refused(format!(
            "the script {} is not text in UTF-8",
            path.display()
        ))
    };
    String::from_utf8(read("the script", path)?).map_err(|_| wrong())
}

/// Boots and watches. Without a terminal it ends with the first partition that stops, or without a script as soon as the agent
/// answers.
pub fn run(options: &Run, kit: &Kit, mut config: Config, script: &str) -> Result<u8> {
    config.script = script.into();
    say(format!("starting {}", config.emulator(kit)));
    if !options.headless {
        say("Ctrl-A x ends the emulator");
    }
    let mut session = Session::start(kit, &config, options.console(), options.limit())?;
    loop {
        for event in session.step()? {
            let code = judge(options, &session, &event)?;
            if let Some(code) = code.filter(|_| options.headless) {
                return Ok(code);
            }
        }
        if let Some(status) = session.machine.ended() {
            if session.machine.ended_by_hand() {
                return Ok(0);
            }
            let sentence = format!("the machine ended ({status})");
            return Err(session.failed(code::HYPERVISOR, sentence));
        }
    }
}

/// The exit code, when this event ends a run without a terminal.
fn judge(options: &Run, session: &Session<'_>, event: &Event) -> Result<Option<u8>> {
    let of_child = event.fields.get("partition").unwrap_or_default();
    match event.name.as_str() {
        "script" if options.headless => Err(session.failed(code::REFUSED, script_error(event))),
        "script" => {
            tell(options, &script_error(event));
            Ok(None)
        }
        "ready" => {
            let seconds = session.machine.started.elapsed().as_secs_f32();
            tell(
                options,
                &format!("the root agent is ready after {seconds:.1} s"),
            );
            Ok(options.script.is_none().then_some(0))
        }
        "console" if options.headless => {
            println!(
                "[{of_child}] {}",
                event.fields.get("line").unwrap_or_default()
            );
            Ok(None)
        }
        "stopped" => {
            tell(
                options,
                &format!("{of_child} stopped: {}", stop_reason(event)),
            );
            Ok(Some(exit_code(event)))
        }
        _ => Ok(None),
    }
}

/// The terminal is in raw mode, where a line feed alone does not return to the margin.
fn tell(options: &Run, text: &str) {
    if options.headless {
        say(text);
    } else {
        eprint!("\r\nportcullis: {text}\r\n");
    }
}
