//! A person at the first serial line.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;

use anyhow::{Context, Result};

/// A connection that stays: the emulator forgets what it has not yet read when the other end goes.
#[derive(Debug)]
pub struct Keyboard(UnixStream);

impl Keyboard {
    /// Connects. What the line says is read and dropped, so that the emulator never waits for us; the log has it all.
    pub fn connect(socket: &Path) -> Result<Self> {
        let stream =
            UnixStream::connect(socket).context("the first serial line cannot be reached")?;
        let mut screen = stream.try_clone()?;
        thread::spawn(move || {
            let mut unread = [0; 4096];
            while screen.read(&mut unread).is_ok_and(|count| count > 0) {}
        });
        Ok(Self(stream))
    }

    /// Types.
    pub fn write(&mut self, text: &str) -> Result<()> {
        self.0
            .write_all(text.as_bytes())
            .context("the first serial line takes no more")
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        // Ends the thread that reads; a line that is gone already needs no end.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}
