//! The first serial line of a machine whose emulator knows only a socket for it: to the log, and to whoever types.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};

use crate::emulator::{Console, RunFiles};

/// What begins a word to the emulator rather than to the machine: Ctrl-A, as in QEMU.
const ESCAPE: u8 = 1;

/// A connected line; gives the terminal its settings back when dropped.
#[derive(Debug)]
pub struct SerialLine {
    ended: Arc<AtomicBool>,
    _terminal: Option<Terminal>,
}

impl SerialLine {
    /// Copies what the machine says to the log (and the terminal), and what is typed to the machine.
    pub fn open(line: TcpStream, files: &RunFiles, console: Console) -> Result<Self> {
        let log = File::create(&files.serial_log).context("cannot make a log file")?;
        let said = line.try_clone()?;
        let ended = Arc::new(AtomicBool::new(false));
        let terminal = match console {
            Console::Log => {
                let listener = UnixListener::bind(&files.console_socket)
                    .context("cannot make a socket for the console")?;
                thread::spawn(move || serve(&listener, &line));
                None
            }
            Console::Terminal => {
                let terminal = Terminal::raw()?;
                let told = Arc::clone(&ended);
                thread::spawn(move || {
                    // Without input any more the machine goes on.
                    if typed(io::stdin(), &line).unwrap_or(false) {
                        told.store(true, Ordering::Release);
                    }
                });
                Some(terminal)
            }
        };
        let shown = console == Console::Terminal;
        thread::spawn(move || hear(said, log, shown));
        Ok(Self {
            ended,
            _terminal: terminal,
        })
    }

    /// Whether a person has asked for the emulator's end.
    pub fn ended_by_hand(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }
}

fn hear(mut from: impl Read, mut log: impl Write, shown: bool) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        log.write_all(&buffer[..count])?;
        if shown {
            let mut terminal = io::stdout().lock();
            terminal.write_all(&buffer[..count])?;
            terminal.flush()?;
        }
    }
}

/// Lets one after the other type, as QEMU does.
fn serve(listener: &UnixListener, line: &TcpStream) {
    for stream in listener.incoming() {
        let (Ok(mut stream), mut line) = (stream, line) else {
            return;
        };
        // Who types and leaves in the middle has typed so far.
        let _ = io::copy(&mut stream, &mut line);
    }
}

/// What is typed goes to the machine; true when it was the word for the end. The escape character twice is itself.
fn typed(mut from: impl Read, mut to: impl Write) -> io::Result<bool> {
    let (mut byte, mut escaped) = ([0], false);
    while from.read(&mut byte)? != 0 {
        match (escaped, byte[0]) {
            (false, ESCAPE) => {
                escaped = true;
                continue;
            }
            (true, b'x') => return Ok(true),
            (false, _) | (true, ESCAPE) => to.write_all(&byte)?,
            (true, _) => {}
        }
        escaped = false;
    }
    Ok(false)
}

/// A terminal that passes every key on as it is.
#[derive(Debug)]
struct Terminal {
    settings: Option<String>,
}

impl Terminal {
    fn raw() -> Result<Self> {
        // Something else than a terminal has no settings.
        let Some(settings) = stty(&["-g"]) else {
            return Ok(Self { settings: None });
        };
        let changed = stty(&["raw", "-echo"]);
        ensure!(
            changed.is_some(),
            "the terminal's settings cannot be changed"
        );
        Ok(Self {
            settings: Some(settings.trim().to_string()),
        })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(settings) = &self.settings {
            // There is nobody to tell where that fails.
            let _ = stty(&[settings]);
        }
    }
}

fn stty(arguments: &[&str]) -> Option<String> {
    let output = Command::new("stty")
        .args(arguments)
        .stdin(Stdio::inherit())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then_some(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(keys: &[u8]) -> (Vec<u8>, bool) {
        let mut line = Vec::new();
        let ended = typed(keys, &mut line).unwrap();
        (line, ended)
    }

    #[test]
    fn keys_go_to_the_machine_until_the_word_for_the_end() {
        assert_eq!(passed(b"lps\r\x03"), (b"lps\r\x03".to_vec(), false));
        assert_eq!(passed(b"a\x01\x01b"), (b"a\x01b".to_vec(), false));
        assert_eq!(passed(b"a\x01yb"), (b"ab".to_vec(), false));
        assert_eq!(passed(b"a\x01xb"), (b"a".to_vec(), true));
    }

    #[test]
    fn what_the_machine_says_is_kept() {
        let mut log = Vec::new();
        hear(&b"portcullis> "[..], &mut log, false).unwrap();
        assert_eq!(log, b"portcullis> ");
    }
}
