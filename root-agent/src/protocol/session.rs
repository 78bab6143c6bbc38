//! Bytes of the second serial port, turned into requests.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::words::{LINE_MAX, Word, split};
use crate::failure::Failure;

/// A request: the tag that its answer carries, and the words of the command.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// Any word that the program chose.
    pub tag: String,
    /// The command and its arguments.
    pub command: Result<Vec<Word>, Failure>,
}

/// Collects bytes until a line is complete. A line that is too long is answered by an error and dropped whole.
#[derive(Default)]
pub struct LineBuffer {
    bytes: Vec<u8>,
    overflow: bool,
}

impl LineBuffer {
    /// Takes a byte; returns the request when the byte completes one. Empty lines ask for nothing.
    pub fn push(&mut self, byte: u8) -> Option<Request> {
        match byte {
            b'\n' | b'\r' => self.complete(),
            _ if self.bytes.len() < LINE_MAX => {
                self.bytes.push(byte);
                None
            }
            _ => {
                self.overflow = true;
                None
            }
        }
    }

    fn complete(&mut self) -> Option<Request> {
        let bytes = core::mem::take(&mut self.bytes);
        let overflow = core::mem::take(&mut self.overflow);
        let line = String::from_utf8_lossy(&bytes);
        let line = line.trim();
        let (tag, rest) = match line.split_once(char::is_whitespace) {
            Some((tag, rest)) => (tag, rest),
            None if line.is_empty() => return None,
            None => (line, ""),
        };
        let command = if overflow {
            let sentence = alloc::format!("a line of at most {LINE_MAX} bytes was expected");
            Err(Failure::usage(sentence))
        } else {
            split(rest)
        };
        let tag = tag.to_string();
        Some(Request { tag, command })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(buffer: &mut LineBuffer, text: &str) -> Vec<Request> {
        text.bytes().filter_map(|byte| buffer.push(byte)).collect()
    }

    #[test]
    fn a_line_is_a_tag_and_a_command() {
        let requests = feed(&mut LineBuffer::default(), "t1 lps\r\n\n  t2\tshow x\n");
        assert_eq!(requests.len(), 2);
        assert_eq!(requests[0].tag, "t1");
        assert_eq!(requests[1].command.as_ref().unwrap()[1].text, "x");
    }

    #[test]
    fn a_line_without_end_is_dropped_whole_and_the_next_one_is_read() {
        let mut buffer = LineBuffer::default();
        let long = "x".repeat(LINE_MAX + 1000);
        let requests = feed(&mut buffer, &alloc::format!("t {long}\nu lps\n"));
        assert_eq!(requests[0].command.as_ref().unwrap_err().status, "USAGE");
        assert!(requests[1].command.is_ok());
    }

    #[test]
    fn bytes_that_are_no_text_do_no_harm() {
        let mut buffer = LineBuffer::default();
        for byte in 0..=255 {
            let _ = buffer.push(byte);
        }
        assert!(buffer.push(b'\n').is_some());
    }
}
