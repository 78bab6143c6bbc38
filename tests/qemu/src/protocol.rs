//! The line protocol of the second serial line, as the program's side sees it.
//!
//! Request: `TAG COMMAND ARGUMENTS…`. Reply: data lines `TAG . key=value…`, then one `TAG ok key=value…` or
//! `TAG error STATUS "sentence"`. Between lines, at any time, an event: `* NAME key=value…`.

use std::fmt;

/// The `key=value` words of a line, in their order; a word without `=` has an empty key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// The value of the first field called `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(k, _)| k == key)
            .map(|(_, v)| v.as_str())
    }

    /// The value of `key` as a number: decimal, or hexadecimal with `0x`.
    pub fn number(&self, key: &str) -> Option<u64> {
        let text = self.get(key)?;
        match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => text.parse().ok(),
        }
    }

    /// The words without a key.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(|(k, _)| k.is_empty())
            .map(|(_, v)| v.as_str())
    }

    /// Every field with its key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }
}

impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (key, value)) in self.0.iter().enumerate() {
            let gap = if index == 0 { "" } else { " " };
            let sign = if key.is_empty() { "" } else { "=" };
            write!(f, "{gap}{key}{sign}{value}")?;
        }
        Ok(())
    }
}

/// Something that the root agent said without being asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// `ready`, `console`, `stopped`, `fault` or `script`.
    pub name: String,
    /// What it is about.
    pub fields: Fields,
}

/// One line from the root agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A line of a reply's data.
    Data { tag: String, fields: Fields },
    /// The last line of a reply: done.
    Done { tag: String, fields: Fields },
    /// The last line of a reply: refused, with the status name and a sentence for a person.
    Refused {
        tag: String,
        status: String,
        sentence: String,
    },
    /// An event.
    Event(Event),
    /// Not a line of this protocol.
    Noise(String),
}

/// Reads one line, without its line ending.
pub fn parse(line: &str) -> Message {
    let words = split(line);
    let noise = || Message::Noise(line.to_string());
    let [first, second, rest @ ..] = words.as_slice() else {
        return noise();
    };
    if !first.0.is_empty() || !second.0.is_empty() {
        return noise();
    }
    let tag = first.1.clone();
    let fields = || Fields(rest.to_vec());
    match (tag.as_str(), second.1.as_str()) {
        ("*", name) => Message::Event(Event {
            name: name.to_string(),
            fields: fields(),
        }),
        (_, ".") => Message::Data {
            tag,
            fields: fields(),
        },
        (_, "ok") => Message::Done {
            tag,
            fields: fields(),
        },
        (_, "error") => {
            let mut words = rest.iter().map(|(_, value)| value.clone());
            let status = words.next().unwrap_or_default();
            Message::Refused {
                tag,
                status,
                sentence: words.collect::<Vec<_>>().join(" "),
            }
        }
        _ => noise(),
    }
}

/// Writes `text` as a value of a request: between quotes where the protocol needs them.
pub fn quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_graphic() && c != '"' && c != '\\';
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_string();
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

fn split(line: &str) -> Vec<(String, String)> {
    let mut words = Vec::new();
    let mut rest = line.chars().peekable();
    loop {
        while rest.next_if(|c| c.is_whitespace()).is_some() {}
        if rest.peek().is_none() {
            return words;
        }
        words.push(word(&mut rest));
    }
}

/// One word; the first `=` outside quotes ends its key.
fn word(rest: &mut std::iter::Peekable<std::str::Chars>) -> (String, String) {
    let (mut key, mut value) = (None, String::new());
    let mut quoted = false;
    while let Some(c) = rest.next_if(|c| quoted || !c.is_whitespace()) {
        match c {
            '"' => quoted = !quoted,
            '\\' if quoted => value.push(match rest.next() {
                Some('n') => '\n',
                Some(other) => other,
                None => '\\',
            }),
            '=' if !quoted && key.is_none() => key = Some(std::mem::take(&mut value)),
            other => value.push(other),
        }
    }
    (key.unwrap_or_default(), value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_with_a_quoted_value() {
        let Message::Event(event) = parse(r#"* console partition=net line="say \"a=b\"\\ twice""#)
        else {
            panic!("not an event");
        };
        assert_eq!(event.name, "console");
        assert_eq!(event.fields.get("partition"), Some("net"));
        assert_eq!(event.fields.get("line"), Some(r#"say "a=b"\ twice"#));
    }

    #[test]
    fn data_and_the_end_of_a_reply() {
        let Message::Data { tag, fields } = parse("t1 . lp=0 apic=0x10 name=\"\"") else {
            panic!("not data");
        };
        assert_eq!((tag.as_str(), fields.number("apic")), ("t1", Some(16)));
        assert_eq!(fields.get("name"), Some(""));
        let Message::Done { tag, fields } = parse("t1 ok count=2") else {
            panic!("not done");
        };
        assert_eq!((tag.as_str(), fields.number("count")), ("t1", Some(2)));
    }

    #[test]
    fn a_refusal_has_a_status_and_a_sentence() {
        let message = parse(r#"t7 error NOT_FOUND "no partition is called x""#);
        let expected = Message::Refused {
            tag: "t7".into(),
            status: "NOT_FOUND".into(),
            sentence: "no partition is called x".into(),
        };
        assert_eq!(message, expected);
    }

    #[test]
    fn anything_else_is_noise() {
        for line in ["", "x", "hello world", "a=b c", "\"", "t1 \u{fffd}"] {
            assert_eq!(parse(line), Message::Noise(line.into()), "{line}");
        }
    }

    #[test]
    fn what_is_quoted_is_read_back() {
        for text in [
            "plain",
            "",
            "two words",
            "a=\"b\"",
            "back\\slash",
            "line\nbreak",
        ] {
            let line = format!("* e key={}", quote(text));
            let Message::Event(event) = parse(&line) else {
                panic!("{line}");
            };
            assert_eq!(event.fields.get("key"), Some(text), "{line}");
        }
    }
}
