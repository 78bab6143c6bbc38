//! A line under the cursor: editing, history, and the keys of a terminal (ECMA-48 control sequences).

use alloc::string::String;
use alloc::vec::Vec;

/// Characters of the longest line.
const LINE_MAX: usize = 512;
/// Lines that are remembered.
const HISTORY_MAX: usize = 64;

/// What a key did.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Edit {
    /// Nothing that shows.
    Nothing,
    /// The line looks different now.
    Redraw,
    /// The line is complete.
    Line(String),
    /// The person asks how the word under the cursor may go on.
    Complete,
    /// The person gave up on the line.
    Cancel,
}

#[derive(Clone, Copy, Default)]
enum Sequence {
    #[default]
    None,
    Escape,
    Control(u8),
}

/// The line that is being typed, and the ones before it.
#[derive(Default)]
pub struct LineEditor {
    line: Vec<char>,
    cursor: usize,
    history: Vec<String>,
    /// Which line of the history is shown; its length for the new line.
    shown: usize,
    sequence: Sequence,
    last_was_return: bool,
}

impl LineEditor {
    /// The line as it is.
    #[must_use]
    pub fn text(&self) -> String {
        self.line.iter().collect()
    }

    /// Characters behind the cursor.
    #[must_use]
    pub fn behind_cursor(&self) -> usize {
        self.line.len().saturating_sub(self.cursor)
    }

    /// What stands before the cursor.
    #[must_use]
    pub fn before_cursor(&self) -> String {
        self.line.iter().take(self.cursor).collect()
    }

    /// Writes text at the cursor.
    pub fn insert(&mut self, text: &str) {
        for c in text.chars() {
            if self.line.len() < LINE_MAX {
                self.line.insert(self.cursor.min(self.line.len()), c);
                self.cursor += 1;
            }
        }
    }

    /// Takes a byte from the terminal.
    pub fn key(&mut self, byte: u8) -> Edit {
        let after_return = core::mem::replace(&mut self.last_was_return, byte == b'\r');
        match (self.sequence, byte) {
            (Sequence::Escape, b'[' | b'O') => self.enter(Sequence::Control(0)),
            (Sequence::Escape, _) => self.enter(Sequence::None),
            (Sequence::Control(_), b'0'..=b'9') => self.enter(Sequence::Control(byte)),
            (Sequence::Control(digit), _) => {
                self.sequence = Sequence::None;
                self.control_key(digit, byte)
            }
            (Sequence::None, 0x1b) => self.enter(Sequence::Escape),
            (Sequence::None, b'\n') if after_return => Edit::Nothing,
            (Sequence::None, _) => self.plain_key(byte),
        }
    }

    fn enter(&mut self, sequence: Sequence) -> Edit {
        self.sequence = sequence;
        Edit::Nothing
    }

    fn plain_key(&mut self, byte: u8) -> Edit {
        match byte {
            b'\r' | b'\n' => return self.complete_line(),
            b'\t' => return Edit::Complete,
            0x03 => {
                self.set(String::new());
                return Edit::Cancel;
            }
            0x01 => self.cursor = 0,
            0x05 => self.cursor = self.line.len(),
            0x02 => self.cursor = self.cursor.saturating_sub(1),
            0x06 => self.cursor = (self.cursor + 1).min(self.line.len()),
            0x08 | 0x7f => self.delete_before(),
            0x04 => self.delete_under(),
            0x0b => self.line.truncate(self.cursor),
            0x15 => {
                self.line.drain(..self.cursor.min(self.line.len()));
                self.cursor = 0;
            }
            0x17 => self.delete_word(),
            0x10 => self.recall(self.shown.saturating_sub(1)),
            0x0e => self.recall(self.shown + 1),
            0x0c => {}
            b' '..=b'~' => {
                let mut buffer = [0; 4];
                self.insert(char::from(byte).encode_utf8(&mut buffer));
            }
            _ => return Edit::Nothing,
        }
        Edit::Redraw
    }

