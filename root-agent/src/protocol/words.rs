//! Words of a line: `word`, `key=value`, and values `"in quotes"` with `\"`, `\\` and `\n`.

use alloc::string::String;
use alloc::vec::Vec;
use alloc::{format, vec};

use crate::failure::Failure;

/// Bytes of the longest line that is read.
pub const LINE_MAX: usize = 4096;

/// A word of a line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Word {
    /// What stands before `=`, if the word has that form.
    pub key: Option<String>,
    /// The word, or what stands behind `=`, without quotes.
    pub text: String,
}

/// Splits a line. A `#` at the start of a word begins a comment.
pub fn split(line: &str) -> Result<Vec<Word>, Failure> {
    let mut words = vec![];
    let mut rest = line.trim_start();
    while !rest.is_empty() && !rest.starts_with('#') {
        let (word, after) = take_word(rest)?;
        words.push(word);
        rest = after.trim_start();
    }
    Ok(words)
}

fn take_word(rest: &str) -> Result<(Word, &str), Failure> {
    if let Some(quoted) = rest.strip_prefix('"') {
        let (text, after) = take_quoted(quoted)?;
        return Ok((Word { key: None, text }, after));
    }
    let end = rest
        .find(|c: char| c.is_whitespace() || c == '=' || c == '"')
        .unwrap_or(rest.len());
    let (head, tail) = rest.split_at(end);
    match tail.strip_prefix('=') {
        Some(value) if !head.is_empty() => {
            let (text, after) = take_value(value)?;
            let key = Some(String::from(head));
            Ok((Word { key, text }, after))
        }
        Some(_) => Err(Failure::usage(
            "a name was expected before \"=\", found nothing",
        )),
        None if tail.starts_with('"') => Err(Failure::usage(format!(
            "a blank was expected behind \"{head}\", found a quotation mark"
        ))),
        None => {
            let text = String::from(head);
            Ok((Word { key: None, text }, tail))
        }
    }
}

fn take_value(value: &str) -> Result<(String, &str), Failure> {
    if let Some(quoted) = value.strip_prefix('"') {
        return take_quoted(quoted);
    }
    let end = value.find(char::is_whitespace).unwrap_or(value.len());
    let (text, after) = value.split_at(end);
    Ok((String::from(text), after))
}

/// Reads up to the closing quotation mark.
fn take_quoted(quoted: &str) -> Result<(String, &str), Failure> {
    let mut text = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Ok((text, quoted.get(at + 1..).unwrap_or(""))),
            '\\' => match characters.next() {
                Some((_, 'n')) => text.push('\n'),
                Some((_, escaped @ ('"' | '\\'))) => text.push(escaped),
                _ => {
                    return Err(Failure::usage(
                        "\\\", \\\\ or \\n was expected behind a backslash",
                    ));
                }
            },
            c => text.push(c),
        }
    }
    Err(Failure::usage(
        "a closing quotation mark was expected before the end of the line",
    ))
}

/// Writes a value so that [`split`] reads it back: quoted where it has to be.
pub fn write_value(to: &mut String, value: &str) {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '=' | '#');
    if !value.is_empty() && value.chars().all(plain) {
        to.push_str(value);
    } else {
        write_quoted(to, value);
    }
}

/// Writes a value in quotation marks. Control characters but the line feed are left out.
pub fn write_quoted(to: &mut String, value: &str) {
    to.push('"');
    for c in value.chars() {
        match c {
            '"' => to.push_str("\\\""),
            '\\' => to.push_str("\\\\"),
            '\n' => to.push_str("\\n"),
            c if c.is_control() => {}
            c => to.push(c),
        }
    }
    to.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn plain(text: &str) -> Word {
        Word {
            key: None,
            text: text.to_string(),
        }
    }

    fn keyed(key: &str, text: &str) -> Word {
        Word {
            key: Some(key.to_string()),
            text: text.to_string(),
        }
    }

    #[test]
    fn words_keys_and_quotes_are_told_apart() {
        let words = split(r#"load nic net.elf cmdline="a=\"b\" c\\d" module=x # rest"#).unwrap();
        assert_eq!(
            words,
            [
                plain("load"),
                plain("nic"),
                plain("net.elf"),
                keyed("cmdline", r#"a="b" c\d"#),
                keyed("module", "x"),
            ]
        );
        assert_eq!(
            split("input g \"x=1\\n\"").unwrap().last(),
            Some(&plain("x=1\n"))
        );
        assert_eq!(split("cmdline=a=b").unwrap(), [keyed("cmdline", "a=b")]);
    }

    #[test]
    fn broken_quotes_and_empty_names_are_refused() {
        for line in ["\"abc", "a=\"b", "a=\"b\\", "a=\"\\x\"", "=x", "ab\"c\""] {
            assert_eq!(split(line).unwrap_err().status, "USAGE", "{line}");
        }
    }

    #[test]
    fn any_value_is_read_back_as_written() {
        for value in ["", "plain", "two words", "q\"uo\\te", "li\nne", "a=b", "#x"] {
            let mut line = "key=".to_string();
            write_value(&mut line, value);
            assert_eq!(split(&line).unwrap(), [keyed("key", value)]);
        }
    }
}
