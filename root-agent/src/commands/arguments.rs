//! Arguments of a command, checked against its specification.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::catalogue::Spec;
use crate::failure::Failure;
use crate::protocol::words::Word;

/// Arguments: plain words, and values with keys.
pub struct Arguments {
    words: Vec<String>,
    values: Vec<(String, String)>,
    usage: String,
}

impl Arguments {
    /// Checks number and names of the arguments.
    pub fn new(spec: &Spec, words: &[Word]) -> Result<Self, Failure> {
        let usage = format!("{} {}", spec.name, spec.usage);
        let mut arguments = Self {
            words: Vec::new(),
            values: Vec::new(),
            usage: usage.trim_end().to_string(),
        };
        for word in words {
            match &word.key {
                Some(key) if spec.keys.contains(&key.as_str()) => {
                    arguments.values.push((key.clone(), word.text.clone()));
                }
                Some(key) => return Err(arguments.unexpected(&format!("{key}="))),
                None if arguments.words.len() == spec.words.1 => {
                    return Err(arguments.unexpected(&word.text));
                }
                None => arguments.words.push(word.text.clone()),
            }
        }
        if arguments.words.len() < spec.words.0 {
            return Err(arguments.unexpected("the end of the line"));
        }
        Ok(arguments)
    }

    /// The failure of a word that does not belong there.
    pub fn unexpected(&self, found: &str) -> Failure {
        let quoted = if found.contains(' ') {
            found.to_string()
        } else {
            format!("\"{found}\"")
        };
        Failure::usage(format!("\"{}\" was expected, found {quoted}", self.usage))
    }

    /// A plain word that must be there.
    pub fn word(&self, index: usize) -> Result<&str, Failure> {
        self.optional_word(index)
            .ok_or_else(|| self.unexpected("the end of the line"))
    }

    /// A plain word that may be there.
    pub fn optional_word(&self, index: usize) -> Option<&str> {
        self.words.get(index).map(String::as_str)
    }

    /// The value of a key.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.values(key).last()
    }

    /// All values of a key.
    pub fn values(&self, key: &str) -> impl Iterator<Item = &str> {
        let fitting = self.values.iter().filter(move |pair| pair.0 == key);
        fitting.map(|pair| pair.1.as_str())
    }

    /// A number with a key.
    pub fn number(&self, key: &str) -> Result<Option<u64>, Failure> {
        self.value(key)
            .map(|text| parse_number(key, text))
            .transpose()
    }

    /// A number with a key that must be there.
    pub fn needed_number(&self, key: &str) -> Result<u64, Failure> {
        let missing = || Failure::usage(format!("{key}=N was expected: {}", self.usage));
        self.number(key)?.ok_or_else(missing)
    }
}

/// A number, decimal or hexadecimal (`0x`).
pub fn parse_number(what: &str, text: &str) -> Result<u64, Failure> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| {
        Failure::usage(format!(
            "a number was expected for {what}, found \"{text}\""
        ))
    })
}

/// An amount of memory: a number with K, M or G behind it, or of bytes.
pub fn parse_size(text: &str) -> Result<u64, Failure> {
    let (digits, shift) = match text.char_indices().last() {
        Some((at, 'K' | 'k')) => (text.get(..at), 10),
        Some((at, 'M' | 'm')) => (text.get(..at), 20),
        Some((at, 'G' | 'g')) => (text.get(..at), 30),
        _ => (Some(text), 0),
    };
    let wrong = || {
        Failure::usage(format!(
            "an amount of memory such as 64M was expected, found \"{text}\""
        ))
    };
    let number = parse_number("memory", digits.unwrap_or("")).map_err(|_| wrong())?;
    let bytes = number.checked_mul(1 << shift);
    bytes.ok_or_else(wrong)
}

/// A list of LPs: `0,2` or `0-3`.
pub fn parse_lps(text: &str) -> Result<Vec<u16>, Failure> {
    let wrong = || {
        Failure::usage(format!(
            "LPs such as 0,1 or 0-3 were expected, found \"{text}\""
        ))
    };
    let number = |digits: &str| digits.parse::<u16>().map_err(|_| wrong());
    let mut lps = Vec::new();
    for part in text.split(',') {
        match part.split_once('-') {
            Some((first, last)) => {
                let (first, last) = (number(first)?, number(last)?);
                if first > last || last > 1024 {
                    return Err(wrong());
                }
                lps.extend(first..=last);
            }
            None => lps.push(number(part)?),
        }
    }
    Ok(lps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_and_lists_are_read() {
        assert_eq!(parse_size("64M").unwrap(), 64 << 20);
        assert_eq!(parse_size("0x1000").unwrap(), 4096);
        assert_eq!(parse_lps("0,2-4").unwrap(), [0, 2, 3, 4]);
    }

    #[test]
    fn nonsense_is_refused_with_the_word() {
        for text in [
            "",
            "M",
            "12Q",
            "-1",
            "99999999999999999999",
            "18446744073709551615G",
        ] {
            assert!(
                parse_size(text).unwrap_err().sentence.contains(text),
                "{text}"
            );
        }
        for text in ["", "1,", "3-1", "a", "0-99999"] {
            assert!(parse_lps(text).is_err(), "{text}");
        }
    }
}
