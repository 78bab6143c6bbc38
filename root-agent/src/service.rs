//! What the first VP of the root does all day: script, console, programs, events.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::agent::Agent;
use crate::commands::{self, Outcome, catalogue};
use crate::console::completion::{Completion, complete};
use crate::console::line_editor::{Edit, LineEditor};
use crate::console::table;
use crate::failure::Failure;
use crate::machine::Machine;
use crate::protocol::event::Event;
use crate::protocol::reply::{self, Reply};
use crate::protocol::session::LineBuffer;
use crate::protocol::words;
use crate::script::{FILE, Script};

const PROMPT: &str = "portcullis> ";
/// Erases the line that the cursor is in.
const ERASE: &str = "\r\x1b[K";
/// Waits that programs may have outstanding.
const WAITS_MAX: usize = 64;

/// What is to be written where.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Output {
    /// For the person.
    pub console: String,
    /// For the program.
    pub program: String,
}

impl Output {
    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.console.is_empty() && self.program.is_empty()
    }
}

/// State of the conversations.
pub struct Service {
    script: Script,
    editor: LineEditor,
    requests: LineBuffer,
    console_wait: Option<String>,
    program_waits: Vec<(String, String)>,
    greeted: bool,
}

impl Service {
    /// Begins with the start script, if the boot volume has one.
    pub fn new<M: Machine>(agent: &Agent<M>) -> Self {
        let script = agent.machine.module(FILE).map(Script::new);
        Self {
            script: script.unwrap_or_default(),
            editor: LineEditor::default(),
            requests: LineBuffer::default(),
            console_wait: None,
            program_waits: Vec::new(),
            greeted: false,
        }
    }

    /// Whether nothing is left to do until something happens. A script that waits needs no rounds of its own.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.script.is_idle()
    }

    /// A round: a line of the script, waits that are over, events.
    pub fn step<M: Machine>(&mut self, agent: &Agent<M>) -> Output {
        let mut output = Output::default();
        if !core::mem::replace(&mut self.greeted, true) {
            agent.tell(Event::Ready);
            let lps = agent.facts.lps;
            output.console = alloc::format!(
                "Portcullis root agent, {lps} logical processor{}. help lists the commands.\n{PROMPT}",
                if lps == 1 { "" } else { "s" }
            );
        }
        self.script.step(agent);
        self.finish_waits(agent, &mut output);
        self.tell_events(agent, &mut output);
        output
    }

    fn tell_events<M: Machine>(&mut self, agent: &Agent<M>, output: &mut Output) {
        let mut told = String::new();
        while let Some(event) = agent.next_event() {
            output.program.push_str(&event.to_line());
            if let Some(sentence) = event.to_sentence() {
                told.push_str(&sentence);
                told.push('\n');
            } else if let Event::Console { partition, line } = &event
                && agent.attached_console().as_ref() == Some(partition)
            {
                told.push_str(&alloc::format!("{partition}| {}\n", printable(line)));
            }
        }
        if !told.is_empty() {
            output.console.push_str(ERASE);
            output.console.push_str(&told);
            output.console.push_str(&self.prompt());
        }
    }

    fn finish_waits<M: Machine>(&mut self, agent: &Agent<M>, output: &mut Output) {
        self.program_waits.retain(|(tag, name)| {
            let done = commands::waited(agent, name);
            if let Some(outcome) = &done {
                output.program.push_str(&reply::format(tag, outcome));
            }
            done.is_none()
        });
        let over = self
            .console_wait
            .as_ref()
            .and_then(|name| commands::waited(agent, name));
        if let Some(outcome) = over {
            self.console_wait = None;
            output.console.push_str(ERASE);
            output.console.push_str(&for_people(&outcome));
            output.console.push_str(&self.prompt());
        }
    }

    /// A byte from the program; what it gets back.
    pub fn program_byte<M: Machine>(&mut self, agent: &Agent<M>, byte: u8) -> String {
        let Some(request) = self.requests.push(byte) else {
            return String::new();
        };
        let outcome = request
            .command
            .and_then(|words| commands::run(agent, &words));
        match outcome {
            Ok(Outcome::Wait(_)) if self.program_waits.len() >= WAITS_MAX => {
                let failure = Failure::state("too many waits are outstanding");
                reply::format(&request.tag, &Err(failure))
            }
            Ok(Outcome::Wait(name)) => {
                self.program_waits.push((request.tag, name));
                String::new()
            }
            Ok(Outcome::Done(answer)) => reply::format(&request.tag, &Ok(answer)),
            Err(failure) => reply::format(&request.tag, &Err(failure)),
        }
    }

    /// A key of the person; what shows.
    pub fn console_byte<M: Machine>(&mut self, agent: &Agent<M>, byte: u8) -> String {
        if self.console_wait.is_some() {
            // While a command waits, only giving up is heard.
            if byte == 0x03 {
                self.console_wait = None;
                return alloc::format!("^C\n{}", self.prompt());
            }
            return String::new();
        }
        match self.editor.key(byte) {
            Edit::Nothing => String::new(),
            Edit::Redraw => self.redraw(),
            Edit::Cancel => alloc::format!("^C\n{PROMPT}"),
            Edit::Complete => self.complete(agent),
            Edit::Line(line) => {
                let answer = self.console_line(agent, &line);
                alloc::format!("\n{answer}{}", self.prompt())
            }
        }
    }

    fn console_line<M: Machine>(&mut self, agent: &Agent<M>, line: &str) -> String {
        match words::split(line).and_then(|words| commands::run(agent, &words)) {
            Ok(Outcome::Wait(name)) => {
                self.console_wait = Some(name);
                String::new()
            }
            Ok(Outcome::Done(answer)) => for_people(&Ok(answer)),
            Err(failure) => for_people(&Err(failure)),
        }
    }

    fn complete<M: Machine>(&mut self, agent: &Agent<M>) -> String {
        let before = self.editor.before_cursor();
        let partitions = agent.partitions();
        let files = agent.facts.modules.iter().map(|module| module.name.clone());
        let devices = crate::calls::vendor::devices(&agent.machine)
            .map(|info| crate::agent::device_text(info.device));
        let names: Vec<String> = partitions
            .iter()
            .map(|partition| partition.name.clone())
            .chain(files)
            .chain(devices)
            .collect();
        match complete(&before, &catalogue::candidates(&before, &names)) {
            Completion::None => "\x07".to_string(),
            Completion::Insert(text) => {
                self.editor.insert(&text);
                self.redraw()
            }
            Completion::Choices(choices) => {
                alloc::format!("\n{}\n{}", choices.join("  "), self.prompt())
            }
        }
    }

    fn redraw(&self) -> String {
        alloc::format!("{ERASE}{}", self.prompt())
    }

    /// The prompt, and the line as far as it is typed.
    fn prompt(&self) -> String {
        if self.console_wait.is_some() {
            return String::new();
        }
        let mut text = alloc::format!("{PROMPT}{}", self.editor.text());
        let behind = self.editor.behind_cursor();
        if behind > 0 {
            text.push_str(&alloc::format!("\x1b[{behind}D"));
        }
        text
    }
}

fn for_people(outcome: &Result<Reply, Failure>) -> String {
    match outcome {
        Ok(answer) => table::render(answer),
        Err(failure) => alloc::format!("{failure}\n"),
    }
}

/// A child's text without what would steer the terminal.
fn printable(line: &str) -> String {
    let visible = |c: char| if c.is_control() { '.' } else { c };
    line.chars().map(visible).collect()
}