    fn control_key(&mut self, digit: u8, last: u8) -> Edit {
        match (last, digit) {
            (b'A', _) => self.recall(self.shown.saturating_sub(1)),
            (b'B', _) => self.recall(self.shown + 1),
            (b'C', _) => self.cursor = (self.cursor + 1).min(self.line.len()),
            (b'D', _) => self.cursor = self.cursor.saturating_sub(1),
            (b'H', _) | (b'~', b'1' | b'7') => self.cursor = 0,
            (b'F', _) | (b'~', b'4' | b'8') => self.cursor = self.line.len(),
            (b'~', b'3') => self.delete_under(),
            _ => return Edit::Nothing,
        }
        Edit::Redraw
    }

    fn complete_line(&mut self) -> Edit {
        let line = self.text();
        let repeated = self.history.last().is_some_and(|last| *last == line);
        if !line.trim().is_empty() && !repeated {
            self.history.push(line.clone());
            if self.history.len() > HISTORY_MAX {
                self.history.remove(0);
            }
        }
        self.set(String::new());
        self.shown = self.history.len();
        Edit::Line(line)
    }

    fn recall(&mut self, index: usize) {
        self.shown = index.min(self.history.len());
        self.set(self.history.get(self.shown).cloned().unwrap_or_default());
    }

    fn set(&mut self, line: String) {
        self.line = line.chars().collect();
        self.cursor = self.line.len();
    }

    fn delete_before(&mut self) {
        if self.cursor > 0 {
            self.cursor -= 1;
            self.delete_under();
        }
    }

    fn delete_under(&mut self) {
        if self.cursor < self.line.len() {
            self.line.remove(self.cursor);
        }
    }

    fn delete_word(&mut self) {
        let blank_before = |editor: &Self| {
            let before = editor.cursor.checked_sub(1);
            before.and_then(|at| editor.line.get(at)).map(|&c| c == ' ')
        };
        while blank_before(self) == Some(true) {
            self.delete_before();
        }
        while blank_before(self) == Some(false) {
            self.delete_before();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(editor: &mut LineEditor, keys: &str) -> Vec<Edit> {
        keys.bytes().map(|byte| editor.key(byte)).collect()
    }

    fn line(keys: &str) -> String {
        let mut editor = LineEditor::default();
        types(&mut editor, keys);
        editor.text()
    }

    #[test]
    fn keys_edit_where_the_cursor_stands() {
        assert_eq!(line("abc\x1b[D\x1b[DX"), "aXbc");
        assert_eq!(line("abc\x7f"), "ab");
        assert_eq!(line("abc\x01\x1b[3~"), "bc");
        assert_eq!(line("one two\x17"), "one ");
        assert_eq!(line("abc\x02\x0b"), "ab");
        assert_eq!(line("abc\x02\x15"), "c");
        assert_eq!(line("ab\x1b[H\x7f\x1b[C\x1b[C\x1b[CX"), "abX");
    }

    #[test]
    fn a_return_completes_the_line_once() {
        let mut editor = LineEditor::default();
        let edits = types(&mut editor, "lps\r\n");
        assert_eq!(edits[3], Edit::Line("lps".into()));
        assert_eq!(edits[4], Edit::Nothing);
        assert_eq!(types(&mut editor, "\n"), [Edit::Line(String::new())]);
    }

    #[test]
    fn history_goes_up_and_down() {
        let mut editor = LineEditor::default();
        types(&mut editor, "one\rtwo\rtwo\r\x1b[A");
        assert_eq!(editor.text(), "two");
        types(&mut editor, "\x1b[A");
        assert_eq!(editor.text(), "one");
        types(&mut editor, "\x1b[A\x1b[B\x1b[B");
        assert_eq!(editor.text(), "");
    }

    #[test]
    fn no_sequence_of_keys_breaks_it() {
        let mut editor = LineEditor::default();
        let mut state = 1u32;
        for _ in 0..100_000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            editor.key((state >> 24) as u8);
            assert!(editor.cursor <= editor.line.len() && editor.line.len() <= LINE_MAX);
        }
    }
}
