//! What the agent says without being asked.

use alloc::format;
use alloc::string::String;

use super::words::{write_quoted, write_value};

/// Why a partition runs no more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StopReason {
    /// It wrote to port F4h.
    Exit,
    /// All its VPs halted with interrupts off, or it was told to stop.
    Shutdown,
    /// It did something that it cannot go on from.
    Fault,
    /// It was deleted.
    Deleted,
}

impl StopReason {
    /// The word for programs.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Exit => "exit",
            Self::Shutdown => "shutdown",
            Self::Fault => "fault",
            Self::Deleted => "deleted",
        }
    }
}

/// How a partition ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Stop {
    /// Why.
    pub reason: StopReason,
    /// For an exit 2·value+1 modulo 256, for a fault 2, else 0.
    pub code: u8,
    /// More of it, in words; may be empty.
    pub detail: String,
}

/// An event.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// The agent listens.
    Ready,
    /// A child completed a line on its console.
    Console { partition: String, line: String },
    /// A partition runs no more.
    Stopped { partition: String, stop: Stop },
    /// A device did what it may not.
    Fault {
        device: String,
        address: u64,
        partition: String,
        detail: String,
    },
    /// A line of the start script failed.
    Script { line: usize, error: String },
}

impl Event {
    /// The line for programs, with its end.
    #[must_use]
    pub fn to_line(&self) -> String {
        let mut text = String::from("* ");
        match self {
            Self::Ready => text.push_str("ready"),
            Self::Console { partition, line } => {
                pair(&mut text, "console partition=", partition);
                text.push_str(" line=");
                write_quoted(&mut text, line);
            }
            Self::Stopped { partition, stop } => {
                pair(&mut text, "stopped partition=", partition);
                let word = stop.reason.word();
                text.push_str(&format!(" reason={word} code={} detail=", stop.code));
                write_quoted(&mut text, &stop.detail);
            }
            Self::Fault {
                device,
                address,
                partition,
                detail,
            } => {
                pair(&mut text, "fault device=", device);
                text.push_str(&format!(" address={address:#x} partition="));
                write_value(&mut text, partition);
                text.push_str(" detail=");
                write_quoted(&mut text, detail);
            }
            Self::Script { line, error } => {
                text.push_str(&format!("script line={line} error="));
                write_quoted(&mut text, error);
            }
        }
        text.push('\n');
        text
    }

    /// The sentence for people; `None` for what only programs want.
    #[must_use]
    pub fn to_sentence(&self) -> Option<String> {
        match self {
            Self::Ready | Self::Console { .. } => None,
            Self::Stopped { partition, stop } => Some(format!(
                "{partition} stopped: {} (code {}){}{}",
                stop.reason.word(),
                stop.code,
                if stop.detail.is_empty() { "" } else { ", " },
                stop.detail
            )),
            Self::Fault {
                device,
                address,
                partition,
                detail,
            } => Some(format!(
                "device {device} of {partition}: {detail} at {address:#x}, refused"
            )),
            Self::Script { line, error } => Some(format!("start.cfg, line {line}: {error}")),
        }
    }
}

fn pair(text: &mut String, head: &str, value: &str) {
    text.push_str(head);
    write_value(text, value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn events_are_lines_that_begin_with_a_star() {
        let console = Event::Console {
            partition: "nic".to_string(),
            line: "say \"hi\"".to_string(),
        };
        assert_eq!(
            console.to_line(),
            "* console partition=nic line=\"say \\\"hi\\\"\"\n"
        );
        let stopped = Event::Stopped {
            partition: "nic".to_string(),
            stop: Stop {
                reason: StopReason::Exit,
                code: 3,
                detail: String::new(),
            },
        };
        assert_eq!(
            stopped.to_line(),
            "* stopped partition=nic reason=exit code=3 detail=\"\"\n"
        );
        assert_eq!(Event::Ready.to_line(), "* ready\n");
    }
}
