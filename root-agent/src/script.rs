//! The start script: the commands of the console, one a line.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::agent::Agent;
use crate::commands::{self, Outcome};
use crate::failure::Failure;
use crate::machine::Machine;
use crate::protocol::event::Event;
use crate::protocol::words;

/// Name of the file.
pub const FILE: &str = "start.cfg";

/// A script that is being run. It ends at the first line that fails: what follows builds on it.
#[derive(Default)]
pub struct Script {
    lines: Vec<String>,
    next: usize,
    waiting: Option<String>,
}

impl Script {
    /// The script in a file's bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        Self {
            lines: text.lines().map(ToString::to_string).collect(),
            ..Self::default()
        }
    }

    /// Whether there is nothing to do now: no line is left, or one waits.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.next >= self.lines.len() || self.waiting.is_some()
    }

    /// Runs the next line, unless an earlier one still waits.
    pub fn step<M: Machine>(&mut self, agent: &Agent<M>) {
        if let Some(name) = &self.waiting {
            match commands::waited(agent, name) {
                None => return,
                Some(Ok(_)) => self.waiting = None,
                Some(Err(failure)) => return self.fail(agent, &failure),
            }
        }
        let Some(line) = self.lines.get(self.next) else {
            return;
        };
        let outcome = words::split(line).and_then(|words| commands::run(agent, &words));
        self.next += 1;
        match outcome {
            Ok(Outcome::Done(_)) => {}
            Ok(Outcome::Wait(name)) => self.waiting = Some(name),
            Err(failure) => self.fail(agent, &failure),
        }
    }

    fn fail<M: Machine>(&mut self, agent: &Agent<M>, failure: &Failure) {
        let line = self.next;
        let text = self.lines.get(line.saturating_sub(1));
        let text = text.map_or("", |text| text.trim());
        agent.tell(Event::Script {
            line,
            error: format!("{}: {} (in \"{text}\")", failure.status, failure.sentence),
        });
        self.lines.clear();
        self.waiting = None;
    }
}
