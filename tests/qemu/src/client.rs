//! The line protocol spoken over the second serial line of a running machine.

use std::collections::HashMap;
use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::protocol::{self, Event, Fields, Message};

/// What the root agent answered to a command that it carried out.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// The data lines.
    pub data: Vec<Fields>,
    /// The fields of the last line.
    pub result: Fields,
}

/// Why a command has no [`Reply`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// The agent refused it: the status name and its sentence.
    Refused { status: String, sentence: String },
    /// No complete reply within the time.
    Silent,
    /// The line is closed: the machine has ended.
    Closed,
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { status, sentence } => write!(f, "refused with {status}: {sentence}"),
            Self::Silent => write!(f, "the root agent did not answer in time"),
            Self::Closed => write!(f, "the machine ended before it answered"),
        }
    }
}

impl std::error::Error for CommandError {}

/// One end of the line; commands and waits may come from several threads.
#[derive(Debug)]
pub struct Client {
    writer: Mutex<UnixStream>,
    inbox: Arc<Inbox>,
    next_tag: AtomicU32,
}

#[derive(Debug, Default)]
struct Inbox {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    data: HashMap<String, Vec<Fields>>,
    ended: HashMap<String, Result<Fields, CommandError>>,
    events: Vec<Event>,
    closed: bool,
}

impl Client {
    /// Starts to read `stream` on a thread of its own.
    pub fn new(stream: UnixStream) -> Result<Self> {
        let reader = stream
            .try_clone()
            .context("cannot duplicate the protocol's socket")?;
        let inbox = Arc::new(Inbox::default());
        let filled = Arc::clone(&inbox);
        std::thread::spawn(move || filled.read_all(reader));
        Ok(Self {
            writer: Mutex::new(stream),
            inbox,
            next_tag: AtomicU32::new(1),
        })
    }

    /// Sends one command (its words as the protocol writes them) and waits for the whole reply.
    pub fn command(&self, line: &str, within: Duration) -> Result<Reply, CommandError> {
        let tag = format!("t{}", self.next_tag.fetch_add(1, Ordering::Relaxed));
        {
            let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
            let request = format!("{tag} {line}\n");
            writer
                .write_all(request.as_bytes())
                .map_err(|_| CommandError::Closed)?;
        }
        let ended = self.inbox.wait(within, |state| state.ended.remove(&tag));
        let data = self.inbox.lock().data.remove(&tag).unwrap_or_default();
        match ended {
            Ok(result) => Ok(Reply {
                data,
                result: result?,
            }),
            Err(true) => Err(CommandError::Closed),
            Err(false) => Err(CommandError::Silent),
        }
    }

    /// How many events have come; the place to start from when only later ones count.
    pub fn event_count(&self) -> usize {
        self.inbox.lock().events.len()
    }

    /// The events from `start` on.
    pub fn events_from(&self, start: usize) -> Vec<Event> {
        self.inbox
            .lock()
            .events
            .get(start..)
            .unwrap_or_default()
            .to_vec()
    }

    /// Waits for the first event at or after `start` that `wanted` accepts; gives the place behind it, too.
    ///
    /// `None`: none within the time, or the machine has ended.
    pub fn wait_event(
        &self,
        start: usize,
        within: Duration,
        wanted: impl Fn(&Event) -> bool,
    ) -> Option<(usize, Event)> {
        let found = self.inbox.wait(within, |state| {
            let later = state.events.iter().enumerate().skip(start);
            later
                .into_iter()
                .find(|(_, event)| wanted(event))
                .map(|(i, e)| (i + 1, e.clone()))
        });
        found.ok()
    }

    /// Whether the machine has closed its end.
    pub fn closed(&self) -> bool {
        self.inbox.lock().closed
    }
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `found` gives a value; otherwise `Err(closed)`.
    fn wait<T>(
        &self,
        within: Duration,
        mut found: impl FnMut(&mut State) -> Option<T>,
    ) -> Result<T, bool> {
        let deadline = Instant::now() + within;
        let mut state = self.lock();
        loop {
            if let Some(value) = found(&mut state) {
                return Ok(value);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.closed || left.is_zero() {
                return Err(state.closed);
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn read_all(&self, stream: UnixStream) {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while matches!(reader.read_until(b'\n', &mut line), Ok(count) if count > 0) {
            let text = String::from_utf8_lossy(&line);
            self.take(protocol::parse(text.trim_end_matches(['\r', '\n'])));
            line.clear();
        }
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn take(&self, message: Message) {
        let mut state = self.lock();
        match message {
            Message::Data { tag, fields } => state.data.entry(tag).or_default().push(fields),
            Message::Done { tag, fields } => drop(state.ended.insert(tag, Ok(fields))),
            Message::Refused {
                tag,
                status,
                sentence,
            } => {
                state
                    .ended
                    .insert(tag, Err(CommandError::Refused { status, sentence }));
            }
            Message::Event(event) => state.events.push(event),
            Message::Noise(_) => return,
        }
        drop(state);
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    fn pair() -> (Client, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Client::new(ours).unwrap(), theirs)
    }

    #[test]
    fn a_reply_with_data_and_an_event_between() {
        let (client, mut agent) = pair();
        agent
            .write_all(b"t1 . lp=0\r\n* ready\nt1 . lp=1\nnoise\nt1 ok count=2\n")
            .unwrap();
        let reply = client.command("lps", SOON).unwrap();
        assert_eq!(
            reply
                .data
                .iter()
                .filter_map(|f| f.number("lp"))
                .collect::<Vec<_>>(),
            [0, 1]
        );
        assert_eq!(reply.result.number("count"), Some(2));
        assert!(
            client
                .wait_event(0, SOON, |event| event.name == "ready")
                .is_some()
        );
        let mut sent = String::new();
        BufReader::new(agent).read_line(&mut sent).unwrap();
        assert_eq!(sent, "t1 lps\n");
    }

    #[test]
    fn a_refusal_a_silence_and_an_end() {
        let (client, mut agent) = pair();
        agent
            .write_all(b"t1 error NOT_FOUND \"no such partition\"\n")
            .unwrap();
        let refused = client.command("show x", SOON).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "refused with NOT_FOUND: no such partition"
        );
        let silent = client
            .command("lps", Duration::from_millis(20))
            .unwrap_err();
        assert_eq!(silent, CommandError::Silent);
        drop(agent);
        assert_eq!(
            client.command("lps", SOON).unwrap_err(),
            CommandError::Closed
        );
    }

    #[test]
    fn only_later_events_count() {
        let (client, mut agent) = pair();
        agent
            .write_all(b"* console partition=a line=one\n* console partition=a line=two\n")
            .unwrap();
        let line = |event: &Event| event.fields.get("line").map(str::to_string);
        let (next, first) = client.wait_event(0, SOON, |_| true).unwrap();
        assert_eq!(line(&first).as_deref(), Some("one"));
        let (_, second) = client.wait_event(next, SOON, |_| true).unwrap();
        assert_eq!(line(&second).as_deref(), Some("two"));
    }
}
