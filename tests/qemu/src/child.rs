//! A child partition that a scenario talks to, line by line.

use std::cell::Cell;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::config::{Config, DeviceKind};
use crate::machine::{Machine, Outcome};
use crate::protocol::quote;

/// For one answer of a child.
const ANSWER_TIME: Duration = Duration::from_secs(60);

/// A child partition with a payload, deleted when dropped.
#[derive(Debug)]
pub struct Child<'m> {
    machine: &'m Machine,
    name: String,
    payload: &'static str,
    begun: Cell<usize>,
    next: Cell<usize>,
    gone: Cell<bool>,
}

/// What a child shall be.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// File name of its image.
    pub payload: &'static str,
    /// `memory=16M vps=1 lps=0`.
    pub options: &'a str,
    /// Its command line.
    pub words: &'a str,
    /// Indices of its devices in the machine's configuration.
    pub devices: &'a [(usize, DeviceKind)],
}

impl<'m> Child<'m> {
    /// Creates, loads, assigns; does not start.
    pub fn prepare(machine: &'m Machine, order: &Order) -> Result<Self> {
        let stem = order.payload.trim_end_matches(".elf");
        let child = Self {
            machine,
            name: machine.name(stem),
            payload: stem_of(order.payload),
            begun: Cell::new(0),
            next: Cell::new(0),
            gone: Cell::new(false),
        };
        machine.prepare(&child.name, order.options, order.payload, order.words)?;
        for (index, kind) in order.devices {
            child.assign(*index, *kind)?;
        }
        Ok(child)
    }

    /// The same, and starts it.
    pub fn start(machine: &'m Machine, order: &Order) -> Result<Self> {
        let child = Self::prepare(machine, order)?;
        child.go()?;
        Ok(child)
    }

    /// A child that waits for lines, with its devices.
    pub fn interactive(
        machine: &'m Machine,
        payload: &'static str,
        devices: &[(usize, DeviceKind)],
    ) -> Result<Self> {
        let child = Self::start(
            machine,
            &Order {
                payload,
                options: "memory=16M",
                words: "interactive",
                devices,
            },
        )?;
        child.ready()?;
        Ok(child)
    }

    /// Starts it.
    pub fn go(&self) -> Result<()> {
        let begun = self.machine.launch(&self.name)?;
        self.begun.set(begun);
        self.next.set(begun);
        Ok(())
    }

    /// The machine that it runs on.
    pub fn machine(&self) -> &'m Machine {
        self.machine
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gives it a device of the configuration.
    pub fn assign(&self, index: usize, kind: DeviceKind) -> Result<()> {
        let word = if kind.resets() { "" } else { " without-reset" };
        let device = Config::device_id(index);
        let line = format!("assign {} {device}{word}", self.name);
        self.machine.command(&line).map(|_| ())
    }

    /// Carries out a command of the line protocol in which `{}` stands for its name.
    pub fn command(&self, line: &str) -> Result<crate::client::Reply> {
        self.machine.command(&line.replace("{}", &self.name))
    }

    /// Waits until it listens.
    pub fn ready(&self) -> Result<()> {
        let ready = format!("{}: ready", self.payload);
        self.line(|line| line == ready).map(|_| ())
    }

    /// Waits for a line at or after the last one that was waited for.
    pub fn line(&self, wanted: impl Fn(&str) -> bool) -> Result<String> {
        let (next, line) =
            self.machine
                .wait_line(&self.name, self.next.get(), ANSWER_TIME, wanted)?;
        self.next.set(next);
        Ok(line)
    }

    /// Types a line; does not wait for what it does.
    pub fn tell(&self, text: &str) -> Result<()> {
        let line = quote(&format!("{text}\n"));
        self.machine
            .command(&format!("input {} {line}", self.name))
            .map(|_| ())
    }

    /// Types a line and waits for the verdict that it prints (`PAYLOAD: NAME ok|FAIL …`).
    pub fn ask(&self, text: &str) -> Result<Answer> {
        self.tell(text)?;
        let line = self.line(|line| verdict(line).is_some())?;
        self.ready()?;
        Ok(Answer {
            good: verdict(&line) == Some(true),
            line,
        })
    }

    /// As [`Self::ask`]; anything but `ok` is an error.
    pub fn ask_good(&self, text: &str) -> Result<Answer> {
        let answer = self.ask(text)?;
        ensure!(
            answer.good,
            "{} said: {}",
            self.name,
            self.machine.lines(&self.name, self.begun.get()).join(" | ")
        );
        Ok(answer)
    }

    /// Waits for its end.
    pub fn ended(&self, within: Duration) -> Result<Outcome> {
        self.machine
            .wait_stopped(&self.name, self.begun.get(), within)
    }

    /// Where a guest-physical address of its RAM lies in the machine.
    pub fn place(&self, guest: u64) -> Result<u64> {
        let shown = self.command("show {}")?;
        let inside = shown.data.iter().find_map(|row| {
            let (start, root) = (row.number("guest")?, row.number("root")?);
            let offset = guest.checked_sub(start)?;
            (offset < row.number("bytes")?).then_some(root + offset)
        });
        inside.with_context(|| format!("{guest:#x} is no RAM of {}", self.name))
    }

    /// Deletes it now, and says when that fails.
    pub fn delete(&self) -> Result<()> {
        self.command("delete {}")?;
        self.gone.set(true);
        Ok(())
    }
}

impl Drop for Child<'_> {
    fn drop(&mut self) {
        if !self.gone.get() {
            // One that cannot go makes the next clean-up fail.
            let _ = self.command("delete {}");
        }
    }
}

/// What a child answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Whether it says `ok`.
    pub good: bool,
    /// The whole line.
    pub line: String,
}

impl Answer {
    /// The number behind a word of the line.
    pub fn number(&self, word: &str) -> Result<u64> {
        let mut words = self.line.split_whitespace();
        let found = words.find(|it| *it == word).and_then(|_| words.next());
        let text = found.with_context(|| format!("no \"{word}\" in: {}", self.line))?;
        let text = text.trim_end_matches(',');
        let number = match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => text.parse(),
        };
        number.with_context(|| format!("no number behind \"{word}\" in: {}", self.line))
    }
}

fn stem_of(payload: &'static str) -> &'static str {
    payload.trim_end_matches(".elf")
}

fn verdict(line: &str) -> Option<bool> {
    let mut words = line.split_whitespace();
    words.next().filter(|first| first.ends_with(':'))?;
    words.next()?;
    match words.next()? {
        "ok" => Some(true),
        "FAIL" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_told_from_other_lines() {
        assert_eq!(verdict("edu: self ok first 0x1"), Some(true));
        assert_eq!(verdict("probe: calls FAIL 3"), Some(false));
        for line in ["edu: ready", "edu: at 00:02.0 page 0x1000", "", "x y ok"] {
            assert_eq!(verdict(line), None, "{line}");
        }
    }

    #[test]
    fn numbers_are_found_behind_their_word() {
        let answer = Answer {
            good: true,
            line: "edu: dma-read ok 0x1000 words 8 first 0xab".into(),
        };
        assert_eq!(answer.number("words").unwrap(), 8);
        assert_eq!(answer.number("first").unwrap(), 0xab);
        assert!(answer.number("second").is_err());
    }
}
